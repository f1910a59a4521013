"""The session of a worker other than 0 with supervisor 0: joined again and again until patience ends."""

import asyncio
import logging
import time
from collections.abc import Callable

from finetune_api.contract import ExitCode
from finetune_supervisor.connection import Connection, pinging
from finetune_supervisor.messages import ORDER, Beat, Hello, Refused, Report, Verdict, Welcome
from finetune_supervisor.settings import Address
from finetune_supervisor.worker import Worker

SHORTEST_PAUSE = 0.2
LONGEST_PAUSE = 1.0
SECONDS_TO_CONNECT = 5.0
log = logging.getLogger(__name__)


class Uplink:
    """Passes orders down to the worker and its reports up."""

    def __init__(self, address: Address, hello: Hello, on_beat: Callable[[Beat], None]) -> None:
        self._address = address
        self._hello = hello
        self._on_beat = on_beat
        self._connection: Connection | None = None

    @property
    def is_up(self) -> bool:
        """Whether there is a session."""
        return self._connection is not None

    def tell(self, report: Report) -> None:
        """Sends a report; without a session it is dropped, for supervisor 0 has given up the generation."""
        if self._connection:
            self._connection.send(report)

    async def run(self, worker: Worker, patience: float) -> None:
        """Holds a session for `worker` until it has a verdict; after `patience` seconds alone it gets one."""
        alone_since, pause = time.monotonic(), SHORTEST_PAUSE
        while not worker.verdict.done():
            if await self._session(worker):
                alone_since, pause = time.monotonic(), SHORTEST_PAUSE
            if time.monotonic() - alone_since > patience:
                worker.leave_with(_deserted(self._address, patience))
            await asyncio.sleep(pause)
            pause = min(LONGEST_PAUSE, pause * 1.5)

    async def close(self) -> None:
        """Sends what is queued and ends the session."""
        if self._connection:
            await self._connection.finish()

    async def _session(self, worker: Worker) -> bool:
        """One session, from connecting to its loss. Whether supervisor 0 took the worker in."""
        try:
            opening = asyncio.open_connection(self._address.host, self._address.port)
            reader, writer = await asyncio.wait_for(opening, SECONDS_TO_CONNECT)
        except (OSError, TimeoutError):
            return False
        connection = Connection(reader, writer)
        connection.send(self._hello)
        welcomed = False
        async with pinging(connection, worker.pulse):
            async for line in connection.lines():
                order = ORDER.validate_json(line)
                match order:
                    case Welcome():
                        welcomed, self._connection = True, connection
                        worker.announce()
                    case Refused():
                        worker.leave_with(_refused(order))
                    case Beat():
                        self._on_beat(order)
                    case _:
                        worker.obey(order)
        self._connection = None
        worker.stop_training()
        return welcomed


def _refused(order: Refused) -> Verdict:
    return Verdict(code=ExitCode.BAD_CONFIGURATION, reason=order.reason, message=order.message)


def _deserted(address: Address, patience: float) -> Verdict:
    message = f"Supervisor 0 at {address} has been away for {patience:.0f} seconds."
    return Verdict(code=ExitCode.TRY_AGAIN, reason="PeersMissing", message=message)
