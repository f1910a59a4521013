"""The first resolution, pure and static: presets expanded, every default that needs no data filled in.

`resolve` gives the same answer on a laptop, in the operator and on every worker. The second resolution,
`plan`, lives in `planning` and is re-exported here: it runs once, with what only data and machine can say.
"""

from finetune_api import backbones, not_built, presets
from finetune_api.backbones import Backbone
from finetune_api.errors import BadJob
from finetune_api.plan import ResolvedJob
from finetune_api.planning import plan
from finetune_api.v1alpha1 import FineTuneJob, FineTuneJobSpec, LrSchedule, ModelSpec, Stage, Unfreeze
from finetune_api.v1alpha1.units import parse_duration, parse_quantity

__all__ = ["plan", "resolve"]

_SOLVED_EPOCHS = 5
_TRAINED_EPOCHS = 10
# Lion moves each weight by the whole rate, so its rate is 3 to 10 times smaller (Chen et al. 2023, arXiv 2302.06675).
_HEAD_RATES = {"SGD": 1e-2, "Lion": 1e-4}
_HEAD_RATE = 1e-3
_BACKBONE_RATES = {"SGD": 1e-3, "Lion": 1e-5}
_BACKBONE_RATE = 1e-4  # pretrained weights want small steps
_FACTOR = 0.1
_PATIENCE = 2


def resolve(job: FineTuneJob, cluster: bool = False) -> ResolvedJob:
    """A job with nothing left to default, the same on every machine.

    Args:
        job: the job.
        cluster: whether its pods run on one, or whoever starts it has already refused what one machine cannot do.

    Raises:
        BadJob: the job contradicts its backbone or asks for what is not built yet.
    """
    not_built.refuse_unbuilt(job, cluster)
    spec = job.spec
    backbone = backbones.get(spec.model.backbone)
    known = {
        "name": job.metadata.name,
        "namespace": job.metadata.namespace,
        "workers": spec.workers,
        "global_batch_size": spec.global_batch_size,
        "seed": spec.seed,
        "deterministic": spec.deterministic,
        "max_restarts": spec.max_restarts,
        "progress_deadline_seconds": spec.progress_deadline_seconds,
        "start_deadline_seconds": spec.start_deadline_seconds,
        "stages": _stages(spec, backbone),
    }
    # Validated again: the types of a ResolvedJob are those of what is built, narrower than the job's.
    return ResolvedJob.model_validate(known | _model(spec.model, backbone) | _data(spec) | _results(spec))


def _model(model: ModelSpec, backbone: Backbone) -> dict[str, object]:
    _check_weights(model, backbone)
    return {
        "backbone": backbone.name,
        "weights": model.weights,
        "weights_sha256": model.weights_sha256,
        "image_size": _image_size(model, backbone),
        "alpha": _alpha(model, backbone),
        "pooling": model.head.pooling,
        "hidden": model.head.hidden,
        "dropout": model.head.dropout,
    }


def _data(spec: FineTuneJobSpec) -> dict[str, object]:
    data = spec.data
    asked = data.augmentation
    transforms = presets.transforms(asked)
    views = asked.views if transforms else 1
    return {
        "train_uri": data.train,
        "validation_uri": data.validation.uri,
        "validation_split": data.validation.split,
        "augmentation": "Custom" if asked.transforms else asked.preset,
        "transforms": transforms,
        "views": 0 if views == "PerEpoch" else views,
        "class_weights": data.class_weights,
        "max_corrupt_fraction": data.max_corrupt_fraction,
        "max_pixels": data.max_pixels,
    }


def _results(spec: FineTuneJobSpec) -> dict[str, object]:
    cache, checkpoint, output, storage = spec.feature_cache, spec.checkpoint, spec.output, spec.storage
    return {
        "cache_mode": cache.mode,
        "cache_max_bytes": parse_quantity(cache.max_bytes),
        "checkpoint_interval": parse_duration(checkpoint.interval),
        "checkpoint_keep": checkpoint.keep,
        "checkpoint_retain": checkpoint.retain,
        "keep_versions": output.keep_versions,
        "output_uri": output.uri,
        "select": output.select,
        "tflite": list(
            dict.fromkeys(form.quantization or "Float32" for form in output.formats if form.kind == "TFLite")
        ),
        "max_accuracy_drop": output.max_accuracy_drop,
        "storage": {
            "endpoint": storage.endpoint,
            "region": storage.region,
            "secret_name": storage.secret_name,
        },
    }


def _image_size(model: ModelSpec, backbone: Backbone) -> int:
    size = model.image_size or backbone.default_size
    if size < backbone.min_size:
        raise BadJob(
            "ImageTooSmall",
            f"spec.model.imageSize is {size}, too small for {backbone.name}",
            f"at least {backbone.min_size}",
            f"raise imageSize, remove it (then it is {backbone.default_size}), or choose another backbone",
        )
    return size


def _check_weights(model: ModelSpec, backbone: Backbone) -> None:
    if model.weights == "imagenet" and not backbone.imagenet:
        raise BadJob(
            "NoImageNetWeights",
            f"there are no ImageNet weights of {backbone.name}",
            "spec.model.weights none, or the URI of a *.weights.h5",
            "set weights, or choose another backbone",
        )


