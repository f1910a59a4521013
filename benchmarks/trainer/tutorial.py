"""Side A: starts the workers of the tutorial's recipe and reads what worker 0 measured."""

import json
import os
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from socket import socket

from benchmarks.trainer.settings import Run, Settings
from finetune_api.contract import tf_config

LIMIT_SECONDS = 1800


def free_addresses(count: int) -> list[str]:
    """As many loopback addresses with ports that are free now."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [f"127.0.0.1:{one.getsockname()[1]}" for one in sockets]


def run(settings: Settings, folder: Path) -> Run:
    """Train one stage with the tutorial's recipe.

    Raises:
        RuntimeError: a worker failed; its output is in `folder`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    addresses = free_addresses(settings.workers)
    started = time.time()
    workers = [_start(settings, folder, addresses, index) for index in range(settings.workers)]
    try:
        codes = [worker.wait(LIMIT_SECONDS) for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
    ended = time.time()
    if any(codes):
        raise RuntimeError(f"the tutorial's workers ended with {codes}; see {folder}")
    return _measured(json.loads((folder / "result-0.json").read_text()), settings, started, ended)


def _start(settings: Settings, folder: Path, addresses: list[str], index: int) -> subprocess.Popen[bytes]:
    environment = os.environ | {
        "TF_CONFIG": tf_config(addresses, index),
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "BENCH_RESULT": str(folder / f"result-{index}.json"),
    }
    with (folder / f"worker-{index}.log").open("wb") as log:
        command = [sys.executable, "-m", "benchmarks.trainer.tutorial_worker", settings.dump()]
        return subprocess.Popen(command, env=environment, stdout=log, stderr=log)


def _measured(
    result: dict[str, float | list[float]], settings: Settings, started: float, ended: float
) -> Run:
    ends = result["epoch_ends"]
    assert isinstance(ends, list)
    figures = {name: value for name, value in result.items() if isinstance(value, float)}
    steady = (ends[-1] - ends[0]) / max(1, len(ends) - 1)
    return Run(
        side="tutorial",
        mode=settings.mode,
        epoch_ends=ends,
        validation_seconds=figures["validation_seconds"],
        process_seconds=ended - started,
        import_seconds=figures["imported"] - started,
        train_accuracy=figures["train_accuracy"],
        val_accuracy=figures["val_accuracy"],
        parts={
            "strategy, data and model set up": figures["set_up_seconds"],
            "first epoch": ends[0] - figures["set_up_seconds"],
            "other epochs": ends[-1] - ends[0],
            "one steady epoch": steady,
        },
    )
