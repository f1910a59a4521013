"""`finetune run` on jobs and data that are wrong: one message, the right exit code, a report."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from local_runs import Ended, environment, finetune, job, png, refused, write_images, write_job

HEAD = {"name": "head", "unfreeze": {"blocks": 0}}


def run(folder: Path, document: dict, *flags: str) -> Ended:
    return finetune("run", str(write_job(folder, document)), *flags, home=folder / "home")


def spec(**changes):
    return lambda document: document["spec"].update(changes)


def inside(section, **changes):
    return lambda document: document["spec"][section].update(changes)


def stages(*listed):
    def change(document):
        del document["spec"]["schedule"]
        document["spec"]["stages"] = list(listed)

    return change


@pytest.mark.parametrize(
    ("change", "phrases"),
    [
        pytest.param(spec(modle={}), ["spec.modle", "did you mean model?"], id="unknown field"),
        pytest.param(inside("model", imagesize=32), ["spec.model.imagesize", "imageSize"], id="wrong case"),
        pytest.param(lambda d: d.update(kind="Deployment"), ["is not a FineTuneJob"], id="another kind"),
        pytest.param(
            inside("model", backbone="MobilNetV2"), ["MobilNetV2", "MobileNetV2"], id="unknown backbone"
        ),
        pytest.param(inside("model", imageSize=16), ["16", "32"], id="image below the backbone's minimum"),
        pytest.param(
            stages({"name": "a", "unfreeze": {"blocks": 1, "all": True}}),
            ["spec.stages[0].unfreeze", "exactly one"],
            id="two ways of unfreezing",
        ),
        pytest.param(
            stages({"name": "a", "unfreeze": {"fromLayer": "block_12_ad"}}),
            ["block_12_ad", "block_12_add"],
            id="unknown layer",
        ),
        pytest.param(stages(HEAD, HEAD), ["stages", "same name"], id="duplicate stage names"),
        pytest.param(
            spec(globalBatchSize=5), ["spec.globalBatchSize", "multiple of workers"], id="batch and workers"
        ),
        pytest.param(spec(xla=True), ["xla"], id="not built yet"),
    ],
)
def test_a_wrong_job_is_refused_at_once(tmp_path, change, phrases):
    document = job(tmp_path)
    change(document)
    ended = run(tmp_path, document)
    refused(ended, tmp_path / "home", 64, *phrases)


def test_a_file_that_is_no_yaml(tmp_path):
    (tmp_path / "job.yaml").write_text("{")
    ended = finetune("run", str(tmp_path / "job.yaml"), home=tmp_path / "home")
    assert refused(ended, tmp_path / "home", 64, "job.yaml", "line 1") == "InvalidYAML"


def test_a_folder_that_is_not_there(tmp_path):
    ended = run(tmp_path, job(tmp_path))
    refused(ended, tmp_path / "home", 66, str(tmp_path / "images"), "Fix: ")


def test_an_empty_folder(tmp_path):
    (tmp_path / "images").mkdir()
    ended = run(tmp_path, job(tmp_path))
    assert refused(ended, tmp_path / "home", 65, str(tmp_path / "images")) == "EmptyFolder"


def test_one_class(tmp_path):
    write_images(tmp_path, classes=1)
    ended = run(tmp_path, job(tmp_path))
    assert refused(ended, tmp_path / "home", 65, "class0", "one folder per class") == "OneClass"


def test_bad_files_above_the_limit_are_named(tmp_path):
    images = write_images(tmp_path)
    (images / "class0" / "notes.txt").write_text("not an image")
    (images / "class1" / "cut.png").write_bytes(png()[:10])
    (images / "class1" / "empty.jpg").touch()
    ended = run(tmp_path, job(tmp_path))
    named = ["class0/notes.txt", "class1/cut.png", "class1/empty.jpg"]
    assert refused(ended, tmp_path / "home", 65, *named, "maxCorruptFraction") == "TooManyBadFiles"


def test_fewer_images_than_a_batch(tmp_path):
    write_images(tmp_path, each=8)
    ended = run(tmp_path, job(tmp_path, globalBatchSize=64))
    assert refused(ended, tmp_path / "home", 65, "12 training images", "64") == "TooFewImages"


def peak_memory(folder: Path, document: dict) -> tuple[int, int]:
    """Exit code and peak resident memory, in bytes, of `finetune run`."""
    command = [sys.executable, "-m", "finetune_cli", "run", str(write_job(folder, document))]
    process = subprocess.Popen(
        command, env=environment(folder / "home"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, usage.ru_maxrss * 1024


def test_a_png_of_20000_by_20000_is_refused_without_decoding_it(tmp_path):
    images = write_images(tmp_path)
    odd = images / "class0" / "odd.png"
    odd.write_bytes(png()[:10])
    code, before = peak_memory(tmp_path, job(tmp_path))
    assert code == 65
    odd.write_bytes(png(20000, 20000))
    code, after = peak_memory(tmp_path, job(tmp_path))
    assert code == 65
    assert after - before < 50 * 2**20
    ended = run(tmp_path, job(tmp_path))
    refused(ended, tmp_path / "home", 65, "class0/odd.png", "20000 x 20000", "maxPixels")


def test_an_output_that_cannot_be_written(tmp_path):
    write_images(tmp_path)
    (tmp_path / "models").write_text("a file where a folder should be")
    ended = run(tmp_path, job(tmp_path))
    assert ended.code in (77, 78)
    refused(ended, tmp_path / "home", ended.code, str(tmp_path / "models"))


def test_a_second_run_at_the_same_time_is_turned_away(tmp_path):
    write_images(tmp_path)
    home = tmp_path / "home"
    path = write_job(tmp_path, job(tmp_path))
    script = f"""
import os, subprocess, sys
os.environ["FINETUNE_HOME"] = {str(home)!r}
from pathlib import Path
from finetune_cli import job_source, local_run
this = local_run.identify(job_source.read(Path({str(path)!r})), False)
with this.folder.locked():
    sys.exit(subprocess.run([sys.executable, "-m", "finetune_cli", "run", {str(path)!r}]).returncode)
"""
    ran = subprocess.run(
        [sys.executable, "-c", script], env=environment(home), capture_output=True, text=True
    )
    reason = refused(Ended(ran.returncode, ran.stdout, ran.stderr), home, 75, "another `finetune run`")
    assert reason == "AlreadyRunning"