def _alpha(model: ModelSpec, backbone: Backbone) -> float:
    if model.alpha == 1 or (backbone.alphas and model.weights != "imagenet"):
        return model.alpha
    if not backbone.alphas:
        raise BadJob(
            "NoAlpha",
            f"spec.model.alpha is {model.alpha:g}, but {backbone.name} has one width only",
            fix="remove alpha, or choose a backbone of the MobileNet family",
        )
    if model.alpha not in backbone.alphas:
        known = ", ".join(f"{alpha:g}" for alpha in backbone.alphas)
        raise BadJob(
            "UnknownAlpha",
            f"there are no ImageNet weights of {backbone.name} with spec.model.alpha {model.alpha:g}",
            f"one of {known}",
            "choose one of these, or set weights to none",
        )
    return model.alpha


def _stages(spec: FineTuneJobSpec, backbone: Backbone) -> list[dict[str, object]]:
    stages = spec.stages or presets.stages(spec.schedule or presets.DEFAULT)
    return [_stage(spec, backbone, index, stage) for index, stage in enumerate(stages)]


def _stage(spec: FineTuneJobSpec, backbone: Backbone, index: int, stage: Stage) -> dict[str, object]:
    path = f"spec.stages[{index}]"
    first = _first_trainable(stage.unfreeze, backbone, path)
    head_alone = first == backbone.num_layers
    solved = _is_solved(spec, stage, head_alone)
    epochs = _solved_epochs(spec, stage, path) if solved else stage.epochs or _TRAINED_EPOCHS
    return {
        "name": stage.name,
        "index": index,
        "epochs": epochs,
        "first_trainable": first,
        **(_solver() if solved else _optimizer(stage, head_alone) | _rates(spec, stage.lr_schedule, epochs)),
        "label_smoothing": stage.loss.label_smoothing,
        "focal_gamma": stage.loss.focal_gamma,
        "batch_norm": stage.batch_norm,
        "early_stopping": stage.early_stopping and stage.early_stopping.model_dump(by_alias=False),
        "stop_when": stage.stop_when and stage.stop_when.model_dump(by_alias=False),
    }


def _first_trainable(unfreeze: Unfreeze, backbone: Backbone, path: str) -> int:
    if unfreeze.all:
        return 0
    if unfreeze.from_layer is not None:
        return backbone.index_of_layer(unfreeze.from_layer)
    if unfreeze.from_layer_index is None:
        return backbone.first_trainable_for_blocks(unfreeze.blocks or 0)
    if unfreeze.from_layer_index >= backbone.num_layers:
        raise BadJob(
            "UnknownLayer",
            f"{backbone.name} has no layer {unfreeze.from_layer_index} ({path}.unfreeze.fromLayerIndex)",
            f"0 to {backbone.num_layers - 1}",
            "choose a lower number, or {blocks: 0} to train the head alone",
        )
    return unfreeze.from_layer_index


def _is_solved(spec: FineTuneJobSpec, stage: Stage, head_alone: bool) -> bool:
    if stage.optimizer is not None:
        return stage.optimizer.name == "LBFGS"
    asks_for_steps = stage.learning_rate is not None or stage.lr_schedule is not None
    asks_for_steps |= stage.loss.focal_gamma is not None
    return head_alone and not spec.model.head.hidden and not asks_for_steps


def _solved_epochs(spec: FineTuneJobSpec, stage: Stage, path: str) -> int:
    if not spec.data.validation.none:
        return stage.epochs or _SOLVED_EPOCHS
    if stage.epochs is not None and stage.epochs > 1:
        raise BadJob(
            "NothingToChooseBy",
            f"{path}.epochs is {stage.epochs}: so many strengths of regularisation for LBFGS to choose from",
            "1 without validation, as there is nothing to choose by",
            "remove epochs, or set data.validation",
        )
    return 1


def _solver() -> dict[str, object]:
    return {
        "optimizer": "LBFGS",
        "learning_rate": 0.0,
        "momentum": 0.0,
        "weight_decay": 0.0,
        "clip_norm": None,
        "lr_schedule": "Constant",
        "warmup_epochs": 0,
    }


def _optimizer(stage: Stage, head_alone: bool) -> dict[str, object]:
    chosen = stage.optimizer
    name = chosen.name if chosen else "Adam"
    rate = _HEAD_RATES.get(name, _HEAD_RATE) if head_alone else _BACKBONE_RATES.get(name, _BACKBONE_RATE)
    momentum = chosen.momentum if chosen else None
    return {
        "optimizer": name,
        "learning_rate": stage.learning_rate or rate,
        "momentum": momentum if momentum is not None else 0.9 if name == "SGD" else 0.0,
        "weight_decay": chosen.weight_decay if chosen else 0.0,
        "clip_norm": chosen.clip_norm if chosen else None,
    }


def _rates(spec: FineTuneJobSpec, chosen: LrSchedule | None, epochs: int) -> dict[str, object]:
    asked = chosen or LrSchedule()
    warmup = asked.warmup_epochs
    return {
        "lr_schedule": asked.kind,
        "rate_drop": _rate_drop(spec, asked, epochs),
        "warmup_epochs": warmup if warmup is not None else int(asked.kind == "Cosine" and epochs > 1),
    }


def _rate_drop(spec: FineTuneJobSpec, asked: LrSchedule, epochs: int) -> dict[str, object] | None:
    factor = asked.factor or _FACTOR
    if asked.kind == "Step":
        return {"factor": factor, "epochs": asked.every_epochs or max(1, epochs // 3), "metric": None}
    if asked.kind == "Plateau":
        metric = asked.metric or ("loss" if spec.data.validation.none else "val_loss")
        return {"factor": factor, "epochs": asked.patience or _PATIENCE, "metric": metric}
    return None
