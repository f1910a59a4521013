"""What a supervisor costs: time to be up and to replace, memory, never TensorFlow. Looked at from outside."""

import contextlib
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import best_of
from actor import Fault
from gangs import REAL, Gang, children
from waiting import eventually

MakeGang = Callable[..., Gang]
MEBI = 1 << 20
HELD = Fault(0, "hang", step=15, generation=1)
"""Keeps the run from being over before it has been looked at."""
SECONDS_TO_REPLACE = 1.0


def seconds_until_up(gang: Gang) -> float:
    """From the start of the process to its first answer, less the time it waited for a processor."""
    began = time.monotonic()
    gang.start(0)
    eventually(lambda: gang.get(0, "/healthz") == "ok\n")
    elapsed = time.monotonic() - began
    _, waited, _ = Path(f"/proc/{gang.processes[0].pid}/schedstat").read_text().split()
    return elapsed - int(waited) / 1e9


def resident_bytes(pid: int) -> int:
    """The highest it has ever been."""
    (line,) = [
        line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM")
    ]
    return int(line.split()[1]) * 1024


def test_it_is_up_in_half_a_second(gang: MakeGang) -> None:
    run = gang()
    for times in best_of.some(20, under=0.5):
        times.append(seconds_until_up(run))
        run.stop()


def test_it_stays_small_and_never_loads_tensorflow(gang: MakeGang) -> None:
    """With the real zygote beside it, which does."""
    run = gang(2, module=REAL).start(0)
    supervisor = run.processes[0].pid
    (zygote,) = eventually(lambda: children(supervisor))
    eventually(lambda: "libtensorflow" in maps(zygote), 120, "the zygote imports TensorFlow")
    assert run.progress().workers == 2
    assert "tensorflow" not in maps(supervisor)
    assert "numpy" not in maps(supervisor)
    assert resident_bytes(supervisor) < 60 * MEBI


def test_it_stays_small_through_a_whole_run(gang: MakeGang) -> None:
    peak = 0
    run = gang(1, epochs=6).start()
    while run.processes[0].poll() is None:
        try:
            peak = max(peak, resident_bytes(run.processes[0].pid))
        except (FileNotFoundError, ValueError):
            break
    assert run.exit_codes() == [0]
    assert 10 * MEBI < peak < 60 * MEBI


def test_the_client_of_an_object_storage_leaves_it_small(gang: MakeGang) -> None:
    storage = {"output": {"uri": "s3://bucket/models"}, "storage": {"endpoint": "http://127.0.0.1:1"}}
    run = gang(1, spec=storage).start(AWS_ACCESS_KEY_ID="id", AWS_SECRET_ACCESS_KEY="secret")
    pid = run.processes[0].pid
    eventually(lambda: "obstore" in maps(pid))
    eventually(lambda: len(list(Path(f"/proc/{pid}/task").iterdir())) >= 4, what="threads of the client")
    assert resident_bytes(pid) < 60 * MEBI


@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_process_is_replaced_within_a_second(gang: MakeGang, tmp_path: Path, victim: int) -> None:
    for times in best_of.some(8, under=SECONDS_TO_REPLACE):
        faults = [Fault(victim, "signal:SIGKILL", step=2, generation=1)]
        run = gang(2, tmp_path / str(len(times)), epochs=1, faults=faults).start()
        assert run.exit_codes() == [0, 0]
        times.append(run.logged(0, "generation 2 starts") - run.logged(0, "generation 1 ended"))


def test_with_one_worker_no_rendezvous_port_is_open(gang: MakeGang) -> None:
    run = gang(1, faults=[HELD]).start()
    run.reaches(1)
    assert listening(run.processes[0].pid) == {run.http[0]}


def test_with_two_workers_it_is(gang: MakeGang) -> None:
    run = gang(2, faults=[HELD]).start()
    run.reaches(1)
    assert listening(run.processes[0].pid) == {run.http[0], run.rendezvous}
    assert listening(run.processes[1].pid) == {run.http[1]}


def test_progress_and_metrics_are_served(gang: MakeGang) -> None:
    run = gang(2, epochs=6, faults=[HELD]).start()
    seen = run.reaches(12)
    assert (seen.stage_name, seen.num_stages, seen.epochs, seen.steps_per_epoch) == ("head", 1, 6, 10)
    assert (seen.workers, seen.workers_ready, seen.generation, seen.restarts) == (2, 2, 1, 0)
    assert seen.best_metric == "val_accuracy=0.2500"
    assert seen.percent >= 20
    assert seen.eta_seconds is not None
    assert seen.report.step == seen.global_step
    assert "finetune_train_steps_total" in run.get(0, "/metrics")
    assert run.get(0, "/ready") == "ok\n"
    eventually(lambda: run.progress(1).workers_ready == 2)


def test_the_report_is_there_from_the_start(gang: MakeGang) -> None:
    run = gang(2).start(0)
    eventually(lambda: run.termination(0).exists() and run.termination(0).read_bytes())
    assert run.report().exit_code is None


@pytest.mark.parametrize(
    ("content", "code", "reason"),
    [
        pytest.param("{", 78, "BadJobFile", id="no JSON"),
        pytest.param("[]", 78, "BadJobFile", id="no object"),
        pytest.param('{"contractVersion": 99}', 78, "ContractMismatch", id="of another version"),
        pytest.param('{"contractVersion": 1}', 78, "BadJobFile", id="incomplete"),
    ],
)
def test_a_bad_job_file_is_reported(gang: MakeGang, content: str, code: int, reason: str) -> None:
    run = gang(1)
    run.job.write_text(content)
    assert run.start().exit_codes() == [code]
    assert (run.report().exit_code, run.report().reason) == (code, reason)


def test_a_bad_job_is_reported_by_every_worker(gang: MakeGang) -> None:
    run = gang(2, spec={"globalBatchSize": 13}).start()
    assert run.exit_codes() == [64, 64]
    message = run.report(1).message
    assert message is not None
    assert "globalBatchSize" in message


def test_a_bad_environment_is_reported(gang: MakeGang) -> None:
    run = gang(1, module=REAL).start(FINETUNE_WORKER_INDEX="one")
    assert run.exit_codes() == [78]
    assert run.report().reason == "BadEnvironment"


def test_a_storage_that_refuses_ends_the_job(gang: MakeGang) -> None:
    run = gang(1)
    (run.folder / "output").write_text("a file where a folder should be")
    assert run.start().exit_codes()[0] in (66, 77, 78)
    assert run.report().message


def test_a_taken_port_is_tried_again_elsewhere(gang: MakeGang) -> None:
    run = gang(1)
    with socket.create_server(("127.0.0.1", run.http[0])):
        assert run.start().exit_codes() == [75]
    assert run.report().reason == "PortTaken"


def maps(pid: int) -> str:
    return Path(f"/proc/{pid}/maps").read_text()


def listening(pid: int) -> set[int]:
    """Ports that a process listens on, IPv4 and IPv6."""
    sockets = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile, so it was no listener
            sockets.add(link.readlink().name)
    inodes = {
        name.removeprefix("socket:[").removesuffix("]") for name in sockets if name.startswith("socket:[")
    }
    rows = [
        row.split()
        for table in ("tcp", "tcp6")
        for row in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]
    ]
    return {int(row[1].rpartition(":")[2], 16) for row in rows if row[3] == "0A" and row[9] in inodes}
