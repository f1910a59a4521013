"""One background thread that copies the newest thing to the storage, and waits while the storage is away."""

import random
import threading
import time
from collections.abc import Callable

from finetune_api.errors import TryAgain

_LONGEST_PAUSE = 30.0


class Uploader:
    """Calls `upload(id, seconds)` for what is submitted, one at a time; `seconds()` is how long it took.

    At most one unprotected id waits: a newer one takes its place. A storage that is away (TryAgain, but for
    Fenced) is tried again for ever; any other error ends the copying and is raised to whoever asks next.
    """

    def __init__(self, upload: Callable[[str, Callable[[], float]], None]) -> None:
        self._upload = upload
        self._condition = threading.Condition()
        self._queue: list[str] = []
        self._protected: str | None = None
        self._failure: Exception | None = None
        self._delay: TryAgain | None = None
        self._thread: threading.Thread | None = None

    @property
    def waiting(self) -> list[str]:
        """What has been submitted and is not there yet, the one being copied included."""
        with self._condition:
            return list(self._queue)

    @property
    def problem(self) -> str | None:
        """Why it does not get on at the moment."""
        error = self._failure or self._delay
        return None if error is None else str(error)

    def submit(self, id: str) -> None:
        """Have `id` copied; returns at once."""
        with self._condition:
            # The first is being copied right now.
            self._queue[1:] = [other for other in self._queue[1:] if other == self._protected]
            self._queue.append(id)
            self._condition.notify_all()
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="checkpoint-uploader", daemon=True)
                self._thread.start()

    def protect(self, id: str) -> None:
        """`id` is not to lose its place to a newer one."""
        with self._condition:
            self._protected = id

    def raise_failure(self) -> None:
        """Raise the error that ended the copying, if one has."""
        if self._failure is not None:
            raise self._failure

    def wait(self, timeout: float, tick: Callable[[], None]) -> None:
        """Until nothing is left to copy. Raises the failure, or what delays it after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._failure or not self._queue, timeout=1.0)
                self.raise_failure()
                if not self._queue:
                    return
            if time.monotonic() > deadline:
                raise self._delay or TryAgain(
                    "StorageSlow", f"checkpoints are not stored after {timeout:.0f} s"
                )
            tick()

    def _run(self) -> None:
        pause = 1.0
        while self._failure is None:
            with self._condition:
                self._condition.wait_for(lambda: self._queue)
                id = self._queue[0]
            try:
                self._copy(id)
                pause = 1.0
            except Exception as error:  # a bug too must reach whoever waits, not die with this thread
                self._note(error)
                self._rest(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)

    def _copy(self, id: str) -> None:
        begin = time.monotonic()
        self._upload(id, lambda: time.monotonic() - begin)
        with self._condition:
            self._delay = None
            self._queue.remove(id)
            self._condition.notify_all()

    def _note(self, error: Exception) -> None:
        with self._condition:
            if isinstance(error, TryAgain) and error.reason != "Fenced":
                self._delay = error
                # A newer one makes this one pointless, unless it is the best.
                if len(self._queue) > 1 and self._queue[0] != self._protected:
                    del self._queue[0]
            else:
                self._failure = error
            self._condition.notify_all()

    def _rest(self, pause: float) -> None:
        with self._condition:
            self._condition.wait_for(lambda: self._failure, timeout=pause * random.uniform(0.5, 1.0))
