"""SIGKILL at any moment of a save leaves whole checkpoints, locally and in the run folder."""

import os
import random
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np

from built_tools import ROOT
from finetune_store.checkpoint import CheckpointStore
from finetune_store.run_folder import RunFolder
from finetune_store.storage import open_store

KILLS = 16


def test_whatever_is_killed_in_the_middle_the_newest_checkpoint_is_whole(tmp_path: Path) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    moments = [random.Random(seed + i).uniform(0.0, 0.3) for i in range(KILLS)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(partial(kill_and_look, tmp_path), range(KILLS), moments))


def kill_and_look(tmp_path: Path, number: int, moment: float) -> None:
    folder = tmp_path / str(number)
    kill_while_saving(folder, moment)
    run = RunFolder(open_store(str(folder / "store")), "team", "flowers", "run1")
    for local in ("local", "another machine"):
        store = CheckpointStore(run, folder / local, keep=2)
        newest = store.newest()
        assert newest is not None
        arrays, state = store.load(newest.id)
        assert state["step"] >= 2
        for array in arrays.values():
            np.testing.assert_array_equal(array, state["step"])


def kill_while_saving(folder: Path, moment: float) -> None:
    """Have a process save checkpoints, and kill it `moment` seconds after the second one is safe."""
    paths = [str(ROOT / name) for name in ("operator", "trainer_image")]
    with subprocess.Popen(
        [sys.executable, ROOT / "tests/support/save_for_ever.py", folder],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"saving\n"
        timer = threading.Timer(moment, process.kill)
        timer.start()
        process.wait(timeout=60)
        timer.join()
