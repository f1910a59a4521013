"""The lines of a watch as events."""

import json
from collections.abc import AsyncGenerator
from typing import Any

import aiohttp

from finetune_operator.api_errors import Gone

Body = dict[str, Any]


async def events(stream: aiohttp.StreamReader) -> AsyncGenerator[Body, None]:
    """Each event as it arrives. Raises Gone at one that says that some may be missing."""
    rest = b""
    async for chunk in stream.iter_any():
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if line:
                yield _event(line)


def _event(line: bytes) -> Body:
    try:
        event: Body = json.loads(line)
        body = event["object"]
        kind = event["type"]
    except (ValueError, KeyError, TypeError) as error:
        raise Gone(f"the watch sent what is no event: {line[:80]!r}") from error
    if kind == "ERROR":
        # Whatever the server's trouble was: what it sent up to here may have a hole.
        raise Gone(f"the watch ended: {body.get('message')}", code=int(body.get("code") or 500))
    return event
