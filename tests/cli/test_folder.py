import pytest

from finetune_api.errors import BadConfiguration, TryAgain
from finetune_cli import devices, folder
from finetune_cli.folder import LocalFolder


def test_a_new_start_drops_old_reports_and_keeps_scratch_space(tmp_path):
    local = LocalFolder(tmp_path / "run")
    local.prepare(2)
    local.termination(1).write_text("{}")
    (local.scratch(1) / "features").write_text("expensive")
    local.prepare(2)
    assert not local.termination(1).exists()
    assert (local.scratch(1) / "features").read_text() == "expensive"


def test_scratch_space_is_freed_at_the_end(tmp_path):
    local = LocalFolder(tmp_path / "run")
    local.prepare(1)
    local.log(0).write_text("kept")
    local.remove_scratch()
    assert not local.scratch_root.exists()
    assert local.log(0).read_text() == "kept"


def test_only_one_process_holds_a_run(tmp_path):
    local = LocalFolder(tmp_path / "run")
    with local.locked(), pytest.raises(TryAgain, match="another `finetune run`"), local.locked():
        pass
    with local.locked():
        pass


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    local = LocalFolder(tmp_path / "file" / "run")
    with pytest.raises(BadConfiguration, match="FINETUNE_HOME") as raised:
        local.prepare(1)
    assert str(tmp_path) in raised.value.happened
    with pytest.raises(BadConfiguration), local.locked():
        pass


def test_home_is_the_users_choice(tmp_path, monkeypatch):
    monkeypatch.setenv("FINETUNE_HOME", str(tmp_path))
    assert folder.home() == tmp_path
    monkeypatch.delenv("FINETUNE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert folder.home() == tmp_path / ".cache" / "finetune"


@pytest.mark.parametrize(("cores", "workers", "expected"), [(8, 2, 4), (2, 3, 1), (5, 2, 2)])
def test_cores_are_shared_out_evenly(cores, workers, expected):
    assert devices.threads_per_worker(cores, workers) == expected


@pytest.mark.parametrize(
    ("gpus", "workers", "expected"),
    [
        pytest.param([], 2, [None, None], id="no GPUs: left alone"),
        pytest.param(["0", "1"], 2, ["0", "1"], id="one each"),
        pytest.param(["0", "1", "2", "3", "4"], 2, ["0,1", "2,3"], id="equal shares, one left over"),
        pytest.param(["0"], 2, ["-1", "-1"], id="fewer GPUs than workers: all compute alike"),
    ],
)
def test_gpus_are_shared_out_evenly(gpus, workers, expected):
    assert [devices.visible_gpus(gpus, workers, index) for index in range(workers)] == expected


@pytest.mark.parametrize(("variable", "expected"), [("2,3", ["2", "3"]), ("", []), ("-1", [])])
def test_chosen_gpus_are_respected(monkeypatch, variable, expected):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", variable)
    assert devices.gpus() == expected
