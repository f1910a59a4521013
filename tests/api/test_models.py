"""The FineTuneJob as a whole: rules between fields, words for every field, reading back what was written."""

from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from pydantic import BaseModel, ValidationError

import jobs
from finetune_api import yaml_loader
from finetune_api.errors import BadJob
from finetune_api.v1alpha1 import FineTuneJob, FineTuneJobStatus, StageStatus
from finetune_api.v1alpha1.schema import Model

HEAD, TOP, EVERYTHING = jobs.HEAD, jobs.TOP, jobs.EVERYTHING
LBFGS = {"optimizer": {"name": "LBFGS"}}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param(
            {"workers": 3},
            "spec.globalBatchSize: must be a multiple of workers",
            id="a batch that three cannot share",
        ),
        pytest.param(
            {"stages": [HEAD, HEAD]}, "spec.stages: two stages have the same name", id="one name twice"
        ),
        pytest.param(
            {"stages": [{"name": "a", "unfreeze": {"blocks": 1, "all": True}}]},
            "spec.stages[0].unfreeze: set exactly one of blocks, fromLayer, fromLayerIndex and all",
            id="two ways of unfreezing",
        ),
        pytest.param(
            {"stages": [{"name": "a", "unfreeze": {}}]}, "set exactly one of", id="no way of unfreezing"
        ),
        pytest.param({"stages": [TOP | LBFGS]}, "LBFGS solves a head alone", id="LBFGS on blocks"),
        pytest.param(
            {"stages": [HEAD | LBFGS | {"learningRate": 0.1}]},
            "LBFGS has no learning rate",
            id="LBFGS with a rate",
        ),
        pytest.param(
            {"stages": [HEAD | {"optimizer": {"name": "LBFGS", "clipNorm": 1}}]},
            "LBFGS tries regularisation strengths itself",
            id="LBFGS with clipping",
        ),
        pytest.param(
            {"stages": [HEAD | LBFGS], "model.head": {"hidden": [64]}},
            "LBFGS solves a linear head",
            id="LBFGS with a hidden layer",
        ),
        pytest.param(
            {"stages": [TOP | {"optimizer": {"name": "Adam", "momentum": 0.9}}]},
            "spec.stages[0].optimizer.momentum: only SGD and RMSprop",
            id="Adam with momentum",
        ),
        pytest.param(
            {"stages": [TOP | {"epochs": 2, "lrSchedule": {"warmupEpochs": 2}}]},
            "warmupEpochs must be smaller than epochs",
            id="all epochs warm up",
        ),
        pytest.param(
            {"stages": [HEAD | LBFGS | {"loss": {"focalGamma": 2}}]},
            "LBFGS minimises cross-entropy",
            id="LBFGS with the focal loss",
        ),
        pytest.param(
            {"data.augmentation": {"transforms": [{"name": "Flip"}, {"name": "Zoom"}, {"name": "Flip"}]}},
            "spec.data.augmentation.transforms: each transform at most once",
            id="flipped twice",
        ),
        pytest.param(
            {"stages": [TOP | {"lrSchedule": {"factor": 0.5}}]},
            "spec.stages[0].lrSchedule.factor: only Step and Plateau",
            id="a cosine with a factor",
        ),
        pytest.param(
            {"stages": [TOP | {"lrSchedule": {"kind": "Plateau", "everyEpochs": 3}}]},
            "spec.stages[0].lrSchedule.everyEpochs: only Step",
            id="a plateau every three epochs",
        ),
        pytest.param(
            {"stages": [TOP | {"lrSchedule": {"kind": "Step", "patience": 3}}]},
            "spec.stages[0].lrSchedule.patience: only Plateau",
            id="steps with patience",
        ),
        pytest.param(
            {"stages": [TOP | {"lrSchedule": {"kind": "Step", "metric": "loss"}}]},
            "spec.stages[0].lrSchedule.metric: only Plateau",
            id="steps that look at the loss",
        ),
        pytest.param(
            {
                "data.validation": {"none": True},
                "output.select": "Last",
                "stages": [TOP | {"lrSchedule": {"kind": "Plateau", "metric": "val_loss"}}],
            },
            "a stage is judged by a val_ metric",
            id="a plateau of what nobody measures",
        ),
        pytest.param(
            {"stages": [TOP | {"stopWhen": {"above": 0.9, "below": 0.1}}]},
            "spec.stages[0].stopWhen: set exactly one of above and below",
            id="two bounds",
        ),
        pytest.param(
            {"data.validation": {"split": 0.1, "none": True}},
            "set exactly one of split, uri and none",
            id="split and none",
        ),
        pytest.param(
            {"data.validation": {"none": True}},
            "spec.output.select: without validation",
            id="best without validation",
        ),
        pytest.param(
            {
                "data.validation": {"none": True},
                "output.select": "Last",
                "stages": [TOP | {"earlyStopping": {"metric": "val_loss"}}],
            },
            "spec.stages: a stage is judged by a val_ metric",
            id="judged by what is not there",
        ),
        pytest.param(
            {"model.weights": "s3://b/w.weights.h5"},
            "spec.model.weightsSha256: weights from a URI",
            id="no digest",
        ),
        pytest.param(
            {"model.weightsSha256": "0" * 64},
            "spec.model.weightsSha256: weights from a URI",
            id="digest of imagenet",
        ),
        pytest.param(
            {"output.formats": [{"kind": "SavedModel", "quantization": "Int8"}]},
            "only TFLite",
            id="a small SavedModel",
        ),
        pytest.param({"output.formats": [{"kind": "Features"}]}, "needs a layer", id="features of no layer"),
        pytest.param({"scheduling": {"gang": "Kueue"}}, "Kueue needs queueName", id="Kueue without a queue"),
        pytest.param({"scheduling": {"queueName": "a"}}, "queueName needs gang", id="a queue without Kueue"),
        pytest.param(
            {"scheduling": {"gang": "Volcano", "queuePriorityClass": "high"}},
            "needs gang Kueue",
            id="Kueue's priority",
        ),
        pytest.param(
            {"placement": {"tolerations": [{"value": "x"}]}},
            "needs operator Exists",
            id="a toleration of nothing",
        ),
    ],
)
def test_fields_that_contradict_one_another_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(BadJob) as caught:
        jobs.job(changes)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"workers": 4},
        {"schedule": "Gradual", "stages": [HEAD]},
        {"stages": [HEAD | LBFGS, TOP, EVERYTHING]},
        {"stages": [TOP | {"optimizer": {"name": "SGD", "momentum": 0.5}}]},
        {"stages": [TOP | {"epochs": 2, "lrSchedule": {"warmupEpochs": 1}}]},
        {"stages": [TOP | {"lrSchedule": {"kind": "Step", "factor": 0.5, "everyEpochs": 3}}]},
        {"stages": [TOP | {"lrSchedule": {"kind": "Plateau", "metric": "loss", "patience": 3}}]},
        {"data.validation": {"uri": "s3://b/val"}},
        {"data.validation": {"none": True}, "output.select": "Last"},
        {"model.weights": "s3://b/w.weights.h5", "model.weightsSha256": "0" * 64},
        {"data.augmentation": {"views": "PerEpoch"}},
        {"output.formats": [{"kind": "SavedModel"}, {"kind": "TFLite", "quantization": "Int8"}]},
        {"scheduling": {"gang": "Kueue", "queueName": "team-a", "queuePriorityClass": "high"}},
        {"placement": {"tolerations": [{"operator": "Exists"}], "nodeSelector": {"a.b/c": "d"}}},
        {"resources.limits": {"cpu": 8, "memory": "32Gi", "nvidia.com/gpu": 1}},
        {"env": [{"name": "NCCL_DEBUG", "value": "INFO"}, {"name": "https_proxy", "value": "http://p:1"}]},
        {"data.train": "../images", "output.uri": "/tmp/models"},
    ],
)
def test_what_a_job_may_say_is_read_and_written_back(changes: dict[str, Any]) -> None:
    read = jobs.job(changes)
    text = yaml.safe_dump(read.model_dump(mode="json", exclude_none=True))
    assert yaml_loader.parse_job(yaml_loader.load(text, "copy"), "copy") == read


