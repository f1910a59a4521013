"""One run on this machine, from a prepared job to what the user is told at the end."""

import random
import secrets
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from rich.console import Console

from finetune_api import schedule_view
from finetune_api.plan import ResolvedJob
from finetune_cli import (
    devices,
    ending,
    launch,
    ports,
    private_network,
    screen,
    stores,
    summary,
)
from finetune_cli.folder import LocalFolder, home
from finetune_cli.job_source import Prepared, choose_attempt, job_file, run_id
from finetune_cli.local_gang import LocalGang
from finetune_cli.recorder import Recorder
from finetune_cli.summary import Written
from finetune_cli.view import Ending, RunView
from finetune_cli.watch import StopSignals, Watch
from finetune_store.checkpoint_index import CheckpointIndex
from finetune_store.publish import read_version
from finetune_store.run_folder import RunFolder
from finetune_store.storage import Store

LOG_LINES = 30


@dataclass(frozen=True)
class Run:
    """A prepared job and where its parts lie."""

    prepared: Prepared
    run_id: str
    folder: LocalFolder
    remote: RunFolder
    """Its state in the output's storage."""

    @property
    def resolved(self) -> ResolvedJob:
        """The job with nothing left open."""
        return self.prepared.resolved

    @property
    def store(self) -> Store:
        """Rooted at the output URI."""
        return self.remote.store


def identify(prepared: Prepared, new_version: bool) -> Run:
    """Which run this is: the one to resume, the one that is done, or a new one."""
    resolved = prepared.resolved
    store = stores.opened(resolved, resolved.output_uri)

    def remote(attempt: int) -> RunFolder:
        return RunFolder(store, resolved.namespace, resolved.name, run_id(resolved, attempt))

    attempt = choose_attempt(lambda number: remote(number).published() is not None, new_version)
    name = run_id(resolved, attempt)
    return Run(prepared, name, LocalFolder(home() / f"{resolved.name}-{name}"), remote(attempt))


def is_removed(run: Run) -> bool:
    """Whether the version that this run has published is no longer there."""
    published = run.remote.published()
    return published is not None and read_version(run.remote, int(published["version"])) is None


def published_uri(run: Run) -> str | None:
    """The model's URI if this run is done."""
    published = run.remote.published()
    return None if published is None else str(published["modelUri"])


def train(run: Run, num_classes: int, notes: list[str], console: Console) -> Ending:
    """Run the gang until the job is over; prints the end. `notes` are said at the start.

    Raises:
        TryAgain: the run is at work in another process.
        BadConfiguration: no local folder, no free ports.
    """
    resolved = run.resolved
    with run.folder.locked():
        run.folder.prepare(resolved.workers)
        run.folder.job.write_text(job_file(run.prepared, run.run_id).model_dump_json(by_alias=True))
        recorder = Recorder(run.folder, run.run_id)
        first = RunView(
            name=resolved.name,
            namespace=resolved.namespace,
            backbone=resolved.backbone,
            workers=resolved.workers,
            stages=tuple(
                schedule_view.stage_facts(resolved, stage, num_classes) for stage in resolved.stages
            ),
            started=datetime.now(UTC),
            epochs=recorder.known_epochs(),
        )
        last = _watch(run, first, recorder, notes, console)
        if last.ending is not None and last.ending.phase == "Complete":
            run.folder.remove_scratch()
    return _tell(run, last, console)


def _watch(run: Run, first: RunView, recorder: Recorder, notes: list[str], console: Console) -> RunView:
    where = _layout(run)
    gang = LocalGang(partial(launch.start, where), where.workers, run.resolved.max_restarts)
    with StopSignals().caught() as stop, screen.opened(console, first) as shown_on:
        shown_on.show(first, notes)
        deadline = run.resolved.start_deadline_seconds
        watch = Watch(gang, where, shown_on, recorder.keep, stop, deadline, partial(_stored, run))
        try:
            return watch.until_over(first)
        finally:
            gang.kill()


def _stored(run: Run) -> str | None:
    """The furthest checkpoint that a later start can go on from."""
    stored = CheckpointIndex(run.remote, run.folder.root).stored()
    return stored[-1] if stored else None


def _layout(run: Run) -> launch.Layout:
    workers = run.resolved.workers
    return launch.layout(
        run.folder,
        ports.free_ports(2 * workers + 1, random.Random(secrets.randbits(64))),
        secrets.token_hex(32),
        devices.threads_per_worker(devices.cores(), workers),
        devices.gpus(),
    )


def _tell(run: Run, last: RunView, console: Console) -> Ending:
    how = last.ending or Ending("Failed", 1)
    if how.phase == "Complete":
        root = run.store.uri(run.remote.results)
        uri = how.model_uri or published_uri(run) or root
        summary.print_end(console, last, written(run, uri), root)
        summary.print_use(console, sys.executable, uri, _example(run))
    console.print(f"status: {run.folder.status}", markup=False, highlight=False, soft_wrap=True)
    return how


def written(run: Run, model_uri: str) -> list[Written]:
    """What lies under the result's folder: of the model versions only this one."""
    prefix = f"{run.remote.results}/"
    version = model_uri.rstrip("/").rsplit("/", 1)[-1]
    files = [
        Written(entry.key.removeprefix(prefix), entry.size) for entry in run.store.list(run.remote.results)
    ]
    mine = [
        file
        for file in files
        if not file.place.startswith("model/") or file.place.startswith(f"model/{version}/")
    ]
    return sorted(mine, key=lambda file: file.place)


def log_of(run: Run, how: Ending) -> list[str]:
    """The end of the failed worker's log, for failures that their message may not explain."""
    if not ending.needs_log(how) or how.worker is None:
        return []
    log = run.folder.log(how.worker)
    return [f"last lines of {log}:", *summary.log_tail(log, LOG_LINES)]


def _example(run: Run) -> str | None:
    """An image to try the model on: one of the training images, if they are on this machine."""
    images = stores.opened(run.resolved, run.resolved.train_uri)
    if not private_network.is_local(images.uri()):
        return None
    first = next((entry for entry in images.list() if _is_image(entry.key)), None)
    return images.uri(first.key) if first else None


def _is_image(key: str) -> bool:
    """Whether a file in a class folder looks like an image by its name."""
    parts = key.lower().split("/")
    hidden = any(part.startswith(".") for part in parts)
    return len(parts) > 1 and not hidden and parts[-1].endswith((".png", ".jpg", ".jpeg"))
