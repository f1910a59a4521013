"""What both sides of the benchmark have to do, and how a measured run is written down."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Self

MODES = ("frozen", "top", "everything")
LAST_FROZEN = "block_12_add"
FIRST_TRAINED = "block_13_expand"
"""What follows LAST_FROZEN in MobileNetV2."""


@dataclass(frozen=True)
class Settings:
    """One stage of training; the same for both sides."""

    mode: str
    train: str
    validation: str
    weights: str
    """What the backbone starts from, *.weights.h5."""
    epochs: int = 10
    workers: int = 2
    image_size: int = 96
    global_batch_size: int = 64
    learning_rate: float = 1e-3
    seed: int = 42

    def dump(self) -> str:
        """As a child process reads it."""
        return json.dumps(asdict(self))

    @classmethod
    def load(cls, text: str) -> Self:
        """What `dump` wrote."""
        return cls(**json.loads(text))


@dataclass(frozen=True)
class Run:
    """One measured run of one side, in seconds; the clock starts when the libraries are imported."""

    side: str
    mode: str
    epoch_ends: list[float]
    """End of each epoch, its validation included; the last is the stage's wall time."""
    validation_seconds: float
    """Spent on validation, all epochs together."""
    process_seconds: float
    """From starting the processes to their end: imports, and whatever else the side does, included."""
    import_seconds: float
    """From starting the processes to the clock's start."""
    train_accuracy: float
    val_accuracy: float
    parts: dict[str, float] = field(default_factory=dict)
    """Where the stage's time went, by name, as far as the side tells."""

    @property
    def stage_seconds(self) -> float:
        """From the set-up of strategy and data to the end of the last epoch."""
        return self.epoch_ends[-1]


def pictures(root: Path) -> tuple[list[str], list[int], list[str]]:
    """Files, their labels and the class names of an image folder, sorted."""
    classes = sorted(entry.name for entry in root.iterdir() if entry.is_dir())
    files = sorted(root.glob("*/*.jpg"))
    return [str(file) for file in files], [classes.index(file.parent.name) for file in files], classes
