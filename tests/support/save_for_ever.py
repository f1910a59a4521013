"""Saves checkpoint after checkpoint until it is killed; says so when the first one is safe."""

import sys
from itertools import count
from pathlib import Path

import numpy as np

from finetune_store.checkpoint import CheckpointStore
from finetune_store.checkpoint_index import checkpoint_id
from finetune_store.run_folder import RunFolder
from finetune_store.storage import open_store


def main(folder: Path) -> None:
    run = RunFolder(open_store(str(folder / "store")), "team", "flowers", "run1")
    store = CheckpointStore(run, folder / "local", keep=2)
    for step in count(1):
        # Every element is the step: a mixture of two checkpoints would show.
        arrays = {"x": np.full(50_000, step, dtype=np.int64), "y": np.full(10_000, step, dtype=np.int64)}
        store.save(checkpoint_id(step, 0, 0, 1), arrays, {"step": step}, 1)
        if step == 2:
            store.wait()
            print("saving", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
