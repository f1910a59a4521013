"""job.json, read and resolved."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from finetune_api import schedule, yaml_loader
from finetune_api.contract import CONTRACT_VERSION
from finetune_api.errors import BadConfiguration
from finetune_api.events import JobFile
from finetune_api.plan import ResolvedJob


@dataclass(frozen=True)
class Job:
    """What this supervisor runs."""

    file: JobFile
    digest: str
    """SHA-256 of job.json, by which workers know that they run the same."""
    resolved: ResolvedJob


def read(path: Path) -> Job:
    """The job at `path`. Raises BadConfiguration if it is not a job.json, BadJob if the job is wrong."""
    try:
        data = path.read_bytes()
        version = json.loads(data)["contractVersion"]
        if version != CONTRACT_VERSION:
            raise BadConfiguration(
                "ContractMismatch",
                f"{path} is of contract version {version}",
                f"version {CONTRACT_VERSION}",
                "use the trainer image that belongs to this operator",
            )
        file = JobFile.model_validate_json(data)
    except (OSError, ValueError, KeyError, TypeError, ValidationError) as error:
        raise BadConfiguration(
            "BadJobFile", f"{path} cannot be read: {error}", "the job.json of a job"
        ) from error
    resolved = schedule.resolve(yaml_loader.parse_job(file.job, str(path)), cluster=True)
    return Job(file=file, digest=hashlib.sha256(data).hexdigest(), resolved=resolved)
