"""Gangs that are gone when their test is."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gangs import Gang


@pytest.fixture
def gang(tmp_path: Path) -> Iterator[Callable[..., Gang]]:
    """Makes a gang in a folder of its own; nothing is started yet."""
    made: list[Gang] = []

    def make(workers: int = 1, folder: Path = tmp_path, **options: Any) -> Gang:
        folder.mkdir(exist_ok=True)
        made.append(Gang(folder, workers, **options))
        return made[-1]

    yield make
    for each in made:
        each.stop()
