"""Asks worker 0's supervisor for its progress: GET /progress at a pod's address, and nowhere else."""

import ipaddress

import aiohttp
from pydantic import ValidationError

from finetune_api.contract import HTTP_PORT
from finetune_api.progress import Progress

MOST_BYTES = 1 << 20
"""What is longer is not read: the pod belongs to a user."""


class ProgressClient:
    """No proxy, no redirects, no cookies: what answers is whatever runs in a user's pod."""

    def __init__(self, timeout: float, port: int = HTTP_PORT) -> None:
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=timeout),
            connector=aiohttp.TCPConnector(limit=0, force_close=True),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
        )
        self._port = port

    async def close(self) -> None:
        """Closes every connection."""
        await self._session.close()

    async def fetch(self, ip: str) -> Progress:
        """What the supervisor at this pod address reports. Raises Unreachable with the reason."""
        try:
            url = f"http://{_host(ip)}:{self._port}/progress"
            async with self._session.get(url, allow_redirects=False) as response:
                if response.status != 200:
                    raise Unreachable(f"{ip} answered {response.status}")
                body = await _read(response.content)
            # A newer trainer may say more than is understood here.
            return Progress.model_validate_json(body, extra="ignore")
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError, ValidationError) as error:
            raise Unreachable(f"{ip}: {str(error)[:200] or type(error).__name__}") from error


class Unreachable(Exception):
    """Worker 0 did not say how far it is."""


def _host(ip: str) -> str:
    address = ipaddress.ip_address(ip)
    if address.is_link_local or address.is_multicast or address.is_unspecified:
        # A pod never has such an address; a cloud's metadata server does.
        raise ValueError("not an address of a pod")
    return f"[{address}]" if address.version == 6 else str(address)


async def _read(stream: aiohttp.StreamReader) -> bytes:
    body = bytearray()
    async for chunk in stream.iter_any():
        body += chunk
        if len(body) > MOST_BYTES:
            raise ValueError(f"more than {MOST_BYTES} bytes")
    return bytes(body)
