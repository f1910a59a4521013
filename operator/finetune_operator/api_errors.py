"""How a request to the API server can fail: what matters is what to do next, not the status code."""

import json
from typing import Any

LONGEST_MESSAGE = 2048


class ApiError(Exception):
    """The API server did not do what was asked. `code` is the HTTP status, 0 without an answer."""

    def __init__(self, message: str, *, code: int = 0, reason: str = "") -> None:
        super().__init__(message[:LONGEST_MESSAGE])
        self.code = code
        self.reason = reason


class NotFound(ApiError):
    """There is no such object, or no such kind."""


class Conflict(ApiError):
    """The object is already there, or is no longer what the request was computed from."""

    @property
    def exists(self) -> bool:
        """Whether a POST met an object of that name."""
        return self.reason == "AlreadyExists"


class Denied(ApiError):
    """Refused: permission, quota, admission, validation. Saying the same again at once cannot help."""


class Unavailable(ApiError):
    """No usable answer: it may or may not have been done, and a later try can succeed."""

    def __init__(self, message: str, *, code: int = 0, reason: str = "", retry_after: float = 0.0) -> None:
        super().__init__(message, code=code, reason=reason)
        self.retry_after = retry_after
        """Seconds to wait at least, as the server says; 0 when it does not say."""


class Gone(ApiError):
    """The resourceVersion or continue token is too old: list again."""


KINDS: dict[int, type[ApiError]] = {404: NotFound, 409: Conflict, 410: Gone}
TEMPORARY = frozenset({401, 408, 425, 429})
"""401 too: a token is being rotated."""

INVALID = 422
OTHER_UID = "metadata.uid: Invalid value"
"""How the API server says that a patch with a uid met a namesake that came after the object it was made for."""


def error_of(code: int, body: bytes, retry_after: str | None = None) -> ApiError:
    """The error for an answer with status `code` >= 300; `body` is a Status object, or anything."""
    message, reason = _status(body)
    message = message or f"the API server answered {code}"
    if code in TEMPORARY or code >= 500:
        return Unavailable(message, code=code, reason=reason, retry_after=_seconds(retry_after))
    if code == INVALID and OTHER_UID in message:
        return Conflict(message, code=code, reason=reason)
    return KINDS.get(code, Denied)(message, code=code, reason=reason)


def _status(body: bytes) -> tuple[str, str]:
    try:
        status: Any = json.loads(body)
    except ValueError:
        return body[:LONGEST_MESSAGE].decode(errors="replace").strip(), ""
    if not isinstance(status, dict):
        return "", ""
    return str(status.get("message") or ""), str(status.get("reason") or "")


def _seconds(text: str | None) -> float:
    # The API server sends whole seconds; a date would only come from a proxy.
    try:
        return max(0.0, min(float(text or 0), 300.0))
    except ValueError:
        return 1.0