def test_an_object_read_from_a_cluster_is_a_job() -> None:
    kept = {"uid": "0", "generation": 2, "resourceVersion": "7", "managedFields": [{"manager": "kubectl"}]}
    read = jobs.document() | {
        "status": {"phase": "Running", "conditions": [], "artifacts": {"modelURI": "s3://m"}}
    }
    read["metadata"] |= kept
    found = yaml_loader.parse_job(read, "flowers")
    assert (found.metadata.generation, found.status and found.status.phase) == (2, "Running")


def test_a_null_in_a_map_is_absent() -> None:
    assert jobs.job({"resources.limits": {"cpu": 1, "memory": None}}).spec.resources.limits == {"cpu": "1"}
    assert jobs.job({"placement.nodeSelector": {"a": None}}) == jobs.job({"placement": {"nodeSelector": {}}})


def test_columns_without_text_show_a_dash() -> None:
    summary = FineTuneJobStatus.model_validate({"summary": {"eta": "", "best": "loss=0.2"}}).summary
    assert (summary.eta, summary.best, summary.stage, summary.reason) == ("-", "loss=0.2", "-", "")


@pytest.mark.parametrize("moment", ["now", "2026-11-22", "2026-11-22 15:04:05Z", "", 5])
def test_a_moment_is_one_of_kubernetes(moment: object) -> None:
    good = FineTuneJobStatus.model_validate({"startTime": "2026-11-22T15:04:05.123456+01:00"})
    assert good.start_time is not None
    with pytest.raises(ValidationError):
        FineTuneJobStatus.model_validate({"startTime": moment})


