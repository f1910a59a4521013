"""Waits for the storage credentials to be in their folder: a secret may be made a little later than its job."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from finetune_api.errors import BadConfiguration
from finetune_api.plan import ResolvedJob
from finetune_store.credentials import KEYS
from finetune_store.storage import split_uri
from finetune_supervisor.job import Job
from finetune_supervisor.settings import Settings

PATIENCE_SECONDS = 60.0
SECONDS_BETWEEN_LOOKS = 1.0
Tell = Callable[[BadConfiguration | None], None]

_NEEDED = {
    "s3": ("accessKeyId", "secretAccessKey"),
    "gs": ("gcs",),
    "az": ("azureAccount", "azureKey"),
}
"""What a storage cannot be used without; `sas` does as well as `azureKey`."""


async def arrive(settings: Settings, job: Job, stopped: asyncio.Event, tell: Tell) -> None:
    """Returns once the folder has what the job's storage needs, at once without a folder, or when `stopped`.

    `tell` learns what is waited for, and None when that is over.

    Raises:
        BadConfiguration: something is still missing after a minute; it says what and in which secret.
    """
    deadline = asyncio.get_running_loop().time() + PATIENCE_SECONDS
    while problem := next(_missing(settings, job), None):
        tell(problem)
        if asyncio.get_running_loop().time() >= deadline:
            raise problem
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stopped.wait(), SECONDS_BETWEEN_LOOKS)
            return
    tell(None)


def _missing(settings: Settings, job: Job) -> Iterator[BadConfiguration]:
    folder, namespace = settings.credentials or Path(), job.file.namespace
    for key in _keys(job.resolved) if settings.secret else ():
        if not any((folder / file).is_file() for file in _files(key)):
            yield _absent("SecretMissing", f"secret {settings.secret} of namespace {namespace}", key)
    if settings.ca and not (folder / "ca.crt").is_file():
        yield _absent("ConfigMapMissing", f"ConfigMap {settings.ca} of namespace {namespace}", "ca")


def _keys(resolved: ResolvedJob) -> list[str]:
    uris = (resolved.output_uri, resolved.train_uri, resolved.validation_uri, resolved.weights)
    schemes = {split_uri(uri)[0] for uri in uris if uri}
    return [key for scheme, keys in _NEEDED.items() if scheme in schemes for key in keys]


def _files(key: str) -> tuple[str, ...]:
    return KEYS["azureKey"] + KEYS["sas"] if key == "azureKey" else KEYS[key]


def _absent(reason: str, owner: str, key: str) -> BadConfiguration:
    wanted = " or ".join(_files(key))
    return BadConfiguration(
        reason,
        f"the {owner} is missing, or has no key {wanted}",
        f"a key {wanted} within {PATIENCE_SECONDS:.0f} seconds of the start",
        "create it, or correct spec.storage",
    )
