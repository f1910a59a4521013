"""The job's status. Numbers that are not whole are strings, as everywhere in Kubernetes."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints

from finetune_api.v1alpha1.fields import Count, Name, Text, Word
from finetune_api.v1alpha1.schema import Model, Rule, keyed_by

JobPhase = Literal[
    "Pending", "Queued", "Starting", "Running", "Restarting", "Suspended", "Exporting", "Complete", "Failed"
]
ConditionType = Literal[
    "Validated",
    "Admitted",
    "WorkersReady",
    "Training",
    "CheckpointHealthy",
    "ModelExported",
    "Complete",
    "Failed",
    "Finished",
    "ProgressAvailable",
]
StageState = Literal["Pending", "Running", "Complete", "Failed", "Skipped"]

Number = Annotated[
    str, StringConstraints(min_length=1, max_length=32, pattern=r"^-?[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]+)?$")
]
"""A number that is not whole, as text."""
# A pattern, as the API server takes any list for a string of format date-time.
_TIME = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?(Z|[-+][0-9]{2}:[0-9]{2})$"
Time = Annotated[str, StringConstraints(max_length=64, pattern=_TIME)]
"""A moment as RFC 3339: 2026-11-22T15:04:05Z."""
Column = Annotated[str, StringConstraints(max_length=253)]
Shown = Annotated[Column, AfterValidator(lambda text: text or "-")]
Uri = Annotated[str, StringConstraints(max_length=1024)]


class Summary(Model):
    """Ready-made text for the columns of `kubectl get`; a dash where there is nothing to show."""

    stage: Shown = "-"
    """Such as 2/2 finetune."""
    epoch: Shown = "-"
    """Such as 4/10."""
    progress: Column = "0%"
    """Such as 61%."""
    eta: Shown = "-"
    """Time left, such as 14m."""
    best: Shown = "-"
    """Such as val_acc=0.943; in full in bestMetric."""
    workers: Shown = "-"
    """Ready and wanted, such as 4/4."""
    gpus: Column = ""
    """Workers times GPUs, such as 2x1."""
    reason: Column = ""
    """Why it is not running, with what to do."""


class ProgressStatus(Model):
    """How far the run is."""

    percent: Annotated[int, Field(ge=0, le=100)] = 0
    """Of the steps of the whole schedule."""
    step: Count = 0
    """Steps done, over all stages."""
    steps: Count = 0
    """Steps of the whole schedule."""
    epoch: Count = 0
    """Epoch of the current stage, counted from 1."""
    epochs: Count = 0
    """Epochs of the current stage."""
    eta_seconds: Count | None = None
    """Seconds to the end, later stages included."""
    examples_per_second: Number | None = None
    """Images trained per second over all workers."""
    last_update_time: Time | None = None
    """When this was heard from worker 0."""


class MetricValue(Model):
    """A figure and where it was reached."""

    name: Word
    """Such as val_accuracy."""
    value: Number
    """Such as 0.9431."""
    stage: Name | None = None
    """Stage it was reached in."""
    epoch: Count | None = None
    """Epoch of the stage, counted from 1."""


class StageStatus(Model):
    """One stage of the resolved schedule."""

    name: Name
    """Name of the stage."""
    state: StageState = "Pending"
    """What became of it."""
    epochs: Count = 0
    """Epochs it was given."""
    trainable_params: Count | None = None
    """Weights trained in it, the head's included."""
    unfrozen_from: Word | None = None
    """Lowest backbone layer that is trained; absent for a head alone."""
    lr: Number | None = None
    """Peak learning rate; absent when the head is solved."""
    best: MetricValue | None = None
    """Its best figure."""
    seconds: Count | None = None
    """How long it took."""


class WorkersStatus(Model):
    """The gang."""

    desired: Count = 0
    """Workers wanted."""
    ready: Count = 0
    """Workers up."""
    restarts: Count = 0
    """Generations after the first."""


class CheckpointStatus(Model):
    """The newest whole checkpoint."""

    uri: Uri = ""
    """Where it lies."""
    step: Count = 0
    """Steps done when it was made."""
    time: Time | None = None
    """When it was made."""


