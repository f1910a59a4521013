"""What is going to run, spelled out: a job with every default filled in, and that job once its data is known.

`ResolvedJob` needs only the FineTuneJob (`schedule.resolve`); `Plan` also needs the data and the machine
(`schedule.plan`), is made once by the chief and stored as plan.json. Below a plan nothing means "choose
for me".
"""

import hashlib
import json
from typing import Literal

from pydantic import Field

from finetune_api.model import Model

OptimizerName = Literal["LBFGS", "SGD", "RMSprop", "Adam", "AdamW", "Lion"]
LrScheduleKind = Literal["Constant", "Cosine", "Step", "Plateau"]
BatchNorm = Literal["Frozen", "Sync", "Local"]
Metric = Literal["accuracy", "loss", "val_accuracy", "val_loss"]
TransformName = Literal["Flip", "Shift", "Zoom", "Rotate", "Brightness", "Contrast", "Saturation", "Erase"]
CacheDtype = Literal["native", "float16"]
Quantization = Literal["Float32", "Float16", "Int8"]


class EarlyStopping(Model):
    """Ends a stage that no longer gets better."""

    metric: Metric
    patience: int
    """Epochs without an improvement of more than `min_delta` before the stage ends."""
    min_delta: float


class StopWhen(Model):
    """Ends a stage as soon as it is good enough; exactly one bound is set."""

    metric: Metric
    above: float | None = None
    below: float | None = None


class RateDrop(Model):
    """When the learning rate falls, and how far."""

    factor: float
    """What the rate is multiplied with each time."""
    epochs: int
    """Step: between two falls. Plateau: without an improvement of `metric` before each fall."""
    metric: Metric | None
    """Of Plateau."""


class ResolvedStage(Model):
    """One stage with nothing left open."""

    name: str
    index: int
    """0-based place in the schedule."""
    epochs: int
    """Passes over the training images; for LBFGS the number of regularisation strengths tried."""
    first_trainable: int
    """Index into the backbone's layers: those before it are frozen. 0 trains everything; the number of layers
    trains the head alone."""
    optimizer: OptimizerName
    learning_rate: float
    """Peak rate; 0 for LBFGS, which has none."""
    momentum: float
    weight_decay: float
    clip_norm: float | None
    """Largest global L2 norm of the all-reduced gradient."""
    lr_schedule: LrScheduleKind
    rate_drop: RateDrop | None = None
    """Of the schedules Step and Plateau."""
    warmup_epochs: int
    label_smoothing: float
    focal_gamma: float | None = None
    """Exponent of the focal loss; None is cross-entropy."""
    batch_norm: BatchNorm
    early_stopping: EarlyStopping | None
    stop_when: StopWhen | None


class ResolvedStorage(Model):
    """How object storage is reached."""

    endpoint: str | None
    region: str | None
    secret_name: str | None


class ResolvedJob(Model):
    """A FineTuneJob with presets expanded and every default that needs no data."""

    name: str
    namespace: str
    workers: int

    backbone: str
    weights: str
    """imagenet, none, or the URI of a *.weights.h5."""
    weights_sha256: str | None
    image_size: int
    """Side of the square the backbone sees, in pixels."""
    alpha: float
    pooling: Literal["Average", "Max"]
    hidden: list[int] = Field(default=[])
    """Units of the head's ReLU layers."""
    dropout: float

    train_uri: str
    validation_uri: str | None
    validation_split: float | None
    """Share of the training images set aside; with `validation_uri` also None there is no validation."""
    augmentation: Literal["None", "Light", "Strong", "Custom"]
    transforms: dict[TransformName, float]
    """What the augmentation changes in an image, and how far at most."""
    views: int
    """Different views of each image; 0 stands for a new one each epoch."""
    class_weights: Literal["None", "Balanced"] = "None"
    max_corrupt_fraction: float
    max_pixels: int

    global_batch_size: int
    seed: int
    deterministic: bool
    stages: list[ResolvedStage]

    cache_mode: Literal["Auto", "Enabled", "Disabled"]
    cache_max_bytes: int
    """Of all workers together, so that the decision does not depend on their number."""
    checkpoint_interval: float
    """Seconds."""
    checkpoint_keep: int
    checkpoint_retain: bool
    keep_versions: int = 5
    """Published versions that stay; missing in plans of earlier releases."""
    output_uri: str
    select: Literal["Best", "Last"]
    tflite: list[Quantization] = Field(default=[])
    """Files for LiteRT beside the SavedModel."""
    max_accuracy_drop: float = 0.01
    """One that loses more is left out."""
    storage: ResolvedStorage
    max_restarts: int
    progress_deadline_seconds: int
    start_deadline_seconds: int
    smoke_steps: int | None = None
    """Steps per stage of a smoke run; None runs everything. Not part of a FineTuneJob."""

    @property
    def has_validation(self) -> bool:
        """Whether there are val_ metrics."""
        return self.validation_uri is not None or self.validation_split is not None

    def digest(self) -> str:
        """SHA-256, as hex, of what decides the result.

        Left out is what may change between two starts of the same run: the number of workers, deadlines,
        restarts, cache, checkpoints, and how storage is reached.
        """
        text = json.dumps(self.model_dump(mode="json", exclude=set(_NOT_OF_THE_RESULT)), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


_NOT_OF_THE_RESULT = (
    "name",
    "namespace",
    "workers",
    "cache_mode",
    "cache_max_bytes",
    "checkpoint_interval",
    "checkpoint_keep",
    "checkpoint_retain",
    "keep_versions",
    "output_uri",
    "storage",
    "max_restarts",
    "progress_deadline_seconds",
    "start_deadline_seconds",
)


class Facts(Model):
    """What only the data and the machine can say."""

    num_train: int
    num_validation: int
    classes: list[str]
    """Names in label order."""
    class_counts: list[int]
    """Training images of each class."""
    dataset_digest: str
    input_bytes: int
    """Encoded bytes of all images."""
    cut_bytes: list[int]
    """For each stage: bytes of one image and one view at its cut, in the cut's own dtype."""
    device: Literal["CPU", "GPU"]
    memory_bytes: int | None = None
    threads: int
    """Processor threads of one worker's TensorFlow."""


class PlannedStage(Model):
    """One stage as it runs."""

    name: str
    epochs: int
    first_trainable: int
    cached: bool
    """Whether its trunk runs once and its epochs read what it wrote."""
    cache_dtype: CacheDtype
    cache_bytes: int
    """Over all workers; 0 when not cached. Stages with the same cut share one cache."""


class Plan(Model):
    """plan.json: the run, with nothing left to choose. Made once, adopted by every later generation."""

    resolved: ResolvedJob
    classes: list[str]
    class_counts: list[int]
    num_train: int
    num_validation: int
    dataset_digest: str
    steps_per_epoch: int
    """ceil(num_train / global_batch_size)."""
    views: int
    """Different views of each training image; 1 is the image as it is when augmentation is None."""
    precision: Literal["Float32"]
    stages: list[PlannedStage]
    threads: int
