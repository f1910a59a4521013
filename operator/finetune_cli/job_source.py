"""From a job file and the flags of a command to a job with nothing left open, and the identity of its run."""

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finetune_api.contract import CONTRACT_VERSION
from finetune_api.events import JobFile
from finetune_api.plan import ResolvedJob
from finetune_api.schedule import resolve
from finetune_api.v1alpha1 import FineTuneJob
from finetune_api.yaml_loader import parse_job, read_job
from finetune_cli import private_network
from finetune_cli.folder import home

SMOKE_STEPS = 2
_ID_LENGTH = 16
Document = dict[str, Any]
_NAMED_WEIGHTS = ("imagenet", "none")


@dataclass(frozen=True)
class Prepared:
    """A job ready to run."""

    job: FineTuneJob
    resolved: ResolvedJob

    def as_smoke(self) -> "Prepared":
        """The same job with two steps per stage, from nothing, into an emptied scratch folder."""
        output = home() / "smoke" / self.resolved.name
        shutil.rmtree(output, ignore_errors=True)
        document = self.job.model_dump(mode="json", by_alias=True, exclude_unset=True)
        document["spec"]["output"]["uri"] = str(output)
        job = FineTuneJob.model_validate(document)
        return Prepared(job, resolve(job).model_copy(update={"smoke_steps": SMOKE_STEPS}))


def read(path: Path, workers: int | None = None, output: str | None = None) -> Prepared:
    """The job in the file `path` with `--workers` and `--output` put over it, and its paths made absolute.

    Raises:
        MissingInput: there is no such file.
        BadJob: it holds no FineTuneJob, or a wrong one.
    """
    written = read_job(path)
    document = written.model_dump(mode="json", by_alias=True, exclude_unset=True)
    # Checked again, for the flags: --workers has to divide globalBatchSize too.
    source = f"{path} with --workers {workers}" if workers else str(path)
    job = parse_job(localised(document, Path.cwd(), workers, output), source)
    return Prepared(job, resolve(job))


def localised(
    document: dict[str, Any], folder: Path, workers: int | None, output: str | None
) -> dict[str, Any]:
    """A valid FineTuneJob document with the flags applied; relative paths in it start at `folder`.

    Supervisors and trainers must find the same places wherever they run, and so must the next start.
    """
    spec = dict(document["spec"])
    data = dict(spec["data"])
    data["train"] = _absolute(data["train"], folder)
    validation = data.get("validation") or {}
    if validation.get("uri"):
        data["validation"] = {**validation, "uri": _absolute(validation["uri"], folder)}
    spec["data"] = data
    spec["output"] = {**spec["output"], "uri": _absolute(output or spec["output"]["uri"], folder)}
    weights = spec["model"].get("weights")
    if weights is not None and weights not in _NAMED_WEIGHTS:
        spec["model"] = {**spec["model"], "weights": _absolute(weights, folder)}
    if workers is not None:
        spec["workers"] = workers
    return {**document, "spec": spec}


def run_id(resolved: ResolvedJob, attempt: int) -> str:
    """Equal for the same result at the same place, so that the same command resumes; `attempt` is 1, 2, …"""
    identity = [resolved.namespace, resolved.name, resolved.output_uri, resolved.digest()]
    digest = hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:_ID_LENGTH]
    return digest if attempt == 1 else f"{digest}-{attempt}"


def choose_attempt(is_published: Callable[[int], bool], new_version: bool) -> int:
    """Which attempt to go on with: the newest that exists; with `new_version` one that is not published.

    A new version that was stopped half-way is resumed by the same command, with the flag.
    """
    attempt = 1
    while is_published(attempt):
        attempt += 1
    return attempt if new_version or attempt == 1 else attempt - 1


def job_file(prepared: Prepared, run: str) -> JobFile:
    """job.json for the supervisors."""
    return JobFile(
        contract_version=CONTRACT_VERSION,
        namespace=prepared.resolved.namespace,
        name=prepared.resolved.name,
        run_id=run,
        job=prepared.job.model_dump(mode="json", by_alias=True, exclude_unset=True),
        smoke_steps=prepared.resolved.smoke_steps,
    )


def _absolute(uri: str, folder: Path) -> str:
    if not private_network.is_local(uri) or uri.startswith("file://"):
        return uri
    return str(folder / Path(uri).expanduser())
