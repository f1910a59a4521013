from typing import Any

import pytest

import jobs
from finetune_api import not_built, schedule
from finetune_api.contract import ExitCode
from finetune_api.errors import BadJob

TOP = jobs.TOP


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"model.task": "Binary"}, "spec.model.task: Binary (built: Multiclass)"),
        ({"model.head": {"pooling": "Flatten"}}, "spec.model.head.pooling: Flatten"),
        ({"data.test": "s3://b/test"}, "spec.data.test"),
        ({"data.format": "TFRecord"}, "spec.data.format: TFRecord"),
        ({"data.volumeClaimName": "images"}, "spec.data.volumeClaimName"),
        ({"precision": "MixedFloat16"}, "spec.precision: MixedFloat16 (built: Auto, Float32)"),
        ({"xla": True}, "spec.xla: true"),
        ({"stages": [TOP, TOP | {"name": "b", "layerDecay": 0.9}]}, "spec.stages[1].layerDecay: 0.9"),
        ({"stages": [TOP | {"ema": {}}]}, "spec.stages[0].ema"),
        ({"checkpoint.warmStartFrom": "s3://b/m"}, "spec.checkpoint.warmStartFrom"),
        (
            {"output.formats": [{"kind": "SavedModel"}, {"kind": "Keras"}]},
            "spec.output.formats[1].kind: Keras (built: SavedModel, TFLite)",
        ),
        ({"output.report": {"images": False}}, 'spec.output.report: {"images": false}'),
        ({"output.volumeClaimName": "models"}, "spec.output.volumeClaimName"),
        ({"storage.caConfigMap": "ca"}, "spec.storage.caConfigMap"),
        ({"activeDeadlineSeconds": 60}, "spec.activeDeadlineSeconds: 60"),
    ],
)
def test_what_is_not_built_is_refused_by_name(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(BadJob) as caught:
        schedule.resolve(jobs.job(changes))
    assert (caught.value.reason, caught.value.exit_code) == ("NotBuilt", ExitCode.BAD_JOB)
    assert named in str(caught.value)


def test_everything_not_built_is_named_at_once() -> None:
    with pytest.raises(BadJob, match=r"spec\.model\.task.*spec\.xla"):
        not_built.refuse_unbuilt(jobs.job({"xla": True, "model.task": "Multilabel"}))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {
            "xla": False,
            "output.keepVersions": 2,
            "output.report": {"images": True},
            "model.head": {"hidden": []},
        },
        {"stages": [TOP | {"layerDecay": 1, "loss": {"labelSmoothing": 0.1}, "batchNorm": "Sync"}]},
        {"data.augmentation": {"preset": "Strong"}},
        {"model.head": {"hidden": [256]}},
        {"output.formats": [{"kind": "TFLite", "quantization": "Int8"}], "output.maxAccuracyDrop": 0.5},
        {"data.augmentation": {"transforms": [{"name": "Flip"}]}},
        {"data.classWeights": "Balanced", "stages": [TOP | {"optimizer": {"name": "Lion"}}]},
        {"stages": [TOP | {"lrSchedule": {"kind": "Plateau"}, "loss": {"focalGamma": 2}}]},
        {"precision": "Float32", "data.augmentation": {"preset": "None"}, "model.head": {"pooling": "Max"}},
        {"resources.limits": {"cpu": 4}, "scheduling": {"gang": "Kueue", "queueName": "a"}, "suspend": True},
    ],
)
def test_what_is_built_passes(changes: dict[str, Any]) -> None:
    not_built.refuse_unbuilt(jobs.job(changes))


def test_a_cluster_can_do_more_than_one_machine() -> None:
    built = {"activeDeadlineSeconds": 60, "storage.caConfigMap": "ca"}
    not_built.refuse_unbuilt(jobs.job(built), cluster=True)
    assert schedule.resolve(jobs.job(built), cluster=True) == schedule.resolve(jobs.job())
    with pytest.raises(BadJob, match=r"not built yet: spec\.xla: true\. Fix"):
        not_built.refuse_unbuilt(jobs.job(built | {"xla": True}), cluster=True)


def test_stages_win_over_a_schedule_and_that_is_said() -> None:
    both = jobs.job({"schedule": "Gradual", "stages": [jobs.HEAD]})
    assert not_built.overridden(both) == ["spec.schedule: spec.stages wins"]
    assert [stage.name for stage in schedule.resolve(both).stages] == ["head"]
    assert not_built.overridden(jobs.job({"schedule": "Gradual"})) == []


def test_fields_for_a_cluster_only_are_listed() -> None:
    changes = {
        "resources.limits": {"cpu": 4},
        "storage.secretName": "s3",
        "workers": 2,
        "deadNodeTimeoutSeconds": 60,
    }
    expected = ["spec.storage.secretName", "spec.resources", "spec.deadNodeTimeoutSeconds"]
    assert not_built.cluster_only(jobs.job(changes)) == expected
    assert not_built.cluster_only(jobs.job()) == []
