from typing import Any

import pytest

import jobs
from finetune_api import backbones, schedule
from finetune_api.contract import ExitCode
from finetune_api.errors import BadJob
from finetune_api.plan import ResolvedJob, ResolvedStage

HEAD, TOP, EVERYTHING = jobs.HEAD, jobs.TOP, jobs.EVERYTHING
NO_VALIDATION = {"data.validation": {"none": True}, "output.select": "Last"}


def only_stage(stage: dict[str, Any], **changes: Any) -> ResolvedStage:
    return jobs.resolved({"stages": [stage], **changes}).stages[0]


def test_a_minimal_job_has_every_default() -> None:
    job = jobs.resolved()
    assert (job.backbone, job.image_size, job.weights, job.alpha) == ("MobileNetV2", 224, "imagenet", 1)
    assert (job.validation_split, job.validation_uri, job.has_validation) == (0.1, None, True)
    assert (job.augmentation, job.views, job.global_batch_size, job.workers) == ("Light", 4, 64, 1)
    assert (job.checkpoint_interval, job.cache_max_bytes, job.select) == (60.0, 20 * 2**30, "Best")
    assert (job.train_uri, job.output_uri, job.smoke_steps) == ("./flowers", "./models", None)


@pytest.mark.parametrize("name", backbones.NAMES)
@pytest.mark.parametrize("preset", ["LinearProbeThenFineTune", "Gradual", "HeadOnly"])
def test_every_preset_fits_every_backbone(name: str, preset: str) -> None:
    weights = "imagenet" if backbones.get(name).imagenet else "none"
    job = jobs.resolved({"model.backbone": name, "model.weights": weights, "schedule": preset})
    head, *rest = job.stages
    assert (head.optimizer, head.first_trainable) == ("LBFGS", backbones.get(name).num_layers)
    assert job.image_size == backbones.get(name).default_size
    froms = [stage.first_trainable for stage in job.stages]
    assert froms == sorted(set(froms), reverse=True), "each stage trains more than the one before"
    assert all(stage.optimizer == "Adam" and stage.batch_norm == "Frozen" for stage in rest)
    assert [stage.index for stage in job.stages] == list(range(len(froms)))


def test_the_default_schedule_solves_the_head_then_trains_the_top_two_blocks() -> None:
    head, finetune = jobs.resolved().stages
    assert jobs.resolved({"schedule": "LinearProbeThenFineTune"}).stages == [head, finetune]
    assert (head.name, head.epochs, head.learning_rate, head.warmup_epochs) == ("head", 5, 0, 0)
    assert (finetune.name, finetune.epochs, finetune.learning_rate) == ("finetune", 10, 1e-4)
    assert (finetune.lr_schedule, finetune.warmup_epochs) == ("Cosine", 1)
    assert finetune.first_trainable == backbones.get("MobileNetV2").first_trainable_for_blocks(2)


def test_gradual_unfreezes_one_two_and_four_blocks_at_falling_rates() -> None:
    stages = jobs.resolved({"schedule": "Gradual"}).stages
    blocks = [backbones.get("MobileNetV2").first_trainable_for_blocks(n) for n in (0, 1, 2, 4)]
    assert [stage.first_trainable for stage in stages] == blocks
    rates = [stage.learning_rate for stage in stages[1:]]
    assert rates == sorted(rates, reverse=True)


@pytest.mark.parametrize(
    ("unfreeze", "first_trainable"),
    [
        ({"blocks": 0}, 311),
        ({"blocks": 2}, 249),
        ({"fromLayerIndex": 249}, 249),
        ({"fromLayerIndex": 0}, 0),
        ({"fromLayer": "mixed8"}, 248),
        ({"all": True}, 0),
    ],
)
def test_the_ways_of_unfreezing_meet(unfreeze: dict[str, Any], first_trainable: int) -> None:
    job = jobs.resolved({"model.backbone": "InceptionV3", "stages": [{"name": "a", "unfreeze": unfreeze}]})
    assert job.stages[0].first_trainable == first_trainable


