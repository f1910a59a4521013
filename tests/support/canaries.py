"""Recognisable values for every credential there is, and a search for them."""

import base64
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

MARK = "CANARY"
KEYS = {
    "accessKeyId": "CANARYACCESSKEYID01",
    "secretAccessKey": "CANARY/secret+access/key/02",
    "sessionToken": "CANARY-session-token-03",
    "azureAccount": "canaryaccount04",
    "azureKey": base64.b64encode(b"CANARY-azure-key-05").decode(),
    "sas": "sv=2024-01-01&sig=CANARYsignature06",
    "gcs.json": json.dumps(
        {
            "type": "service_account",
            "private_key_id": "CANARY-key-id-07",
            "private_key": "-----BEGIN PRIVATE KEY-----\nCANARYprivatekey08\n-----END PRIVATE KEY-----\n",
            "client_email": "CANARY-email-09@project.example",
            "client_id": "1",
        }
    ),
}
"""Files of a credentials folder, keys of a secret."""
TOKEN = "CANARY-gang-token-10"


def write(folder: Path, *names: str) -> Path:
    """A credentials folder with these of the keys, or all."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names or KEYS:
        (folder / name).write_text(KEYS[name] + "\n")
    return folder


def values(more: Iterable[str] = ()) -> list[str]:
    """Every spelling that a leak could have: as it is, in base64, in parts of JSON."""
    whole = [*KEYS.values(), TOKEN, MARK, MARK.lower() + "account", *more]
    encoded = [base64.b64encode(one.encode()).decode() for one in whole if len(one) > len(MARK)]
    return [*whole, *encoded, base64.b64encode(b"CANARY").decode()[:8]]


def found(texts: Mapping[str, str], wanted: Iterable[str]) -> list[str]:
    """Which text holds which value: nothing, if all is well."""
    return [f"{name}: {one}" for name, text in texts.items() for one in wanted if one in text]


def files(folder: Path, but: Iterable[Path] = ()) -> Iterator[tuple[str, str]]:
    """Every file below the folder, whatever is in it, under its path; and its name counts as well."""
    left_out = set(but)
    for path in folder.rglob("*"):
        if path.is_file() and not left_out & {path, *path.parents}:
            yield str(path), path.read_bytes().decode("latin-1") + str(path)
