"""`finetune run` with real workers on a small job, from the command line to the model and back."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from finetune_api.v1alpha1 import FineTuneJobStatus
from local_runs import Ended, environment, finetune, job, write_images, write_job
from waiting import eventually

pytestmark = pytest.mark.slow
LIMIT = 300


def status_of(ended: Ended) -> FineTuneJobStatus:
    line = next(line for line in ended.out.splitlines() if line.startswith("status: "))
    return FineTuneJobStatus.model_validate(yaml.safe_load(Path(line.removeprefix("status: ")).read_text()))


def run(folder: Path, *flags: str) -> Ended:
    return finetune("run", str(folder / "job.yaml"), *flags, home=folder / "home", timeout=LIMIT)


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> tuple[Path, Ended]:
    """A job that two workers have run to its end."""
    folder = tmp_path_factory.mktemp("finished")
    write_images(folder)
    write_job(folder, job(folder))
    return folder, run(folder)


def test_a_job_ends_with_a_model(finished):
    folder, ended = finished
    assert (ended.code, ended.err) == (0, "")
    results = folder / "models" / "default" / "small"
    for name in ("model/1/saved_model.pb", "model/1/manifest.json", "latest.json", "metrics.csv"):
        assert (results / name).is_file()
        assert f"  {name}  " in ended.out
    assert f"model: {results}/model/1" in ended.out


def test_its_output_has_a_line_per_stage_and_epoch(finished):
    _, ended = finished
    lines = ended.out.splitlines()
    assert lines[0] == "default/small: MobileNetV2, 2 workers, stages: head"
    assert sum(line.startswith("stage 1/1 head: ") for line in lines) == 1
    assert sum(line.startswith("  head ") for line in lines) == 5


def test_its_status_is_complete(finished):
    status = status_of(finished[1])
    assert status.phase == "Complete"
    assert status.artifacts.model_uri.endswith("/models/default/small/model/1")
    assert [(stage.name, stage.state) for stage in status.stages] == [("head", "Complete")]
    assert status.best_metric.name == "val_accuracy"


def test_its_command_classifies_an_image(finished):
    _, ended = finished
    command = ended.out.splitlines()[ended.out.splitlines().index("classify an image:") + 1]
    answer = subprocess.run(command, shell=True, capture_output=True, text=True, check=True, timeout=120)
    label, score = answer.stdout.split()
    assert label in ("class0", "class1")
    assert 0 < float(score) <= 1


def test_its_scratch_space_is_gone_and_its_logs_are_kept(finished):
    folder, _ = finished
    (logs,) = folder.glob("home/small-*/logs")
    assert sorted(path.name for path in logs.iterdir()) == ["worker-0.log", "worker-1.log"]
    assert not (logs.parent / "scratch").exists()


def test_run_again_says_so_and_does_nothing(finished):
    folder, _ = finished
    before = {path: path.stat().st_mtime_ns for path in (folder / "models").rglob("*")}
    again = run(folder)
    assert (again.code, again.err) == (0, "")
    assert "small is already complete: " in again.out
    assert {path: path.stat().st_mtime_ns for path in (folder / "models").rglob("*")} == before


def test_run_again_says_when_the_model_has_been_removed(finished):
    folder, _ = finished
    manifest = folder / "models" / "default" / "small" / "model" / "1" / "manifest.json"
    aside = manifest.rename(folder / "aside.json")
    again = run(folder)
    aside.rename(manifest)
    assert (again.code, again.err) == (0, "")
    assert "model/1 (removed since: newer versions have come)" in again.out


def test_a_new_version_is_trained_on_request(finished):
    folder, _ = finished
    again = run(folder, "--new-version")
    assert again.code == 0, again
    assert (folder / "models" / "default" / "small" / "model" / "2" / "saved_model.pb").is_file()
    assert "model/2" in run(folder).out


def test_smoke_goes_through_export_and_leaves_the_output_alone(tmp_path):
    write_images(tmp_path)
    document = job(tmp_path, schedule="LinearProbeThenFineTune")
    write_job(tmp_path, document)
    ended = run(tmp_path, "--smoke")
    assert (ended.code, ended.err) == (0, "")
    assert not (tmp_path / "models").exists()
    assert list((tmp_path / "home" / "smoke").rglob("saved_model.pb"))


def long_job(folder: Path) -> dict:
    """One stage of steps, too many for a test that is patient."""
    stage = {"name": "long", "unfreeze": {"blocks": 0}, "epochs": 400, "optimizer": {"name": "Adam"}}
    return job(folder, schedule=None, stages=[stage])


def test_ctrl_c_saves_and_the_same_command_goes_on(tmp_path):
    write_images(tmp_path)
    path = write_job(tmp_path, long_job(tmp_path))
    out = tmp_path / "out"
    with out.open("w") as stdout:
        process = subprocess.Popen(
            [sys.executable, "-m", "finetune_cli", "run", str(path)],
            env=environment(tmp_path / "home"),
            stdout=stdout,
            stderr=subprocess.PIPE,
        )
        eventually(lambda: "  long 3/400" in out.read_text(), within=LIMIT)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=LIMIT)
    assert (process.returncode, stderr) == (130, b"")
    assert "stopped; saved at " in out.read_text()
    done = out.read_text().count("\n  long ")
    again = finetune("run", str(path), home=tmp_path / "home", timeout=LIMIT)
    first = next(line for line in again.out.splitlines() if line.startswith("  long "))
    # It goes on from where it was; the last epochs before the stop may not have been shown any more.
    assert int(first.split()[1].split("/")[0]) >= done > 2
    assert again.code == 0, again
