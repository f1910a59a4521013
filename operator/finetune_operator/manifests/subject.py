"""Whose objects are made: the job and what all its manifests have in common."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from finetune_api import names
from finetune_api.contract import API_VERSION, CONTRACT_VERSION, KIND, MANAGER, Annotation, Label
from finetune_api.events import JobFile
from finetune_api.v1alpha1 import FineTuneJob
from finetune_api.v1alpha1.units import parse_quantity
from finetune_operator.settings import Settings

Manifest = dict[str, Any]
_NOT_FOR_THE_RUN = {"suspend", "active_deadline_seconds", "ttl_seconds_after_finished"}
"""Fields that may change and mean nothing to a worker."""


@dataclass(frozen=True)
class Subject:
    """A FineTuneJob on its way to objects."""

    job: FineTuneJob
    uid: str
    namespace: str
    settings: Settings

    @cached_property
    def name(self) -> str:
        """Of every object."""
        return names.object_name(self.job.metadata.name, self.job.spec.workers)

    @cached_property
    def has_gpus(self) -> bool:
        """Whether a worker gets any, whole or a slice."""
        limits = self.job.spec.resources.limits
        return any(key.startswith("nvidia.com/") and parse_quantity(limits[key]) for key in limits)

    @property
    def labels(self) -> dict[str, str]:
        """Of every object and pod."""
        return {
            Label.NAME: "finetune-trainer",
            Label.MANAGED_BY: MANAGER,
            Label.JOB_NAME: self.job.metadata.name,
            **self.pods,
        }

    @property
    def pods(self) -> dict[str, str]:
        """Selects this job's pods and no others."""
        return {Label.JOB_UID: self.uid}

    @cached_property
    def job_json(self) -> str:
        """What the supervisors read: the job as it was written, whatever may change later left out."""
        spec = self.job.spec.model_dump(
            mode="json", by_alias=True, exclude_unset=True, exclude=_NOT_FOR_THE_RUN
        )
        file = JobFile(
            contract_version=CONTRACT_VERSION,
            namespace=self.namespace,
            name=self.job.metadata.name,
            run_id=self.uid,
            job={
                "apiVersion": API_VERSION,
                "kind": KIND,
                "metadata": {"name": self.job.metadata.name, "namespace": self.namespace},
                "spec": spec,
            },
        )
        return file.model_dump_json(by_alias=True, exclude_none=True, indent=1)

    @property
    def annotations(self) -> dict[str, str]:
        """Of what a running job must keep over an upgrade of the operator."""
        return {
            Annotation.CONTRACT: str(CONTRACT_VERSION),
            Annotation.DIGEST: hashlib.sha256(self.job_json.encode()).hexdigest(),
        }

    def metadata(self) -> Manifest:
        """Of an object that belongs to the job and goes with it."""
        return {
            "name": self.name,
            "namespace": self.namespace,
            "labels": self.labels,
            "ownerReferences": [
                {
                    "apiVersion": API_VERSION,
                    "kind": KIND,
                    "name": self.job.metadata.name,
                    "uid": self.uid,
                    "controller": True,
                    "blockOwnerDeletion": True,
                }
            ],
        }
