"""What a supervisor answers when it is asked how far the run is."""

from pydantic import Field

from finetune_api.events import EpochEvent, Phase, TrainerReport, WarningEvent
from finetune_api.model import Model


class ProcessFailure(Model):
    """The end of a training process that its supervisor outlived."""

    reason: str
    message: str
    worker: int = 0
    exit_code: int = 0
    time: float = 0.0
    """Unix time."""


class Progress(Model):
    """GET /progress: how far the run is."""

    generation: int = 0
    phase: Phase | None = None
    stage: int = 0
    """0-based."""
    num_stages: int = 0
    stage_name: str = ""
    epoch: int = 0
    """Epochs begun in this stage, 1-based for people; 0 before the first."""
    epochs: int = 0
    step: int = 0
    steps_per_epoch: int = 0
    global_step: int = 0
    percent: int = 0
    eta_seconds: int | None = None
    best_metric: str | None = None
    """As shown: val_accuracy=0.9431."""
    workers_ready: int = 0
    workers: int = 0
    restarts: int = 0
    tick: int = 0
    """done/total of the current phase, for phases that count something else than steps."""
    tick_total: int = 0
    trainable_parameters: list[int] = Field(default_factory=list)
    unfrozen_from: list[str | None] = Field(default_factory=list)
    """These two as in the plan, stage by stage; empty before there is one."""
    checkpoint: str | None = None
    checkpoint_age_seconds: float | None = None
    epochs_log: list[EpochEvent] = Field(default_factory=list)
    """Every finished epoch of this run that this supervisor has seen."""
    warnings: list[WarningEvent] = Field(default_factory=list)
    last_failure: ProcessFailure | None = None
    """The newest end of a training process that was counted; those who look at pods alone miss it."""
    report: TrainerReport = Field(default_factory=TrainerReport)
