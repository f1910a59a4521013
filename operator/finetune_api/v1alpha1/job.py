"""The FineTuneJob itself."""

from typing import Annotated, Any, Literal

from pydantic import Field

from finetune_api.v1alpha1 import backbone_rules
from finetune_api.v1alpha1.data import DataSpec
from finetune_api.v1alpha1.fields import (
    Controller,
    Image,
    LabelValue,
    MetadataKey,
    Name,
    ObjectName,
    Seconds,
    Text,
)
from finetune_api.v1alpha1.model import ModelSpec
from finetune_api.v1alpha1.output import Checkpoint, FeatureCache, Output, Storage
from finetune_api.v1alpha1.runtime import Environment, Placement, Resources, Scheduling
from finetune_api.v1alpha1.schema import Model, Rule
from finetune_api.v1alpha1.stages import MAX_STAGES, Stage
from finetune_api.v1alpha1.status import FineTuneJobStatus

Precision = Literal["Auto", "Float32", "MixedBfloat16", "MixedFloat16"]
Preset = Literal["LinearProbeThenFineTune", "Gradual", "HeadOnly"]

CHANGEABLE = (
    "suspend",
    "activeDeadlineSeconds",
    "startDeadlineSeconds",
    "progressDeadlineSeconds",
    "ttlSecondsAfterFinished",
)
"""Fields of the spec that may change after creation; all others decide what the run is."""


def _judges_by_validation(stage: Stage) -> bool:
    rules = (stage.early_stopping, stage.stop_when, stage.lr_schedule)
    return any((rule.metric or "").startswith("val_") for rule in rules if rule is not None)


def _without_validation(spec: Any) -> bool:
    return spec.data.validation.none is True


_CEL_NO_VALIDATION = "has(self.data.validation.none)"
_CEL_JUDGES = (
    "(has(s.earlyStopping) && s.earlyStopping.metric.startsWith('val_'))"
    " || (has(s.stopWhen) && s.stopWhen.metric.startsWith('val_'))"
    " || (has(s.lrSchedule) && has(s.lrSchedule.metric) && s.lrSchedule.metric.startsWith('val_'))"
)


# No list-type map: for it two orders of the same stages would be equal.
_STAGES = Field(min_length=1, max_length=MAX_STAGES)


