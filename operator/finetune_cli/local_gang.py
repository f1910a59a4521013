"""Keeps N supervisors running, as the Job controller does on a cluster. What to do is `restart_policy`'s."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field

from finetune_cli import restart_policy
from finetune_cli.restart_policy import Fail, Leave, Replace, Succeed

Launch = Callable[[int], "subprocess.Popen[bytes]"]


@dataclass(frozen=True)
class Outcome:
    """The job is over."""

    code: int
    reason: str = ""
    worker: int = 0
    """Whose report tells why."""
    worker_code: int = 0
    """What that worker left with."""
    message: str = ""
    """Why, where no worker can tell."""


@dataclass(frozen=True)
class Loss:
    """A worker has ended and is going to be started again."""

    worker: int
    code: int
    delay: float
    """Seconds until then."""


@dataclass
class _Member:
    index: int
    process: "subprocess.Popen[bytes] | None" = None
    code: int | None = None
    losses: int = 0
    counted: int = 0
    start_at: float | None = field(default=0.0)
    """When to start the process; None: not again."""


class LocalGang:
    """N processes that are started, watched, replaced and stopped together."""

    def __init__(self, launch: Launch, workers: int, limit: int) -> None:
        """`launch(index)` starts a worker; `limit` losses of one worker count before the job fails."""
        self._launch = launch
        self._limit = limit
        self._members = [_Member(index) for index in range(workers)]
        self._outcome: Outcome | None = None
        self.replaced = 0
        """Workers that were started again."""

    def step(self, now: float) -> list[Loss]:
        """Start what is due, react to what has ended; what was lost. `now` is monotonic seconds."""
        lost = []
        for member in self._members:
            if self._outcome is not None:
                break
            if member.start_at is not None and now >= member.start_at:
                member.start_at = None
                member.process = self._launch(member.index)
            lost += self._observe(member, now)
        return lost

    @property
    def outcome(self) -> Outcome | None:
        """How the job ended; None while it runs."""
        return self._outcome

    def got_on(self) -> None:
        """There is newer progress in the run folder: losses so far are forgiven."""
        for member in self._members:
            member.losses = member.counted = 0

    def _observe(self, member: _Member, now: float) -> list[Loss]:
        code = _reap(member)
        if code is None:
            return []
        reaction = restart_policy.react(member.index, code, member.losses, member.counted, self._limit)
        match reaction:
            case Succeed():
                self._outcome = Outcome(code=0)
            case Leave():
                pass
            case Fail(code=verdict, reason=reason):
                self._outcome = Outcome(verdict, reason, member.index, code)
            case Replace(delay=delay, counted=counted):
                member.losses += 1
                member.counted += int(counted)
                member.start_at = now + delay
                self.replaced += 1
                return [Loss(member.index, code, delay)]
        return []

    def terminate(self) -> None:
        """Ask every process to save and leave; none is started again."""
        for member in self._members:
            member.start_at = None
            if member.process is not None:
                with contextlib.suppress(ProcessLookupError):
                    member.process.terminate()

    def reap(self) -> bool:
        """Take the exit codes of processes that have ended; whether all have."""
        for member in self._members:
            _reap(member)
        return all(member.process is None for member in self._members)

    def kill(self) -> None:
        """End what is left, children included, and wait for it."""
        for member in self._members:
            if member.process is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(member.process.pid, signal.SIGKILL)
                member.process.wait()
                _reap(member)

    def codes(self) -> list[int | None]:
        """Each worker's newest exit code; None where it has not ended yet."""
        return [member.code for member in self._members]


def _reap(member: _Member) -> int | None:
    """The exit code of a process that ended just now."""
    if member.process is None or member.process.poll() is None:
        return None
    member.code = restart_policy.exit_code(member.process.returncode)
    member.process = None
    return member.code
