"""What a training process tells its supervisor, and the other way round: JSON lines on two pipes.

Child to supervisor: one `Event` a line; the end of the file is the child's death. Supervisor to child:
one `Command` a line.
"""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from finetune_api.model import Model


class Role(StrEnum):
    """What a child of the zygote is for."""

    TRAIN = "Train"  # a member of the gang
    EXPORT = "Export"  # index 0 alone: trained weights -> SavedModel on local disk
    PUBLISH = "Publish"  # index 0 alone, in a fresh process: verify by loading, upload, commit


class Phase(StrEnum):
    """What a training process is doing; every phase ticks, and the watchdog has a limit for each."""

    START = "Start"  # joining the strategy, reading plan and checkpoint
    DATA = "Data"  # listing and inspecting images
    FEATURES = "Features"  # decoding and the one pass through the trunk
    BUILD = "Build"  # building and tracing a stage
    STEP = "Step"
    EVALUATE = "Evaluate"
    SAVE = "Save"
    BARRIER = "Barrier"  # waiting for peers
    EXPORT = "Export"
    VERIFY = "Verify"
    UPLOAD = "Upload"


class TrainRequest(Model):
    """One child to fork: everything it needs beyond job.json."""

    role: Role
    generation: int
    job_path: str
    index: int
    addresses: list[str]
    """TensorFlow servers, host:port, one per worker; a single one means no TF_CONFIG."""
    checkpoint: str | None = None
    """Id of the checkpoint to start from; None starts from the initial weights."""
    scratch: str
    credentials: str | None = None
    threads: int = 0
    """Processor threads for TensorFlow; 0 leaves the choice to it."""


class PhaseEvent(Model):
    """A new phase begins."""

    event: Literal["phase"] = "phase"
    phase: Phase
    stage: int = 0
    stage_name: str = ""


class TickEvent(Model):
    """Progress inside a phase; `done` of `total` units (images, steps, files), 0 when unknown."""

    event: Literal["tick"] = "tick"
    done: int = 0
    total: int = 0


class PlanEvent(Model):
    """The adopted plan: what is going to run, for progress and metrics."""

    event: Literal["plan"] = "plan"
    stages: list[str]
    epochs: list[int]
    steps_per_epoch: int
    global_batch_size: int
    trainable_parameters: list[int]
    unfrozen_from: list[str | None]
    """Lowest layer of the backbone that each stage trains; None for a head alone."""


class ChunkEvent(Model):
    """Some steps are done; all figures are over these steps and equal on every worker but `data_wait`."""

    event: Literal["chunk"] = "chunk"
    stage: int
    stage_name: str
    epoch: int
    """0-based."""
    step: int
    """Steps done in this epoch."""
    steps: int
    """Steps in this chunk."""
    global_step: int
    """Steps done since the run began, over all stages."""
    examples: int
    loss: float
    accuracy: float
    learning_rate: float
    seconds: float
    data_wait: float
    """Seconds this worker waited for its data."""


class EpochEvent(Model):
    """One row of metrics.csv; the solved head reports one row for each regularisation it tried."""

    event: Literal["epoch"] = "epoch"
    stage: int
    stage_name: str
    epoch: int
    """0-based."""
    global_step: int
    loss: float
    accuracy: float
    val_loss: float | None = None
    val_accuracy: float | None = None
    learning_rate: float
    seconds: float
    generation: int = 0
    best: bool = False
    """Whether this is the best of all stages so far."""


class StageEvent(Model):
    """A stage ended."""

    event: Literal["stage"] = "stage"
    stage: int
    stage_name: str
    reason: str
    """Completed | EarlyStopped | StopWhen."""


class CheckpointEvent(Model):
    """A checkpoint is whole: a later generation can start from it."""

    event: Literal["checkpoint"] = "checkpoint"
    id: str
    global_step: int
    bytes: int
    seconds: float


class CacheEvent(Model):
    """The feature cache is ready on this worker."""

    event: Literal["cache"] = "cache"
    hit: bool
    """Found from an earlier generation."""
    bytes: int
    seconds: float


class FirstStepEvent(Model):
    """The first optimiser step of this generation is done."""

    event: Literal["firstStep"] = "firstStep"
    seconds: float
    """Since the child was forked."""


class ResultEvent(Model):
    """The child is done and leaves with 0."""

    event: Literal["result"] = "result"
    result: Literal["Trained", "Left", "Exported", "Published"]
    model_uri: str | None = None
    version: int | None = None
    metrics: dict[str, float] = Field(default_factory=dict)
    best_stage: str | None = None
    best_epoch: int | None = None


class ErrorEvent(Model):
    """The child gives up; the last thing it says."""

    event: Literal["error"] = "error"
    code: int
    reason: str
    message: str


class WarningEvent(Model):
    """Something the user should know that stops nothing."""

    event: Literal["warning"] = "warning"
    reason: str
    message: str


Event = Annotated[
    PhaseEvent
    | TickEvent
    | PlanEvent
    | ChunkEvent
    | EpochEvent
    | StageEvent
    | CheckpointEvent
    | CacheEvent
    | FirstStepEvent
    | ResultEvent
    | ErrorEvent
    | WarningEvent,
    Field(discriminator="event"),
]
EVENT: TypeAdapter[Event] = TypeAdapter(Event)


class Command(Model):
    """Supervisor to training process. `leave`: this worker has to go; save, then everybody stops at the same step."""

    command: Literal["leave", "save", "stop"]


class ZygoteRequest(Model):
    """Supervisor to zygote; the event pipe's write end and the command pipe's read end ride along."""

    fork: TrainRequest


class ZygoteReply(Model):
    """Zygote to supervisor."""

    event: Literal["ready", "forked", "exited"]
    pid: int = 0
    status: int = 0
    """Wait status as os.waitstatus_to_exitcode gives it: >= 0 exit code, < 0 minus the signal."""
    maxrss_bytes: int = 0


class JobFile(Model):
    """job.json; immutable once a job has started."""

    contract_version: int
    namespace: str
    name: str
    run_id: str
    """The resource's uid; locally a digest of name and resolved spec."""
    job: dict[str, object]
    """The FineTuneJob as written, metadata.name included."""
    smoke_steps: int | None = None
    """Steps per stage of `finetune run --smoke`; None runs everything."""


class TrainerReport(Model):
    """The termination message: at most 4 KiB of JSON, rewritten at each change."""

    generation: int = 0
    phase: Phase | None = None
    stage: int = 0
    stage_name: str = ""
    step: int = 0
    """Global step."""
    exit_code: int | None = None
    """None while it runs, and after a kill."""
    reason: str | None = None
    """Why it ended; without an exit code, what it waits for before it can begin."""
    message: str | None = None
    result: ResultEvent | None = None
