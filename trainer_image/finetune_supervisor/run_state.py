"""What supervisor 0 reads from and writes to the run folder. Blocking: call it from a thread."""

import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from finetune_api.contract import ExitCode
from finetune_api.errors import TryAgain
from finetune_api.events import ResultEvent, Role
from finetune_store.checkpoint_index import CheckpointIndex
from finetune_store.run_folder import RunFolder
from finetune_store.storage import StorageOptions, open_store
from finetune_supervisor.budget import Budget, settle
from finetune_supervisor.happenings import Claimed, Condemned, Surveyed
from finetune_supervisor.job import Job
from finetune_supervisor.messages import Outcome, Verdict

CHECKPOINTS = "checkpoints"
"""Folder of this machine's checkpoints, below the scratch folder."""
CLAIM_ATTEMPTS = 20
SUPERSEDED = "Superseded"


def open_run(job: Job, credentials: Path | None) -> RunFolder:
    """The run's folder in the job's output storage."""
    storage = job.resolved.storage
    options = StorageOptions(endpoint=storage.endpoint, region=storage.region)
    store = open_store(job.resolved.output_uri, options, credentials)
    return RunFolder(store, job.file.namespace, job.file.name, job.file.run_id)


@dataclass(frozen=True)
class RunState:
    """The run as its folder tells it. All methods raise the errors of `finetune_store.storage`."""

    folder: RunFolder
    checkpoints: CheckpointIndex
    workers: int
    max_restarts: int
    leader: str = field(default_factory=lambda: secrets.token_hex(8))
    """Of all supervisors 0 that this run ever had, this one."""

    @staticmethod
    def open(job: Job, credentials: Path | None, scratch: Path) -> "RunState":
        """The state of `job`'s run; does no I/O."""
        folder = open_run(job, credentials)
        index = CheckpointIndex(folder, scratch / CHECKPOINTS)
        return RunState(folder, index, job.resolved.workers, job.resolved.max_restarts)

    def survey(self) -> Surveyed:
        """How far the run is."""
        published = self.folder.published()
        if published is not None:
            return Surveyed(published=published_result(published))
        return Surveyed(trained=self.folder.trained() is not None)

    def take_over(self) -> Surveyed:
        """As `survey`, for a supervisor 0 that begins: the one before it may live on where nobody sees it.

        So the next number is taken at once: the other's generation can save and publish nothing more, and it can
        start no other.
        """
        seen = self.survey()
        for _ in range(CLAIM_ATTEMPTS):
            number, document = self.folder.latest_generation() or (0, {})
            if seen.published or not number or document.get("leader") == self.leader:
                return seen
            claim = {"trainings": document.get("trainings", 0), "leader": self.leader}
            self.folder.claim_generation(number + 1, claim)
        raise _contested()

    def claim(self, role: Role) -> Claimed | Condemned:
        """Takes the next generation's number, and for training the newest whole checkpoint to start from."""
        checkpoint = self.checkpoints.newest() if role is Role.TRAIN else None
        for _ in range(CLAIM_ATTEMPTS):
            number, document = self.folder.latest_generation() or (0, {})
            if document.get("leader", self.leader) != self.leader:
                return Condemned(_superseded())
            trainings = int(document.get("trainings", 0)) + (role is Role.TRAIN)
            claim = {
                "role": role.value,
                "leader": self.leader,
                "workers": self.workers,
                "checkpoint": checkpoint.id if checkpoint else None,
                "sha256": checkpoint.sha256 if checkpoint else None,
                "trainings": trainings,
            }
            restarts, start = max(0, trainings - 1), checkpoint.id if checkpoint else None
            if document.get("leader") == self.leader and "role" not in document:
                self.folder.describe_generation(number, claim)  # the one that was taken over with
                return Claimed(number, start, restarts)
            if self.folder.claim_generation(number + 1, claim):
                return Claimed(number + 1, start, restarts)
        raise _contested()

    def settle(self, failure: Outcome) -> Verdict | None:
        """Counts a failure; the verdict if the run may not go on."""
        newest = max((*self.checkpoints.stored(), *self.checkpoints.held()), default=None)
        budget = Budget.model_validate(self.folder.budget() or {})
        counted, verdict = settle(budget, failure, newest, self.max_restarts)
        if counted != budget:
            self.folder.save_budget(counted.model_dump(by_alias=True))
        return verdict


def _contested() -> TryAgain:
    return TryAgain("GenerationContested", "another supervisor 0 keeps claiming this run's generations")


def _superseded() -> Verdict:
    message = "Another supervisor 0 has taken this run over: this pod was given up, though it lives."
    return Verdict(code=ExitCode.TRY_AGAIN, reason=SUPERSEDED, message=message)


def published_result(document: dict[str, Any]) -> ResultEvent:
    """The result that published.json tells of; what else is in it is left alone."""
    names = {field.alias or name for name, field in ResultEvent.model_fields.items()}
    known = {name: value for name, value in document.items() if name in names}
    return ResultEvent.model_validate({**known, "event": "result", "result": "Published"})
