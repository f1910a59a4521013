"""The time of day as the API server has it: every timestamp that it is compared with was made there.

And seconds that go on while this machine sleeps.
"""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from time import CLOCK_BOOTTIME, clock_gettime, monotonic, time

TOLERANCE = 3.0
"""Seconds that a Date header may be off: it has whole seconds, and took a while to arrive."""
ASK_EVERY = 10.0


def boot_time() -> float:
    """Monotonic seconds that count the time in which the machine was suspended, too."""
    return clock_gettime(CLOCK_BOOTTIME)


class ServerClock:
    """Goes by the monotonic clock, so that a jump of this machine's time of day changes nothing."""

    def __init__(self) -> None:
        self._offset = time() - monotonic()
        self._asked = -ASK_EVERY

    def now(self) -> datetime:
        """The time of day, in UTC."""
        return datetime.fromtimestamp(self._offset + monotonic(), UTC)

    def heard(self, date: str | None) -> None:
        """Takes in the Date header of an answer that has just come."""
        if not date or monotonic() - self._asked < ASK_EVERY:
            return
        self._asked = monotonic()
        try:
            told = parsedate_to_datetime(date).timestamp() + 0.5
        except ValueError:
            return
        if abs(told - self._offset - monotonic()) > TOLERANCE:
            self._offset = told - monotonic()
