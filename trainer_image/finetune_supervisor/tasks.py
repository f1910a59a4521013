"""Background work whose mistakes are not lost."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

log = logging.getLogger(__name__)


class Tasks:
    """Runs coroutines; the first error of any goes to `failed`, with its traceback in the log."""

    def __init__(self, failed: Callable[[BaseException], None]) -> None:
        self._failed = failed
        # The event loop itself holds tasks weakly.
        self._running: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Runs `work` from the next turn of the loop on."""
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._done)

    def cancel(self) -> None:
        """Cancels what still runs."""
        for task in self._running:
            task.cancel()

    def _done(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.error("supervisor error", exc_info=error)
            self._failed(error)