class FineTuneJobSpec(Model):
    """What to fine-tune, on which images, how, and where the model goes."""

    workers: Annotated[int, Field(ge=1, le=1024)] = 1
    """Pods that train together; must divide globalBatchSize. The result does not depend on their number.
    Default 1."""
    model: ModelSpec
    """What is fine-tuned. Required."""
    data: DataSpec
    """The images. Required."""
    global_batch_size: Annotated[int, Field(ge=1, le=1_048_576)] = 64
    """Images per step over all workers. Default 64."""
    precision: Precision = "Auto"
    """Number format of the training; Auto takes the fastest that the device does well. Default Auto."""
    seed: Annotated[int, Field(ge=0, le=2_147_483_647)] = 42
    """Start of everything random: split, order, augmentation, dropout, head. Default 42."""
    deterministic: bool = False
    """Bit-identical runs on the same hardware, at the price of speed. Default false."""
    xla: bool = False
    """Compile training steps with XLA; for GPUs. Default false."""
    schedule: Preset | None = None
    """Ready-made stages, used where stages is absent. LinearProbeThenFineTune solves the head, then trains the top two
    blocks. Gradual solves the head, then trains 1, 2 and 4 blocks at falling rates. HeadOnly solves the head.
    Default LinearProbeThenFineTune."""
    stages: Annotated[list[Stage], _STAGES] | None = None
    """The schedule, one stage after the other; wins over a ready-made one."""
    feature_cache: FeatureCache = FeatureCache()
    """Outputs of frozen layers, kept on local disk."""
    checkpoint: Checkpoint = Checkpoint()
    """What a run can go on from after a loss."""
    output: Output
    """Where the model goes. Required."""
    storage: Storage = Storage()
    """How object storage is reached."""
    image: Image | None = None
    """Container image of the workers. Default: the operator's, for CPU or GPU by the limits."""
    env: Environment = Field(default=[])
    """Variables for the training processes."""
    service_account_name: ObjectName | None = None
    """ServiceAccount of the job's namespace, for workload identity. Default: default."""
    resources: Resources = Resources()
    """What each worker gets."""
    placement: Placement = Placement()
    """Which nodes workers go to."""
    scheduling: Scheduling = Scheduling()
    """Who decides when the workers may start."""
    suspend: bool = False
    """Stop, keep everything, free the pods; false goes on from the last step. May change. Default false."""
    managed_by: Controller | None = None
    """Another controller that takes care of this job; this operator then leaves it alone."""
    active_deadline_seconds: Seconds | None = None
    """Longest time the job may be active, suspension apart. May change. Default: no limit."""
    start_deadline_seconds: Seconds = 1800
    """Longest time to wait for all workers, at the start and after a loss. May change. Default 1800."""
    progress_deadline_seconds: Seconds = 600
    """Longest time without a sign of progress before a hang is assumed. May change. Default 600."""
    ttl_seconds_after_finished: Annotated[int, Field(ge=0, le=31_536_000)] | None = None
    """Delete the FineTuneJob this long after its end, never the model. May change. Default: never."""
    max_restarts: Annotated[int, Field(ge=0, le=1000)] = 5
    """Failures without a newer checkpoint in between before the job fails; lost nodes and evictions are not
    counted. Default 5."""
    dead_node_timeout_seconds: Seconds = 120
    """How long a worker on an unreachable node is waited for. Default 120."""

    rules = (
        Rule(
            "must be a multiple of workers, so that each worker gets the same share of every batch",
            lambda s: s.global_batch_size % s.workers == 0,
            "self.globalBatchSize % self.workers == 0",
            "globalBatchSize",
        ),
        Rule(
            "two stages have the same name: give each its own",
            lambda s: len({stage.name for stage in s.stages or []}) == len(s.stages or []),
            "!has(self.stages) || self.stages.all(s, self.stages.exists_one(t, t.name == s.name))",
            "stages",
        ),
        Rule(
            "without validation there is no best: set it to Last",
            lambda s: not _without_validation(s) or s.output.select == "Last",
            f"!{_CEL_NO_VALIDATION} || self.output.select == 'Last'",
            "output.select",
        ),
        Rule(
            "a stage is judged by a val_ metric but data.validation is none: judge it by loss or accuracy",
            lambda s: not _without_validation(s) or not any(map(_judges_by_validation, s.stages or [])),
            f"!{_CEL_NO_VALIDATION} || !has(self.stages) || !self.stages.exists(s, {_CEL_JUDGES})",
            "stages",
        ),
        Rule(
            "LBFGS solves a linear head: remove model.head.hidden, or choose Adam",
            lambda s: (
                not s.model.head.hidden
                or all(t.optimizer is None or t.optimizer.name != "LBFGS" for t in s.stages or [])
            ),
            "self.model.head.hidden.size() == 0 || !has(self.stages)"
            " || !self.stages.exists(s, has(s.optimizer) && s.optimizer.name == 'LBFGS')",
            "stages",
        ),
        *backbone_rules.OF_SPEC,
    )


class Metadata(Model):
    """The part of Kubernetes' ObjectMeta that a job file, or an object read back, can have."""

    name: Name
    """Name of the job, unique in its namespace: lower-case letters, digits and dashes, such as flowers.
    Required."""
    namespace: Name = "default"
    """Namespace of the job; locally only a folder of the results. Default: default."""
    labels: dict[MetadataKey, LabelValue] = Field(default={})
    """Labels to select by."""
    annotations: dict[str, str] = Field(default={})
    """Notes for programs."""
    generate_name: Text = ""
    """Beginning of a name that the API server completed."""
    uid: Text = ""
    """Set by the API server."""
    resource_version: Text = ""
    """Set by the API server."""
    generation: int = 0
    """Set by the API server: counts changes of the spec."""
    creation_timestamp: Text | None = None
    """Set by the API server."""
    deletion_timestamp: Text | None = None
    """Set by the API server."""
    deletion_grace_period_seconds: int | None = None
    """Set by the API server."""
    finalizers: list[str] = Field(default=[])
    """Who has to agree to the deletion."""
    owner_references: list[dict[str, Any]] = Field(default=[])
    """What this job belongs to."""
    managed_fields: list[dict[str, Any]] = Field(default=[])
    """Set by the API server."""


class FineTuneJob(Model):
    """A staged fine-tune of a pretrained image model: from images to a verified SavedModel."""

    api_version: Literal["finetune.dev/v1alpha1"]
    """Always finetune.dev/v1alpha1."""
    kind: Literal["FineTuneJob"]
    """Always FineTuneJob."""
    metadata: Metadata
    """Name, namespace and labels."""
    spec: FineTuneJobSpec
    """What is wanted."""
    status: FineTuneJobStatus | None = None
    """What is: written by the operator, read by people and programs."""
