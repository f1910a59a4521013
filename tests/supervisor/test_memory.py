"""The kernel's count of out-of-memory kills."""

from pathlib import Path

import pytest

from finetune_supervisor.memory import out_of_memory_kills


@pytest.mark.parametrize(
    ("membership", "file", "text"),
    [
        pytest.param(
            "0::/\n",
            "memory.events",
            "low 0\noom 3\noom_kill 2\noom_group_kill 0\n",
            id="version 2 inside a container",
        ),
        pytest.param("0::/kubepods/a\n", "kubepods/a/memory.events", "oom_kill 2\n", id="version 2 outside"),
        pytest.param(
            "4:memory:/jobs/a\n0::/\n",
            "memory/jobs/a/memory.oom_control",
            "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
            id="version 1",
        ),
        pytest.param(
            "5:cpu,memory:/x\n",
            "memory/memory.oom_control",
            "oom_kill 2\n",
            id="version 1 inside a container",
        ),
    ],
)
def test_counter(tmp_path: Path, membership: str, file: str, text: str) -> None:
    (tmp_path / "membership").write_text(membership)
    path = tmp_path / "cgroup" / file
    path.parent.mkdir(parents=True)
    path.write_text(text)
    assert out_of_memory_kills(tmp_path / "cgroup", tmp_path / "membership") == 2


def test_no_cgroup_no_kills(tmp_path: Path) -> None:
    assert out_of_memory_kills(tmp_path / "nothing", tmp_path / "nowhere") == 0


def test_the_one_of_this_machine_can_be_read() -> None:
    assert out_of_memory_kills() >= 0