@pytest.mark.parametrize(
    ("stage", "expected"),
    [
        pytest.param(HEAD, ("LBFGS", 0.0, 0.0, 5, "Constant", 0), id="a head alone is solved"),
        pytest.param(
            HEAD | {"learningRate": 0.5}, ("Adam", 0.5, 0.0, 10, "Cosine", 1), id="a head with a rate is not"
        ),
        pytest.param(
            HEAD | {"optimizer": {"name": "SGD"}},
            ("SGD", 0.01, 0.9, 10, "Cosine", 1),
            id="SGD takes large steps",
        ),
        pytest.param(
            TOP, ("Adam", 1e-4, 0.0, 10, "Cosine", 1), id="blocks are trained by Adam in small steps"
        ),
        pytest.param(
            TOP | {"optimizer": {"name": "SGD"}}, ("SGD", 1e-3, 0.9, 10, "Cosine", 1), id="or by SGD"
        ),
        pytest.param(
            TOP | {"optimizer": {"name": "SGD", "momentum": 0}},
            ("SGD", 1e-3, 0, 10, "Cosine", 1),
            id="no momentum",
        ),
        pytest.param(TOP | {"epochs": 1}, ("Adam", 1e-4, 0.0, 1, "Cosine", 0), id="one epoch has no warm-up"),
        pytest.param(
            TOP | {"lrSchedule": {"kind": "Constant"}},
            ("Adam", 1e-4, 0.0, 10, "Constant", 0),
            id="nor a constant rate",
        ),
        pytest.param(
            TOP | {"lrSchedule": {"kind": "Constant", "warmupEpochs": 2}},
            ("Adam", 1e-4, 0.0, 10, "Constant", 2),
            id="unless it is asked for",
        ),
        pytest.param(
            HEAD | {"loss": {"focalGamma": 2}},
            ("Adam", 1e-3, 0.0, 10, "Cosine", 1),
            id="a head with the focal loss is not solved",
        ),
        pytest.param(
            HEAD | {"optimizer": {"name": "Lion"}},
            ("Lion", 1e-4, 0.0, 10, "Cosine", 1),
            id="Lion treads softly",
        ),
        pytest.param(
            TOP | {"optimizer": {"name": "Lion"}},
            ("Lion", 1e-5, 0.0, 10, "Cosine", 1),
            id="more so in blocks",
        ),
        pytest.param(
            TOP | {"optimizer": {"name": "RMSprop", "momentum": 0.5}},
            ("RMSprop", 1e-4, 0.5, 10, "Cosine", 1),
            id="RMSprop has momentum if asked",
        ),
    ],
)
def test_what_a_stage_leaves_open_is_filled_in(stage: dict[str, Any], expected: tuple[object, ...]) -> None:
    found = only_stage(stage)
    assert (
        found.optimizer,
        found.learning_rate,
        found.momentum,
        found.epochs,
        found.lr_schedule,
        found.warmup_epochs,
    ) == expected


def test_what_a_stage_says_is_kept() -> None:
    found = only_stage(
        TOP
        | {
            "epochs": 7,
            "learningRate": 0.5,
            "optimizer": {"name": "AdamW", "weightDecay": 0.01, "clipNorm": 2},
            "loss": {"labelSmoothing": 0.1, "focalGamma": 2},
            "batchNorm": "Sync",
            "earlyStopping": {"metric": "val_loss", "patience": 2},
            "stopWhen": {"above": 0.9},
        }
    )
    assert (found.epochs, found.optimizer, found.weight_decay, found.clip_norm) == (7, "AdamW", 0.01, 2)
    assert (found.label_smoothing, found.focal_gamma, found.batch_norm) == (0.1, 2, "Sync")
    assert found.early_stopping
    assert (found.early_stopping.metric, found.early_stopping.patience, found.early_stopping.min_delta) == (
        "val_loss",
        2,
        0,
    )
    assert found.stop_when
    assert (found.stop_when.metric, found.stop_when.above, found.stop_when.below) == (
        "val_accuracy",
        0.9,
        None,
    )


def test_without_validation_one_regularisation_is_taken() -> None:
    assert only_stage(HEAD, **NO_VALIDATION).epochs == 1
    assert not jobs.resolved(NO_VALIDATION).has_validation