class Accounting(Model):
    """What the run cost."""

    gpu_seconds: Count | None = None
    """GPUs times seconds held."""
    goodput: Number | None = None
    """Share of the held time that went into steps that counted."""
    active_seconds: Count | None = None
    """Seconds that the workers were let run, over all finished periods between suspensions."""
    active_since: Time | None = None
    """Begin of the period that is not finished."""


class Artifacts(Model):
    """What was published."""

    model_uri: Uri | None = None
    """Folder of the published version, such as s3://models/team-a/default/flowers/model/1."""
    version: Count | None = None
    """Number of the published version."""
    report_uri: Uri | None = None
    """The report page."""
    card_uri: Uri | None = None
    """The model card."""
    labels_uri: Uri | None = None
    """Class names in the order of the model's output."""
    sha256: Column | None = None
    """Digest of the manifest: identity of the model."""
    size_bytes: Annotated[int, Field(ge=0, le=9_007_199_254_740_991)] | None = None
    """Size of the published version."""


class LastFailure(Model):
    """The latest failure, healed or not."""

    reason: Word
    """For programs, such as OutOfMemory."""
    worker: Count | None = None
    """Number of the worker."""
    exit_code: Annotated[int, Field(ge=-255, le=255)] | None = None
    """Exit status of the worker."""
    message: Annotated[str, StringConstraints(max_length=4096)] = ""
    """What happened."""
    hint: Text = ""
    """What to change."""
    time: Time | None = None
    """When it happened."""


class Condition(Model):
    """One lasting fact about the job, for `kubectl wait`."""

    type: ConditionType
    """Which fact. Finished turns True on either end."""
    status: Literal["True", "False", "Unknown"] = "Unknown"
    """Whether it is so."""
    reason: Annotated[
        str, StringConstraints(min_length=1, max_length=128, pattern=r"^[A-Za-z][A-Za-z0-9]*$")
    ] = "Unknown"
    """Why, in one CamelCase word."""
    message: Annotated[str, StringConstraints(max_length=4096)] = ""
    """What happened and what to do."""
    last_transition_time: Time
    """When status last changed."""
    observed_generation: Count = 0
    """Generation of the spec this is about."""


class FineTuneJobStatus(Model):
    """What became of the job."""

    observed_generation: Count = 0
    """Generation of the spec that this status answers."""
    phase: JobPhase = "Pending"
    """Where the job is in its life; Complete and Failed are final."""
    summary: Summary = Summary()
    """Ready-made text for columns."""
    start_time: Time | None = None
    """When the first worker started."""
    completion_time: Time | None = None
    """When the job ended."""
    trainer_image: Column | None = None
    """Image the workers run, with digest."""
    job_uid: Column | None = None
    """The Indexed Job made for this; one that is gone is never made again in silence."""
    run_id: Column | None = None
    """Name of the run folder below .run in the output."""
    progress: ProgressStatus = ProgressStatus()
    """How far the run is."""
    stages: list[StageStatus] = Field(default=[], max_length=16, json_schema_extra=keyed_by("name"))
    """The resolved schedule, stage by stage."""
    metrics: list[MetricValue] = Field(default=[], max_length=32, json_schema_extra=keyed_by("name"))
    """Newest figures."""
    best_metric: MetricValue | None = None
    """Best figure of all stages."""
    workers: WorkersStatus = WorkersStatus()
    """How many workers are wanted and up, and how often they began anew."""
    checkpoint: CheckpointStatus | None = None
    """The newest whole checkpoint."""
    accounting: Accounting | None = None
    """What the run cost."""
    artifacts: Artifacts | None = None
    """What was published."""
    last_failure: LastFailure | None = None
    """The latest failure."""
    warnings: list[Text] = Field(default=[], max_length=16)
    """What stops nothing but should be known, such as a field without effect here."""
    conditions: list[Condition] = Field(default=[], max_length=16, json_schema_extra=keyed_by("type"))
    """Lasting facts, each about one generation of the spec."""

    rules = (
        Rule(
            "a job that ended stays as it is",
            None,
            "!(oldSelf.phase in ['Complete', 'Failed']) || self.phase == oldSelf.phase",
            "phase",
        ),
    )
