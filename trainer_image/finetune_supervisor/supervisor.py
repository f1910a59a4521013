"""The front of a supervisor: up and answering before anything else, and the last to go."""

import asyncio
import logging
import signal
from collections.abc import Callable, Sequence

from finetune_api import http_pages
from finetune_api.errors import FineTuneError, TryAgain
from finetune_api.http_pages import Page, page
from finetune_supervisor.board import Board
from finetune_supervisor.messages import Verdict, internal_error, verdict_of
from finetune_supervisor.report import ReportFile
from finetune_supervisor.settings import Settings
from finetune_supervisor.zygote_client import COMMAND

log = logging.getLogger(__name__)


class StopSignal:
    """SIGTERM and SIGINT, remembered until there is somebody to act on them."""

    def __init__(self) -> None:
        self._times = 0
        self._act: Callable[[], None] | None = None
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self._come)

    def heed(self, act: Callable[[], None]) -> None:
        """From now on, and for each signal that came before, calls `act`."""
        self._act = act
        for _ in range(self._times):
            act()

    def _come(self) -> None:
        self._times += 1
        if self._act:
            self._act()


async def supervise(settings: Settings, report_file: ReportFile, zygote: Sequence[str] = COMMAND) -> int:
    """Runs this worker to its verdict, which is the exit status; `zygote` is the command that starts one."""
    stop = StopSignal()
    board = Board(settings.index, report_file)
    try:
        async with await _served(settings, board):
            # Imported now that /healthz answers: the job's models and the storage clients take their time.
            from finetune_supervisor import member

            verdict = await member.serve(settings, zygote, board, stop.heed)
            board.over(verdict)
    except Exception as error:
        verdict = verdict_of(error) if isinstance(error, FineTuneError) else _unexpected(error)
        board.over(verdict)
    return verdict.code


def pages(board: Board) -> dict[str, Page]:
    """What the supervisor's HTTP server shows."""
    ok = page("text/plain", lambda: b"ok\n")
    return {
        "/metrics": page("text/plain; version=0.0.4", board.metrics),
        "/progress": page(
            "application/json", lambda: board.progress().model_dump_json(by_alias=True).encode()
        ),
        "/healthz": ok,
        "/ready": ok,
    }


async def _served(settings: Settings, board: Board) -> asyncio.Server:
    try:
        return await http_pages.serve(settings.http.host, settings.http.port, pages(board))
    except OSError as error:
        raise TryAgain(
            "PortTaken", f"cannot listen on {settings.http}: {error.strerror or error}", "a free port"
        ) from error


def _unexpected(error: Exception) -> Verdict:
    log.error("supervisor error", exc_info=error)
    return internal_error(error)