@pytest.mark.parametrize(
    ("changes", "reason", "message"),
    [
        ({"model.backbone": "MobilNetV2"}, "UnknownBackbone", "MobileNetV2"),
        (
            {"model.backbone": "InceptionV3", "model.imageSize": 64},
            "ImageTooSmall",
            "64, too small for InceptionV3",
        ),
        ({"stages": [{"name": "a", "unfreeze": {"blocks": 99}}]}, "TooManyBlocks", "MobileNetV2"),
        (
            {"stages": [{"name": "a", "unfreeze": {"fromLayer": "block_12_ad"}}]},
            "UnknownLayer",
            "block_12_add",
        ),
        ({"stages": [{"name": "a", "unfreeze": {"fromLayerIndex": 154}}]}, "UnknownLayer", "0 to 153"),
        ({"model.backbone": "ResNet50", "model.alpha": 0.5}, "NoAlpha", "ResNet50 has one width only"),
        ({"model.alpha": 0.6}, "UnknownAlpha", "0.35, 0.5, 0.75, 1, 1.3, 1.4"),
        ({"model.backbone": "EfficientNetLite3"}, "NoImageNetWeights", "EfficientNetLite3"),
        (
            NO_VALIDATION | {"stages": [HEAD | {"epochs": 3}]},
            "NothingToChooseBy",
            "spec.stages[0].epochs is 3",
        ),
    ],
)
def test_what_does_not_fit_the_backbone_is_refused(
    changes: dict[str, Any], reason: str, message: str
) -> None:
    with pytest.raises(BadJob) as caught:
        jobs.resolved(changes)
    assert (caught.value.reason, caught.value.exit_code) == (reason, ExitCode.BAD_JOB)
    assert message in str(caught.value)


def test_random_weights_have_any_width() -> None:
    assert jobs.resolved({"model.alpha": 0.6, "model.weights": "none"}).alpha == 0.6


@pytest.mark.parametrize(
    ("views", "preset", "expected"),
    [(8, "Light", 8), ("PerEpoch", "Light", 0), (8, "None", 1), ("PerEpoch", "None", 1)],
)
def test_views_need_an_augmentation(views: object, preset: str, expected: int) -> None:
    assert jobs.resolved({"data.augmentation": {"preset": preset, "views": views}}).views == expected


@pytest.mark.parametrize(
    "changes",
    [
        {"workers": 4},
        {"maxRestarts": 1, "startDeadlineSeconds": 9, "progressDeadlineSeconds": 9},
        {"featureCache": {"mode": "Disabled"}},
        {"checkpoint": {"interval": "5m", "keep": 9, "retain": True}},
        {"storage": {"region": "eu-central-1", "endpoint": "http://localhost:9000", "secretName": "s3"}},
        {"resources.limits": {"cpu": 8}},
        {"schedule": "LinearProbeThenFineTune"},
        {"model.imageSize": 224, "seed": 42},
    ],
)
def test_the_digest_keeps_what_does_not_decide_the_result(changes: dict[str, Any]) -> None:
    assert jobs.resolved(changes).digest() == jobs.resolved().digest()


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 1},
        {"globalBatchSize": 32},
        {"model.imageSize": 96},
        {"data.train": "./roses"},
        {"data.augmentation": {"views": 5}},
        {"schedule": "HeadOnly"},
        {"output.select": "Last"},
        {"model.head": {"dropout": 0.1}},
        {"deterministic": True},
    ],
)
def test_the_digest_changes_with_what_decides_the_result(changes: dict[str, Any]) -> None:
    assert jobs.resolved(changes).digest() != jobs.resolved().digest()


def test_a_smoke_run_is_another_run() -> None:
    job = jobs.resolved()
    assert job.model_copy(update={"smoke_steps": 2}).digest() != job.digest()


def test_a_resolved_job_survives_json() -> None:
    job = jobs.resolved({"stages": [HEAD, TOP | {"stopWhen": {"above": 0.9}}]})
    assert ResolvedJob.model_validate_json(job.model_dump_json(by_alias=True)) == job
    assert schedule.resolve(jobs.job()) == jobs.resolved()
