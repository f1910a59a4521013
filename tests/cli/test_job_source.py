from pathlib import Path

import pytest

from finetune_api.errors import BadJob
from finetune_api.events import JobFile
from finetune_api.schedule import resolve
from finetune_api.yaml_loader import parse_job
from finetune_cli import job_source
from finetune_cli.private_network import is_enough
from local_runs import job, write_job


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FINETUNE_HOME", str(tmp_path / "home"))
    return tmp_path


def test_relative_paths_begin_at_the_current_folder_not_at_the_file(here):
    folder = here / "jobs"
    folder.mkdir()
    relative = job(here, output={"uri": "models"})
    relative["spec"]["data"] = {"train": "./images", "validation": {"uri": "~/judged"}}
    resolved = job_source.read(write_job(folder, relative)).resolved
    assert resolved.train_uri == str(here / "images")
    assert resolved.validation_uri == str(Path.home() / "judged")
    assert resolved.output_uri == str(here / "models")


def test_uris_stay_as_they_are(here):
    remote = job(here, output={"uri": "gs://models/team"})
    remote["spec"]["data"]["train"] = "s3://bucket/images"
    resolved = job_source.read(write_job(here, remote)).resolved
    assert (resolved.train_uri, resolved.output_uri) == ("s3://bucket/images", "gs://models/team")


def test_flags_go_over_the_file(here):
    resolved = job_source.read(write_job(here, job(here)), workers=4, output="elsewhere").resolved
    assert (resolved.workers, resolved.output_uri) == (4, str(here / "elsewhere"))


def test_a_flag_is_checked_like_the_field(here):
    with pytest.raises(BadJob, match=r"with --workers 3 spec.globalBatchSize: must be a multiple of workers"):
        job_source.read(write_job(here, job(here)), workers=3)


def test_job_json_gives_supervisors_the_same_job(here):
    prepared = job_source.read(write_job(here, job(here)), workers=4)
    text = job_source.job_file(prepared, "1234abcd").model_dump_json(by_alias=True)
    read = JobFile.model_validate_json(text)
    assert resolve(parse_job(read.job, "job.json")) == prepared.resolved
    assert (read.name, read.run_id, read.smoke_steps) == ("small", "1234abcd", None)


def test_a_smoke_run_takes_two_steps_and_leaves_the_output_alone(here):
    prepared = job_source.read(write_job(here, job(here))).as_smoke()
    assert prepared.resolved.smoke_steps == 2
    assert prepared.resolved.output_uri == str(here / "home" / "smoke" / "small")
    assert job_source.job_file(prepared, "1234abcd").smoke_steps == 2


def identity(here, attempt=1, **changes):
    flags = {name: changes.pop(name) for name in ("workers", "output") if name in changes}
    return job_source.run_id(
        job_source.read(write_job(here, job(here, **changes)), **flags).resolved, attempt
    )


def test_the_same_command_is_the_same_run(here):
    assert identity(here) == identity(here)


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"workers": 4}, id="number of workers"),
        pytest.param({"maxRestarts": 1}, id="restart budget"),
        pytest.param({"startDeadlineSeconds": 5}, id="deadlines"),
    ],
)
def test_what_does_not_change_the_result_does_not_change_the_run(here, changes):
    assert identity(here, **changes) == identity(here)


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"seed": 7}, id="seed"),
        pytest.param({"output": "elsewhere"}, id="place of the results"),
        pytest.param({"schedule": "Gradual"}, id="schedule"),
        pytest.param({"attempt": 2}, id="a new version"),
    ],
)
def test_another_result_is_another_run(here, changes):
    assert identity(here, **changes) != identity(here)


@pytest.mark.parametrize(
    ("published", "new_version", "expected"),
    [
        pytest.param(set(), False, 1, id="first run"),
        pytest.param(set(), True, 1, id="a new version of nothing is the first"),
        pytest.param({1}, False, 1, id="run again after completion"),
        pytest.param({1}, True, 2, id="new version"),
        pytest.param({1, 2}, True, 3, id="one more version"),
        pytest.param({1, 2}, False, 2, id="run again after two versions"),
    ],
)
def test_which_attempt_is_meant(published, new_version, expected):
    assert job_source.choose_attempt(published.__contains__, new_version) == expected


def networked(here, **model):
    document = job(here)
    document["spec"]["model"] = {"backbone": "MobileNetV2", "weights": "none", **model}
    return document


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        pytest.param({}, True, id="random weights and local folders"),
        pytest.param({"weights": "imagenet"}, False, id="Keras may have to download weights"),
        pytest.param({"backbone": "EfficientNetLite0", "weights": "imagenet"}, True, id="converted weights"),
        pytest.param(
            {"weights": "s3://b/w.weights.h5", "weightsSha256": "0" * 64}, False, id="weights elsewhere"
        ),
        pytest.param(
            {"weights": "w.weights.h5", "weightsSha256": "0" * 64}, True, id="weights on this machine"
        ),
    ],
)
def test_when_a_private_network_is_enough(here, change, expected):
    assert is_enough(job_source.read(write_job(here, networked(here, **change))).resolved) is expected


@pytest.mark.parametrize("place", ["train", "output"])
def test_object_storage_needs_the_network(here, place):
    document = networked(here)
    if place == "train":
        document["spec"]["data"]["train"] = "s3://bucket/images"
    else:
        document["spec"]["output"]["uri"] = "s3://bucket/models"
    assert not is_enough(job_source.read(write_job(here, document)).resolved)
