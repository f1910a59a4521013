"""The places a job reads and writes, opened the way its `storage` says."""

import os
from pathlib import Path

from finetune_api.contract import Env
from finetune_api.plan import ResolvedJob
from finetune_store.storage import StorageOptions, Store, open_store


def credentials() -> Path | None:
    """The folder with storage credentials, if the environment names one; else its own AWS_* count."""
    folder = os.environ.get(Env.CREDENTIALS)
    return Path(folder) if folder else None


def opened(resolved: ResolvedJob, uri: str) -> Store:
    """The store at `uri`; does no I/O. Raises BadJob for a URI of an unknown kind."""
    options = StorageOptions(endpoint=resolved.storage.endpoint, region=resolved.storage.region)
    return open_store(uri, options, credentials())
