"""From measured runs to the figures that are reported, as JSON and as Markdown. Pure."""

from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from benchmarks.trainer.settings import Run, Settings

GOALS = {"frozen": {5: 3.5, 10: 6.0}, "top": {10: 6.0}, "everything": {10: 1.1}}
"""Ratio to reach, by mode and number of epochs."""
TITLES = {
    "frozen": "Frozen backbone, head trained",
    "top": "Trained above block_12_add",
    "everything": "Everything trained",
}
HEAD = """\
# Trainer against TensorFlow's multi-worker tutorial

Made by `make bench-trainer`; the runs themselves are in the JSON file beside this one.

{facts}.

Both sides: the same JPEGs and held-out split, the same initial weights of MobileNetV2 at {image_size}, global
batch {global_batch_size}, {workers} worker processes, Adam at a constant {learning_rate:g}, no augmentation,
validation after every epoch. Runs alternate and figures are medians. Wall time runs from the set-up of
strategy and data to the end of the last epoch; imports are left out on both sides. The floor is each picture
decoded once, one forward pass and the trained part's own steps, on all cores with nothing else to do. Read
the ratios: seconds are this machine's.

"""
ASPECTS = (
    ("stage wall time", "stage_seconds"),
    ("of that, validation", "validation_seconds"),
    ("imports before it", "import_seconds"),
    ("whole command", "process_seconds"),
)


@dataclass(frozen=True)
class Measured:
    """All runs of one mode, and its floor in seconds by part."""

    settings: Settings
    runs: list[Run]
    floor: dict[str, float]

    def of(self, side: str) -> list[Run]:
        """The runs of one side, in order."""
        return [run for run in self.runs if run.side == side]

    def seconds(self, side: str, epochs: int) -> float:
        """Median wall time from the set-up to the end of the first `epochs` epochs."""
        return median(run.epoch_ends[epochs - 1] for run in self.of(side))

    def ratio(self, epochs: int) -> float:
        """How many times faster ours is."""
        return self.seconds("tutorial", epochs) / self.seconds("ours", epochs)

    @property
    def steady_ratio(self) -> float:
        """The same for one epoch after the first."""
        tutorial, ours = (median(run.parts["one steady epoch"] for run in self.of(side)) for side in SIDES)
        return tutorial / ours

    @property
    def over_floor(self) -> float:
        """Ours as a multiple of the floor."""
        return self.seconds("ours", self.settings.epochs) / sum(self.floor.values())


SIDES = ("tutorial", "ours")


def as_json(measured: list[Measured], environment: dict[str, Any]) -> dict[str, Any]:
    """Everything that was measured, and the ratios."""
    return {"environment": environment, "modes": [_mode_as_json(one) for one in measured]}


def _mode_as_json(one: Measured) -> dict[str, Any]:
    settings = {k: v for k, v in asdict(one.settings).items() if k not in ("train", "validation", "weights")}
    return {
        "settings": settings,
        "ratios": {str(epochs): round(one.ratio(epochs), 2) for epochs in _reported(one)},
        "steady_ratio": round(one.steady_ratio, 2),
        "over_floor": round(one.over_floor, 2),
        "floor": one.floor,
        "runs": [asdict(run) for run in one.runs],
    }


def as_markdown(measured: list[Measured], environment: dict[str, Any]) -> str:
    """The report that people read."""
    settings = measured[0].settings
    facts = ", ".join(f"{name} {value}" for name, value in environment.items())
    head = HEAD.format(facts=facts, **asdict(settings)).splitlines()
    return "\n".join([*head, *_summary(measured), *(line for one in measured for line in _section(one))])


def _summary(measured: list[Measured]) -> list[str]:
    rows = [_row(one, epochs) for one in measured for epochs in _reported(one)]
    return [
        "| stage | epochs | tutorial, s | ours, s | ratio | goal | steady epoch, ratio | ours / floor |",
        "|---|---|---|---|---|---|---|---|",
        *rows,
        "",
    ]


def _row(one: Measured, epochs: int) -> str:
    goal = GOALS[one.settings.mode].get(epochs)
    whole = epochs == one.settings.epochs
    cells = [
        TITLES[one.settings.mode],
        str(epochs),
        *(f"{one.seconds(side, epochs):.1f}" for side in SIDES),
        f"**{one.ratio(epochs):.1f}**",
        f"{goal:g}" if goal else "",
        f"{one.steady_ratio:.1f}" if whole else "",
        f"{one.over_floor:.2f}" if whole else "",
    ]
    return "| " + " | ".join(cells) + " |"


def _reported(one: Measured) -> list[int]:
    """After how many epochs ratios are given: those with a goal, and the last."""
    wanted = {*GOALS[one.settings.mode], one.settings.epochs}
    return sorted(epochs for epochs in wanted if epochs <= one.settings.epochs)


def _section(one: Measured) -> list[str]:
    floor = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in one.floor.items())
    return [
        f"## {TITLES[one.settings.mode]}",
        "",
        "| median of each side | tutorial | ours |",
        "|---|---|---|",
        *(f"| {title}, s | {_medians(one, name)} |" for title, name in ASPECTS),
        f"| validation accuracy, last epoch | {_medians(one, 'val_accuracy', 3)} |",
        f"| training accuracy, last epoch | {_medians(one, 'train_accuracy', 3)} |",
        "",
        f"Floor: {floor}; {sum(one.floor.values()):.1f} s together.",
        "",
        *(line for side in SIDES for line in _parts(one, side)),
    ]


def _medians(one: Measured, name: str, digits: int = 1) -> str:
    return " | ".join(f"{median(getattr(run, name) for run in one.of(side)):.{digits}f}" for side in SIDES)


def _parts(one: Measured, side: str) -> list[str]:
    runs = one.of(side)
    names = dict.fromkeys(name for run in runs for name in run.parts)
    parts = (f"{name} {median(run.parts.get(name, 0.0) for run in runs):.2f} s" for name in names)
    all_runs = ", ".join(f"{run.stage_seconds:.1f}" for run in runs)
    return [f"Where the time of {side} went (runs: {all_runs} s): {', '.join(parts)}.", ""]
