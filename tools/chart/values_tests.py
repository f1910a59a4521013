"""Values about `helm test`."""

from typing import Any

from pydantic import Field

from finetune_operator.knobs import Group


class TestJob(Group):
    """A real job of two short stages, from real images to a model. Runs when `train` and `output` are given."""

    namespace: str = ""
    """Where it runs. Empty: the first of watch.namespaces, else the release's."""
    train: str = ""
    """Images, a folder per class, such as s3://bucket/flowers/train; a few dozen are enough."""
    output: str = ""
    """Where the model goes, such as s3://bucket/smoke."""
    secret_name: str = ""
    """Secret with the storage credentials, in that namespace."""
    spec: dict[str, Any] = Field(default={})
    """More of the FineTuneJob's spec, such as storage.endpoint; goes over what the chart has."""
    timeout_seconds: int = Field(default=1200, ge=1)
    """How long it may take; `helm test --timeout` must be longer."""


class Tests(Group):
    """`helm test`: FineTuneJobs are served and checked, the operator is healthy; and a job, if there is data for it."""

    enabled: bool = True
    """Whether `helm test` does anything."""
    job: TestJob = TestJob()
