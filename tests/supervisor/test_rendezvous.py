"""Sessions between supervisors, over real sockets."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from finetune_api.events import Role
from finetune_supervisor import connection
from finetune_supervisor.messages import (
    ORDER,
    Beat,
    Ended,
    Ending,
    Finish,
    Hello,
    Order,
    Outcome,
    Pulse,
    Ready,
    Refused,
    Report,
    Start,
    Verdict,
    Welcome,
)
from finetune_supervisor.rendezvous import Admission, Rendezvous
from finetune_supervisor.settings import Address

TOKEN, DIGEST = "a secret", "d1ge57"


class Log:
    """A host that remembers."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.reports: list[Report] = []

    def joined(self, worker: int) -> None:
        self.said.append(f"joined {worker}")

    def gone(self, worker: int) -> None:
        self.said.append(f"gone {worker}")

    def reported(self, worker: int, report: Report) -> None:
        if not isinstance(report, Pulse):
            self.said.append(f"{report.say} {worker}")
            self.reports.append(report)

    def beat(self) -> Beat:
        return Beat(workers_ready=2)


class Peer:
    """A worker's end of a connection, line by line."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def say(self, line: bytes) -> None:
        self.writer.write(line + b"\n")

    def tell(self, report: Report) -> None:
        self.say(report.model_dump_json(by_alias=True).encode())

    async def hear(self) -> Order | None:
        """The next order that is not a beat; None when the connection is closed."""
        while line := await asyncio.wait_for(self.reader.readline(), 30):
            order = ORDER.validate_json(line)
            if not isinstance(order, Beat):
                return order
        return None


def hello(index: int = 1, token: str = TOKEN, digest: str = DIGEST) -> Hello:
    return Hello(token=token, index=index, job_digest=digest)


class Meeting:
    """A rendezvous for three workers that listens."""

    def __init__(self) -> None:
        self.log = Log()
        self.rendezvous = Rendezvous(Admission(TOKEN, DIGEST, workers=3), self.log)
        self.port = 0
        self.peers: list[Peer] = []

    async def peer(self) -> Peer:
        """Somebody who connects and says nothing yet."""
        peer = Peer(*await asyncio.open_connection("127.0.0.1", self.port))
        self.peers.append(peer)
        return peer

    async def worker(self, index: int = 1) -> Peer:
        """A worker that has been taken in."""
        peer = await self.peer()
        peer.tell(hello(index))
        assert await peer.hear() == Welcome()
        return peer

    async def until(self, sentence: str) -> None:
        """Waits until the host was told `sentence`."""
        async with asyncio.timeout(30):
            while sentence not in self.log.said:
                await asyncio.sleep(0.005)


@asynccontextmanager
async def meeting() -> AsyncIterator[Meeting]:
    meeting = Meeting()
    await meeting.rendezvous.listen(Address("127.0.0.1", 0))
    (meeting.port,) = meeting.rendezvous.ports
    yield meeting
    for peer in meeting.peers:
        peer.writer.close()
    await meeting.rendezvous.close(None, 0)


def told(story: Callable[[Meeting], Awaitable[None]]) -> Log:
    """The host's log of a story."""

    async def tell() -> Log:
        async with meeting() as here:
            await story(here)
            return here.log

    return asyncio.run(tell())


@pytest.mark.parametrize(
    ("first", "reason"),
    [
        pytest.param(hello(token="a guess"), "WrongToken", id="another token"),
        pytest.param(hello(token=""), "WrongToken", id="no token"),
        pytest.param(hello(token="ünïcode"), "WrongToken", id="a token of other letters"),
        pytest.param(hello(digest="other"), "JobMismatch", id="another job"),
        pytest.param(hello(index=0), "BadIndex", id="a second worker 0"),
        pytest.param(hello(index=3), "BadIndex", id="a worker beyond the gang"),
    ],
)
def test_who_is_turned_away(first: Hello, reason: str) -> None:
    async def story(here: Meeting) -> None:
        peer = await here.peer()
        peer.tell(first)
        peer.tell(Ready())
        refused = await peer.hear()
        assert isinstance(refused, Refused)
        assert refused.reason == reason
        assert await peer.hear() is None

    assert told(story).said == []


