"""Everything a later generation needs to go on as if nothing had happened; also the checkpoint's content."""

from dataclasses import asdict, dataclass, field
from typing import Any

from numpy.typing import NDArray

from finetune_api.events import EpochEvent

Arrays = dict[str, NDArray[Any]]

_SECTIONS = ("weights", "optimizer", "best_weights", "predictions")


@dataclass
class Best:
    """The best epoch so far, over all stages."""

    stage: int
    stage_name: str
    epoch: int
    metrics: dict[str, float]


@dataclass
class RunState:
    """Where the run is. `weights` hold only what training changed, by path; the rest is the initial weights."""

    stage: int = 0
    epoch: int = 0
    step: int = 0
    """Steps done in this epoch."""
    global_step: int = 0
    sums: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])
    """Over this epoch's steps: loss x weight, correct x weight, weight."""
    rate_scale: float = 1.0
    """0.1 for each time the run was non-finite."""
    waited: int = 0
    """Epochs of this stage without an improvement, for early stopping."""
    stage_best: float | None = None
    best: Best | None = None
    history: list[dict[str, Any]] = field(default_factory=list)
    weights: Arrays = field(default_factory=dict)
    optimizer: Arrays = field(default_factory=dict)
    best_weights: Arrays = field(default_factory=dict)
    predictions: Arrays = field(default_factory=dict)
    """`best` and `last`: probabilities of the validation split [n, classes] in the order of its examples."""

    def begin_stage(self) -> None:
        """Reset what belongs to one stage; called between stages."""
        self.epoch = self.step = self.waited = 0
        self.stage_best = None
        self.sums = [0.0, 0.0, 0.0]
        self.optimizer = {}

    def record(self, row: EpochEvent) -> None:
        """Append one row of the history."""
        self.history.append(row.model_dump(exclude={"event"}))

    def to_checkpoint(self) -> tuple[Arrays, dict[str, Any]]:
        """Arrays under `section/path`, and the rest as JSON."""
        arrays = {
            f"{section}/{path}": array
            for section in _SECTIONS
            for path, array in getattr(self, section).items()
        }
        scalars = {key: value for key, value in self.__dict__.items() if key not in _SECTIONS}
        return arrays, scalars | {"best": asdict(self.best) if self.best else None}

    @classmethod
    def from_checkpoint(cls, arrays: Arrays, scalars: dict[str, Any]) -> "RunState":
        """The inverse of `to_checkpoint`."""
        state = cls(**{key: value for key, value in scalars.items() if key != "best"})
        state.best = Best(**scalars["best"]) if scalars["best"] else None
        for name, array in arrays.items():
            section, path = name.split("/", 1)
            getattr(state, section)[path] = array
        return state
