"""Waiting for what nobody announces."""

import time
from collections.abc import Callable
from typing import TypeVar

PATIENCE = 60.0
"""Seconds until a state that is waited for counts as missing, on a machine that does much else."""

T = TypeVar("T")


def eventually(
    look: Callable[[], T | None],
    within: float = PATIENCE,
    what: str | Callable[[], str] = "",
    every: float = 0.02,
) -> T:
    """The first true thing that `look` finds.

    It is looked for `within` seconds, `every` so many; `what` names it, or tells what is there instead.
    """
    deadline = time.monotonic() + within
    while not (found := look()):
        assert time.monotonic() < deadline, f"not within {within:g} s: {what() if callable(what) else what}"
        time.sleep(every)
    return found
