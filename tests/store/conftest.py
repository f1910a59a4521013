"""Both kinds of storage for every test that does not care which."""

import secrets
from pathlib import Path

import pytest

from finetune_store.run_folder import RunFolder
from finetune_store.storage import Store, open_store
from s3 import S3, s3

__all__ = ["s3"]


@pytest.fixture(params=["local", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """An empty store: a local folder, or a prefix on the S3 server."""
    if request.param == "local":
        return open_store(str(tmp_path / "store"))
    server: S3 = request.getfixturevalue("s3")
    return server.store(f"test-{secrets.token_hex(4)}/über uns")


@pytest.fixture
def run(store: Store) -> RunFolder:
    return RunFolder(store, "team", "flowers", "run1")
