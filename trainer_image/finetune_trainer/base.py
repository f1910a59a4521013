"""The backbone a run starts from: built when the trunk has to run, read from disk when only some weights are needed."""

import hashlib
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from finetune_api.plan import ResolvedJob
from finetune_trainer import backbone, weights
from finetune_trainer.state import Arrays


class Base:
    """Initial weights of one run. `scratch` keeps them for later generations on this machine."""

    def __init__(self, job: ResolvedJob, open_store: Callable[[str], Any], scratch: Path) -> None:
        self._job = job
        self._open_store = open_store
        self._scratch = scratch

    @property
    def identity(self) -> str:
        """Names the initial weights without loading them."""
        job = self._job
        what = (
            job.backbone,
            job.alpha,
            job.weights,
            job.weights_sha256,
            job.seed if job.weights == "none" else 0,
        )
        return hashlib.sha256(repr(what).encode()).hexdigest()

    @cached_property
    def model(self) -> Any:
        """The whole backbone with its initial weights, outside any strategy."""
        job = self._job
        model = backbone.build(job.backbone, job.image_size, job.alpha, job.seed)
        weights.load_initial(model, job, self._open_store, self._scratch / "weights")
        self._keep(weights.to_arrays(model))
        return model

    def arrays(self, names: list[str]) -> Arrays:
        """Initial weights by path, for those of `names` that the backbone has."""
        if not self._file.exists():
            return {name: array for name, array in weights.to_arrays(self.model).items() if name in names}
        with np.load(self._file) as kept:
            return {name: kept[name] for name in names if name in kept.files}

    @property
    def _file(self) -> Path:
        return self._scratch / f"initial-{self.identity[:16]}.npz"

    def _keep(self, arrays: Arrays) -> None:
        self._scratch.mkdir(parents=True, exist_ok=True)
        unfinished = self._file.with_suffix(".unfinished.npz")
        with unfinished.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)
        unfinished.replace(self._file)
