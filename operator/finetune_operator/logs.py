"""Logs: one JSON object a line, without secrets."""

import json
import logging
import re
import sys
from datetime import UTC, datetime
from typing import Any, TextIO

STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
"""What every record has; the rest was given as `extra` and is written too."""

FRONT_END = "front-end"
"""Name of the thread that kopf runs in."""
HIDDEN = "***"
_SECRETS = (
    # user:password@ in a URL
    (re.compile(r"(?<=://)[^/\s:@]*:[^/\s@]+(?=@)"), HIDDEN),
    # Authorization headers
    (re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}"), rf"\1 {HIDDEN}"),
    # JSON web tokens, such as those of service accounts
    (re.compile(r"\beyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]*)?"), HIDDEN),
    # Access key ids of AWS
    (re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"), HIDDEN),
    # Signatures in URLs: S3, GCS, Azure
    (
        re.compile(
            r"(?i)([?&](?:X-(?:Amz|Goog)-(?:Signature|Credential|Security-Token)|sig|token)=)[^&\s\"']+"
        ),
        rf"\1{HIDDEN}",
    ),
    # key: value and key=value with a telling name, JSON included
    (
        re.compile(
            r"(?i)((?:secret|password|passwd|token|access_?key(?:_?id)?|account_?key|session_?token|api_?key"
            r"|credentials?)[\"']?\s*[:=]\s*[\"']?)(?!\s|\*\*\*)[^\s\"',;&}]{4,}"
        ),
        rf"\1{HIDDEN}",
    ),
    (
        re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)", re.DOTALL),
        HIDDEN,
    ),
)


def scrub(text: str) -> str:
    """The text without what looks like a secret."""
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    return text


class JsonLines(logging.Formatter):
    """time, level, logger, message, what was given as `extra`, and the traceback of an exception."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        entry: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name.removeprefix("finetune_operator."),
            "message": scrub(record.getMessage()),
        }
        for name, value in vars(record).items():
            if name not in STANDARD:
                entry[name] = scrub(value) if isinstance(value, str) else value
        if record.exc_info:
            entry["exception"] = scrub(self.formatException(record.exc_info))
        return json.dumps(entry, default=str, ensure_ascii=False)


def _not_of_the_front_end(record: logging.LogRecord) -> bool:
    # kopf leaves tasks behind whose errors nobody takes; they are those that ended it.
    return record.threadName != FRONT_END


def set_up(level: str, stream: TextIO = sys.stderr) -> None:
    """Logs of every library go to `stream` as JSON; chatty ones only from WARNING on."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in ("aiohttp", "asyncio", "kubernetes"):
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    logging.getLogger("asyncio").addFilter(_not_of_the_front_end)
    # What ends a run of kopf is raised by it, too, and said once by whoever runs it again.
    logging.getLogger("kopf").setLevel(logging.CRITICAL)