def test_a_status_is_written_in_kubernetes_names() -> None:
    status = FineTuneJobStatus(
        run_id="a1", stages=[StageStatus(name="head", state="Running", trainable_params=12)], job_uid="b2"
    )
    written = status.model_dump(exclude_defaults=True)
    assert written == {
        "runID": "a1",
        "jobUID": "b2",
        "stages": [{"name": "head", "state": "Running", "trainableParams": 12}],
    }


def _subclasses(model: type[Model]) -> Iterator[type[Model]]:
    for found in model.__subclasses__():
        yield found
        yield from _subclasses(found)


MODELS = sorted(_subclasses(Model), key=lambda model: model.__name__)


@pytest.mark.parametrize("model", MODELS)
def test_every_field_is_explained_in_a_sentence(model: type[BaseModel]) -> None:
    for name, field in model.model_fields.items():
        assert (field.description or "").endswith((".", ")")), f"{model.__name__}.{name}"


@pytest.mark.parametrize("model", MODELS)
def test_models_are_frozen_and_refuse_unknown_fields(model: type[BaseModel]) -> None:
    assert (model.model_config.get("frozen"), model.model_config.get("extra")) == (True, "forbid")


def test_no_choice_is_a_boolean_of_yaml() -> None:
    schemas = FineTuneJob.model_json_schema()["$defs"].values()
    choices = {
        choice for schema in schemas for field in schema["properties"].values() for choice in _choices(field)
    }
    assert {"None", "Light", "Frozen", "Kueue"} <= choices
    assert [choice for choice in choices if yaml_loader.load(f"a: {choice}", "x")["a"] != choice] == []


def _choices(field: dict[str, Any]) -> Iterator[str]:
    for one in (field, field.get("items", {}), *field.get("anyOf", [])):
        # "True" and "False" are the words of Kubernetes' own conditions.
        yield from (c for c in one.get("enum", []) if c not in (True, "True", "False"))