def test_a_wrong_token_is_not_told_whether_the_job_is_right() -> None:
    refusal = Admission(TOKEN, DIGEST, 3).refusal(hello(token="a guess", digest="other", index=99))
    assert refusal is not None
    assert refusal.reason == "WrongToken"


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b"GET / HTTP/1.1", id="another protocol"),
        pytest.param(b'{"say": "ready"}', id="a report before the hello"),
        pytest.param(b"x" * 100_000, id="a line without end"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_who_does_not_say_hello_is_not_answered(line: bytes) -> None:
    async def story(here: Meeting) -> None:
        peer = await here.peer()
        peer.say(line)
        # Closed with bytes unread, the kernel may reset the connection.
        with contextlib.suppress(ConnectionError):
            assert await peer.hear() is None

    assert told(story).said == []


def test_orders_go_down_and_reports_come_up() -> None:
    start = Start(generation=3, role=Role.TRAIN, checkpoint="a-checkpoint", restarts=2)
    ended = Ended(generation=3, outcome=Outcome(ending=Ending.FAILED, code=137, reason="Killed", message="ö"))

    async def story(here: Meeting) -> None:
        worker = await here.worker()
        here.rendezvous.send(1, start)
        assert await worker.hear() == start
        worker.tell(ended)
        await here.until("ended 1")

    assert told(story).reports == [ended]


def test_a_closed_connection_is_noticed_at_once() -> None:
    async def story(here: Meeting) -> None:
        worker = await here.worker()
        worker.writer.close()
        await here.until("gone 1")

    assert told(story).said == ["joined 1", "gone 1"]


def test_silence_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that vanished closes nothing."""
    monkeypatch.setattr(connection, "SECONDS_BETWEEN_PINGS", 0.05)

    async def story(here: Meeting) -> None:
        await here.worker()
        await here.until("gone 1")

    assert told(story).said == ["joined 1", "gone 1"]


def test_pings_keep_a_session(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "SECONDS_BETWEEN_PINGS", 0.05)

    async def story(here: Meeting) -> None:
        worker = await here.worker()
        for _ in range(20):
            # Beats come at the same rate: each is answered, and so nobody falls silent.
            await asyncio.wait_for(worker.reader.readline(), 30)
            worker.tell(Pulse())
        assert here.log.said == ["joined 1"]

    told(story)


def test_nonsense_ends_a_session() -> None:
    async def story(here: Meeting) -> None:
        worker = await here.worker()
        worker.say(b'{"say": "sudo"}')
        await here.until("gone 1")

    assert told(story).said == ["joined 1", "gone 1"]


def test_a_replacement_takes_over_from_a_session_that_is_half_open() -> None:
    async def story(here: Meeting) -> None:
        old = await here.worker()
        new = await here.worker()
        assert await old.hear() is None
        new.tell(Ready())
        await here.until("ready 1")

    assert told(story).said == ["joined 1", "joined 1", "ready 1"]


def test_everybody_hears_the_farewell_before_the_port_closes() -> None:
    farewell = Finish(verdict=Verdict(code=69, reason="Killed", message="Too often."))

    async def story(here: Meeting) -> None:
        workers = [await here.worker(1), await here.worker(2)]
        for worker in workers:
            worker.tell(Ready())  # unread when the connection closes, this would reset it
        closing = asyncio.create_task(here.rendezvous.close(farewell, patience=100))
        for worker in workers:
            assert await worker.hear() == farewell
            worker.writer.close()
        await asyncio.wait_for(closing, 50)

    told(story)


def test_who_comes_late_hears_the_farewell() -> None:
    farewell = Finish(verdict=Verdict(code=0))

    async def story(here: Meeting) -> None:
        first = await here.worker(1)
        closing = asyncio.create_task(here.rendezvous.close(farewell, patience=100))
        assert await first.hear() == farewell
        late = await here.peer()
        late.tell(hello(2))
        assert await late.hear() == farewell
        first.writer.close()
        late.writer.close()
        await asyncio.wait_for(closing, 50)

    told(story)
