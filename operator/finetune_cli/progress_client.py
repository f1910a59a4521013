"""Reads GET /progress of a supervisor on this machine."""

import http.client

from pydantic import ValidationError

from finetune_api.progress import Progress

TIMEOUT = 1.0


def fetch(address: str) -> Progress | None:
    """What the supervisor at `address` (host:port) reports; None while it does not answer.

    A supervisor that starts, ends or hangs is nothing unusual: the caller keeps what it knew. Goes
    straight to the address, past any proxy that the environment names.
    """
    connection = http.client.HTTPConnection(address, timeout=TIMEOUT)
    try:
        connection.request("GET", "/progress")
        response = connection.getresponse()
        body = response.read()
        return Progress.model_validate_json(body) if response.status == 200 else None
    except (OSError, http.client.HTTPException, ValidationError):
        return None
    finally:
        connection.close()
