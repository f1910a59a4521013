"""What an object storage's error means for the user. Pure: text in, one of our errors out.

The storages' own texts never get out whole: they hold signed requests and key ids.
"""

import re

from finetune_api.errors import BadConfiguration, Denied, FineTuneError, MissingInput, TryAgain

_NO_BUCKET = frozenset({"NoSuchBucket", "ContainerNotFound", "InvalidBucketName"})
_DENIED = frozenset(
    {
        "AccessDenied",
        "AccountProblem",
        "AuthenticationFailed",
        "AuthorizationFailure",
        "AuthorizationPermissionMismatch",
        "ExpiredToken",
        "InvalidAccessKeyId",
        "InvalidToken",
        "SignatureDoesNotMatch",
        "TokenRefreshRequired",
        "XAdminUserNotFound",
    }
)
_WRONG_REGION = frozenset(
    {"AuthorizationHeaderMalformed", "PermanentRedirect", "IllegalLocationConstraintException"}
)
_CREDENTIAL_SOURCES = (
    "169.254.169.254",
    "169.254.170.2",
    "metadata.google.internal",
    "token request",
    "MissingAccount",
)
_UNREADABLE_KEYS = ("CryptoProvider", "service account", "Decoding account key", "invalid SAS")


def is_absent(error: Exception) -> bool:
    """Whether just the object is missing, not its bucket and not the right to look."""
    return isinstance(error, FileNotFoundError) and not _code(str(error)) & (_NO_BUCKET | _DENIED)


def is_beyond_end(error: Exception) -> bool:
    """Whether a range was asked for that begins at or after the end of the object."""
    return _status(str(error)) == 416


def translate(error: Exception, uri: str, root: str) -> FineTuneError:
    """The error to raise for an operation on `uri` in the store rooted at `root`."""
    text = str(error)
    codes, status = _code(text), _status(text)
    if codes & _NO_BUCKET or "bucket does not exist" in text:
        return MissingInput(
            "BucketNotFound", f"the bucket of {root} does not exist", "an existing bucket", _FIX_URI
        )
    if "RequestTimeTooSkewed" in codes:
        return BadConfiguration(
            "ClockSkew", f"{root} refuses requests: this machine's clock is off", "", "set the clock"
        )
    if codes & _WRONG_REGION or "redirect without LOCATION" in text:
        return BadConfiguration(
            "WrongRegion", f"the bucket of {root} is in another region", "", "set storage.region"
        )
    if any(source in text for source in _UNREADABLE_KEYS):
        return BadConfiguration(
            "CredentialsUnreadable", f"the credentials for {root} cannot be used", "", _FIX_KEYS
        )
    if any(source in text for source in _CREDENTIAL_SOURCES):
        return Denied("CredentialsMissing", f"there are no credentials for {root}", "", _FIX_KEYS)
    if codes & _DENIED or status in (401, 403):
        return _denied(uri, codes, status)
    if isinstance(error, FileNotFoundError):
        return MissingInput("FileNotFound", f"{uri} does not exist", "an existing object", _FIX_URI)
    return TryAgain("StorageUnavailable", f"{uri}: {_summary(text, codes, status)}")


_FIX_URI = "correct the URI, or storage.endpoint if the bucket is somewhere else"
_FIX_KEYS = "give credentials in the storage secret or, locally, in the environment (AWS_ACCESS_KEY_ID …)"


def _denied(uri: str, codes: frozenset[str], status: int | None) -> Denied:
    why = ", ".join(sorted(codes)) or f"HTTP {status}"
    return Denied(
        "AccessDenied",
        f"access to {uri} was refused ({why})",
        "credentials that may list, read and write there",
        "check the keys and the bucket's policy",
    )


def _code(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"<Code>(\w+)</Code>", text)[:1])


def _status(text: str) -> int | None:
    found = re.search(r"non-2xx status code: (\d{3})", text)
    return int(found[1]) if found else None


def _summary(text: str, codes: frozenset[str], status: int | None) -> str:
    if status is not None:
        return f"the storage answered HTTP {status} {' '.join(codes)}".rstrip()
    if "error sending request" in text or "HTTP error" in text:
        return "no connection to the storage"
    return "the storage failed"
