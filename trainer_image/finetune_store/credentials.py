"""Storage credentials in a folder, one file per value: how a Kubernetes secret is mounted.

Keys: `accessKeyId`, `secretAccessKey`, `sessionToken` (also AWS_ACCESS_KEY_ID …) for S3; `gcs.json`;
`azureAccount` with `azureKey` or `sas`; `ca.crt` for a private certificate authority.
"""

import time
from pathlib import Path

from finetune_api.errors import BadConfiguration

KEYS = {
    "accessKeyId": ("accessKeyId", "AWS_ACCESS_KEY_ID"),
    "secretAccessKey": ("secretAccessKey", "AWS_SECRET_ACCESS_KEY"),
    "sessionToken": ("sessionToken", "AWS_SESSION_TOKEN"),
    "gcs": ("gcs.json",),
    "azureAccount": ("azureAccount", "AZURE_STORAGE_ACCOUNT_NAME"),
    "azureKey": ("azureKey", "AZURE_STORAGE_ACCOUNT_KEY"),
    "sas": ("sas", "AZURE_STORAGE_SAS_TOKEN"),
    "ca": ("ca.crt",),
}
REFRESH_SECONDS = 10.0


class Credentials:
    """The folder's values, read again when they change; None as folder means the environment has them."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._values: dict[str, str] | None = None
        self._checked = 0.0

    def read(self) -> dict[str, str] | None:
        """The values by the names on the left of `KEYS`, or None without a folder."""
        if self._folder is not None:
            self._values = _read(self._folder)
            self._checked = time.monotonic()
        return self._values

    def changed(self, *, at_once: bool = False) -> bool:
        """Whether the folder has changed since the last `read`; looks every few seconds, or `at_once`."""
        if self._folder is None or not (at_once or time.monotonic() - self._checked > REFRESH_SECONDS):
            return False
        self._checked = time.monotonic()
        return _read(self._folder) != self._values


def _read(folder: Path) -> dict[str, str]:
    found = {}
    for name, files in KEYS.items():
        paths = [folder / file for file in files]
        if (path := next((p for p in paths if p.is_file()), None)) is not None:
            found[name] = _content(path)
    return found


def _content(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise BadConfiguration(
            "CredentialsUnreadable", f"cannot read {path}: {error}", "a text file", "repair the secret"
        ) from error
