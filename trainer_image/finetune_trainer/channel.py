"""The training process's end of its two pipes: events out, commands in.

Everything the supervisor knows of a training process it learns here, and the two die together: when the
supervisor is gone the training process ends at once, for nobody would fence, watch or report it.
"""

import os
import threading
import time
from typing import BinaryIO, NoReturn

from finetune_api.contract import ExitCode
from finetune_api.events import Command, Event, Phase, PhaseEvent, TickEvent

SECONDS_BETWEEN_TICKS = 0.2


class Channel:
    """Events to the supervisor and its commands. Any thread may emit.

    `started` is the monotonic time at which the channel was opened, right after the fork.
    """

    def __init__(self, events_fd: int, commands_fd: int) -> None:
        self.started = time.monotonic()
        self._events = events_fd
        self._write_lock = threading.Lock()
        self._last_tick = 0.0
        self._leave = threading.Event()
        self._save = threading.Event()
        self._stop = threading.Event()
        commands = os.fdopen(commands_fd, "rb", buffering=0)
        threading.Thread(target=self._listen, args=(commands,), name="commands", daemon=True).start()

    @property
    def leave_requested(self) -> bool:
        """This worker has to go: save, then everybody stops at the same step. Stays set."""
        return self._leave.is_set()

    @property
    def stop_requested(self) -> bool:
        """Stop without saving. Stays set."""
        return self._stop.is_set()

    @property
    def save_requested(self) -> bool:
        """A checkpoint is wanted now, training goes on. Set until `clear_save()`."""
        return self._save.is_set()

    def clear_save(self) -> None:
        """The wanted checkpoint has been agreed on; forget the request."""
        self._save.clear()

    def emit(self, event: Event) -> None:
        """Tells the supervisor; returns when the line is in the pipe."""
        line = event.model_dump_json(by_alias=True, exclude_none=True).encode() + b"\n"
        with self._write_lock:
            self._write(line)

    def phase(self, phase: Phase, stage: int = 0, name: str = "") -> None:
        """A new phase begins: the watchdog's limit is now that of `phase`."""
        self._last_tick = 0.0
        self.emit(PhaseEvent(phase=phase, stage=stage, stage_name=name))

    def tick(self, done: int = 0, total: int = 0) -> None:
        """Progress inside the phase, `done` of `total` units. Call it as often as you like: few are sent."""
        now = time.monotonic()
        if now - self._last_tick >= SECONDS_BETWEEN_TICKS or done == total > 0:
            self._last_tick = now
            self.emit(TickEvent(done=done, total=total))

    def wait_for_end(self) -> NoReturn:
        """Nothing is left to do; the supervisor ends this process when the chief needs it no longer."""
        self.phase(Phase.BARRIER)
        while True:
            time.sleep(SECONDS_BETWEEN_TICKS)
            self.tick()

    def _write(self, line: bytes) -> None:
        rest = memoryview(line)
        try:
            while rest:
                rest = rest[os.write(self._events, rest) :]
        except BrokenPipeError:
            os._exit(ExitCode.TRY_AGAIN)

    def _listen(self, commands: BinaryIO) -> None:
        flags = {"leave": self._leave, "save": self._save, "stop": self._stop}
        for line in commands:
            flags[Command.model_validate_json(line).command].set()
        # End of file: the supervisor is gone, or wants this process gone.
        os._exit(ExitCode.TRY_AGAIN)
