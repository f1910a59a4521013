"""`make bench-trainer`: both sides alternately, then the report in benchmarks/results/."""

import argparse
import json
import os
import platform
from importlib.metadata import version
from pathlib import Path

from benchmarks.trainer import floor, images, initial, ours, report, tutorial
from benchmarks.trainer.settings import MODES, Run, Settings

WORK = Path(".cache/bench").resolve()
RESULTS = Path(__file__).parent.parent / "results"
TRAIN, VALIDATION = 1200, 240


def main() -> None:
    arguments = _arguments()
    train = images.write_images(WORK / f"train-{TRAIN}", TRAIN, seed=1)
    validation = images.write_images(WORK / f"validation-{VALIDATION}", VALIDATION, seed=2)
    measured = []
    for mode in arguments.modes:
        weights = str(WORK / "initial.weights.h5")
        settings = Settings(mode, str(train), str(validation), weights, epochs=arguments.epochs)
        initial.write_weights(settings)
        runs = [run for number in range(arguments.runs) for run in _pair(settings, number)]
        measured.append(report.Measured(settings, runs, floor.measure(settings)))
    environment = _environment()
    RESULTS.mkdir(exist_ok=True)
    text = report.as_markdown(measured, environment)
    (RESULTS / "trainer.md").write_text(text)
    (RESULTS / "trainer.json").write_text(json.dumps(report.as_json(measured, environment), indent=1) + "\n")
    print(text)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3, help="runs of each side, alternating")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--modes", nargs="+", choices=MODES, default=list(MODES))
    return parser.parse_args()


def _pair(settings: Settings, number: int) -> list[Run]:
    """One run of each side, the tutorial first."""
    folder = WORK / "runs" / settings.mode
    pair = [tutorial.run(settings, folder / "tutorial"), ours.run(settings, folder / "ours")]
    for run in pair:
        print(
            f"{run.mode} {number + 1} {run.side}: {run.stage_seconds:.1f} s, val {run.val_accuracy:.3f}",
            flush=True,
        )
    return pair


def _environment() -> dict[str, str]:
    packages = {"TensorFlow": "tensorflow_cpu", "Keras": "keras", "tf_keras": "tf_keras"}
    return {
        "Python": platform.python_version(),
        **{name: version(package) for name, package in packages.items()},
        "finetune-operator": version("finetune-operator"),
        "cores": str(os.cpu_count()),
    }


if __name__ == "__main__":
    main()
