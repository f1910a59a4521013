"""What every role of a training process opens first: the job, its storage and its run folder."""

import json
import threading
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from finetune_api import schedule
from finetune_api.contract import CONTRACT_VERSION
from finetune_api.errors import BadConfiguration
from finetune_api.events import JobFile, TrainRequest
from finetune_api.plan import ResolvedJob
from finetune_api.v1alpha1 import FineTuneJob
from finetune_store.run_folder import RunFolder
from finetune_store.storage import StorageOptions, Store, open_store
from finetune_trainer.channel import Channel

SECONDS_BETWEEN_LOOKS = 0.2


@dataclass(frozen=True)
class RunContext:
    """One forked child's view of the run."""

    request: TrainRequest
    channel: Channel
    job: ResolvedJob
    job_file: JobFile

    @property
    def scratch(self) -> Path:
        """This worker's local folder; outlives the process."""
        return Path(self.request.scratch)

    @property
    def is_chief(self) -> bool:
        """Whether this is worker 0."""
        return self.request.index == 0

    @cached_property
    def run(self) -> RunFolder:
        """The run folder below output.uri."""
        return RunFolder(
            self.open_store(self.job.output_uri),
            self.job_file.namespace,
            self.job_file.name,
            self.job_file.run_id,
        )

    def await_chief(self, name: str) -> bytes:
        """What the chief writes to the run folder as `name`; the watchdog judges how long that may take."""
        while (found := self.run.store.get_versioned(self.run.key(name))) is None:
            self.channel.tick()
            threading.Event().wait(SECONDS_BETWEEN_LOOKS)
        return found[0]

    def open_store(self, uri: str) -> Store:
        """The store at `uri`, with the job's endpoint, region and credentials."""
        options = StorageOptions(endpoint=self.job.storage.endpoint, region=self.job.storage.region)
        credentials = self.request.credentials
        return open_store(uri, options, Path(credentials) if credentials else None)


def open_run(request: TrainRequest, channel: Channel) -> RunContext:
    """Read job.json and resolve it; no storage is touched yet."""
    job_file = JobFile.model_validate(json.loads(Path(request.job_path).read_text()))
    if job_file.contract_version != CONTRACT_VERSION:
        raise BadConfiguration(
            "ContractVersion",
            f"job.json has contract version {job_file.contract_version}",
            f"version {CONTRACT_VERSION}",
            "use a trainer image of the operator's own version",
        )
    job = schedule.resolve(FineTuneJob.model_validate(job_file.job), cluster=True)
    job = job.model_copy(update={"smoke_steps": job_file.smoke_steps})
    return RunContext(request, channel, job, job_file)
