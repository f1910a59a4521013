"""The watch over real processes. A small program stands in for the supervisor: it serves what it is given."""

import os
import random
import signal
import sys
import threading
from pathlib import Path

import pytest

from finetune_api.events import TrainerReport, WarningEvent
from finetune_cli import launch, ports, progress_client
from finetune_cli.folder import LocalFolder
from finetune_cli.local_gang import LocalGang
from finetune_cli.watch import StopSignals, Watch
from local_runs import epoch, progress, published, view
from waiting import eventually

# Serves progress-<index>.json, and ends with the code in end-<index> or, after SIGTERM, with 143.
PROGRAM = """
import http.server, os, pathlib, signal, sys, threading, time
folder, index = pathlib.Path(sys.argv[1]), os.environ["FINETUNE_WORKER_INDEX"]
host, port = os.environ["FINETUNE_HTTP"].split(":")
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write((folder / f"progress-{index}.json").read_bytes())
    def log_message(self, *_):
        pass
signal.signal(signal.SIGTERM, lambda *_: os._exit(143))
threading.Thread(target=http.server.HTTPServer((host, int(port)), Handler).serve_forever, daemon=True).start()
end = folder / f"end-{index}"
while not end.exists() or not end.read_text():
    time.sleep(0.01)
os._exit(int(end.read_text()))
"""


class Noted:
    """A screen that keeps what it was shown."""

    def __init__(self):
        self.views = []
        self.said = []

    def show(self, shown, said):
        self.views.append(shown)
        self.said += said


class Stage:
    """Two workers whose every word a test decides."""

    def __init__(self, folder: Path, start_deadline: float = 60.0):
        self.folder = folder
        self.local = LocalFolder(folder / "run")
        self.local.prepare(2)
        self.where = launch.layout(self.local, ports.free_ports(5, random.Random(3)), "secret", 1, [])
        command = [sys.executable, "-c", PROGRAM, str(folder)]
        self.gang = LocalGang(lambda index: launch.start(self.where, index, command), 2, 5)
        self.screen = Noted()
        self.kept = []
        self.signals = StopSignals()
        self.stored = None
        self.watch = Watch(
            self.gang,
            self.where,
            self.screen,
            self.kept.append,
            self.signals,
            start_deadline,
            lambda: self.stored,
        )

    def play(self, *acts):
        """Watch until the run is over while `acts` happen one after the other; the last view."""
        actor = threading.Thread(target=lambda: [act() for act in acts], daemon=True)
        with self.signals.caught():
            actor.start()
            last = self.watch.until_over(view())
        actor.join()
        return last

    def progress(self, index, **values):
        return lambda: self._write(
            f"progress-{index}.json", progress(**values).model_dump_json(by_alias=True)
        )

    def report(self, index, report):
        path = self.local.termination(index)
        return lambda: path.write_text(report.model_dump_json(by_alias=True))

    def end(self, index, code):
        return lambda: self._write(f"end-{index}", str(code))

    def wait(self, holds):
        return lambda: eventually(lambda: bool(self.screen.views) and holds(self.screen.views[-1]))

    def _write(self, name, text):
        unfinished = self.folder / f"{name}.unfinished"
        unfinished.write_text(text)
        unfinished.replace(self.folder / name)


@pytest.fixture
def stage(tmp_path):
    made = Stage(tmp_path)
    yield made
    made.gang.kill()


def test_a_run_that_is_published(stage):
    rotated = WarningEvent(reason="Rotated", message="3 images carry a rotation")
    last = stage.play(
        stage.progress(1, warnings=[rotated]),
        stage.progress(0, epochs_log=[epoch(0, 0), epoch(0, 1)]),
        stage.wait(lambda shown: len(shown.epochs) == 2 and shown.warnings),
        stage.report(0, published("/m/1")),
        stage.end(1, 0),
        stage.end(0, 0),
    )
    assert (last.ending.phase, last.ending.exit_code, last.ending.model_uri) == ("Complete", 0, "/m/1")
    assert last.warnings == (rotated,)
    assert stage.kept[-1] == last
    assert stage.gang.codes() == [0, 0]


def test_a_permanent_failure_stops_the_others_and_is_explained(stage):
    told = TrainerReport(exit_code=65, reason="OneClass", message="there is one class")
    last = stage.play(
        stage.progress(0),
        stage.progress(1),
        stage.wait(lambda shown: shown.progress),
        stage.report(1, told),
        stage.end(1, 65),
    )
    assert (last.ending.exit_code, last.ending.reason, last.ending.worker) == (65, "OneClass", 1)
    assert stage.gang.codes() == [143, 65]


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_lets_the_workers_save_and_leave(stage, number, code):
    last = stage.play(
        lambda: setattr(stage, "stored", "0000000014-s01-e0001-g0001"),
        stage.progress(0),
        stage.wait(lambda shown: shown.progress),
        lambda: os.kill(os.getpid(), number),
    )
    assert (last.ending.phase, last.ending.exit_code) == ("Suspended", code)
    assert "saved at 0000000014-s01-e0001-g0001" in last.ending.message
    assert stage.gang.codes() == [143, 143]


def test_a_gang_that_never_gathers_gives_up(tmp_path):
    stage = Stage(tmp_path, start_deadline=0.5)
    last = stage.play(stage.progress(0, workers_ready=1))
    assert (last.ending.exit_code, last.ending.reason) == (69, "StartDeadlineExceeded")
    assert stage.gang.codes() == [143, 143]


def test_a_lost_worker_is_replaced_while_the_view_keeps_its_epochs(stage):
    last = stage.play(
        stage.progress(0, epochs_log=[epoch(0, 0)]),
        stage.wait(lambda shown: shown.epochs),
        stage.progress(0, epochs_log=[]),
        stage.report(0, TrainerReport(exit_code=70, reason="ZygoteKilled")),
        stage.end(0, 70),
        stage.wait(lambda shown: shown.replaced >= 1),
        stage.report(0, published()),
        stage.end(1, 0),
        stage.end(0, 0),
    )
    assert last.ending.phase == "Complete"
    assert last.epochs == (epoch(0, 0),)
    assert stage.screen.said[0].startswith("worker 0 ended with 70 (ZygoteKilled); starting it again")


def test_nobody_at_the_address_is_no_error():
    (port,) = ports.free_ports(1, random.Random(4))
    assert progress_client.fetch(f"127.0.0.1:{port}") is None
