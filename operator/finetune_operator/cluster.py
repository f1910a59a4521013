"""The Kubernetes API: the one module that imports `kubernetes`. Bodies are dicts, never models.

Models would cost ten times the time and memory of the JSON they are made from.
"""

import asyncio
import contextlib
import json
import urllib.request
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any, Literal
from urllib.parse import urlencode

import aiohttp
import yaml
from kubernetes.aio.client.api_client import ApiClient
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.config import ConfigException, load_incluster_config, load_kube_config
from yarl import URL

from finetune_operator import api_calls, event_stream
from finetune_operator.api_calls import Call
from finetune_operator.api_errors import ApiError, Unavailable, error_of
from finetune_operator.clock import ServerClock
from finetune_operator.rate_limit import TokenBucket

Body = dict[str, Any]
Method = Literal["GET", "POST", "PATCH", "DELETE"]
MERGE = "application/merge-patch+json"
KEYED_MERGE = "application/strategic-merge-patch+json"
PAUSE_AFTER_429 = 1.0
"""Seconds, when the server gives none."""
RELOAD_AT_MOST_EVERY = 5.0
GOODBYE = 0.1
KEEP_ALIVE = 60.0
"""Seconds; the API server closes idle connections after 90."""
LONGEST_EVENT = 1 << 21
"""Bytes that are buffered: the API server stores nothing longer."""

UNREADABLE = (ConfigException, yaml.YAMLError, OSError, AttributeError, KeyError, TypeError, ValueError)
"""What credentials that are not as they should be raise."""
BROKEN = (aiohttp.ClientError, asyncio.TimeoutError, OSError)
"""What a connection that fails raises."""


@dataclass(frozen=True)
class Limits:
    """How hard the API server may be used. Times in seconds."""

    rate: float = 50.0
    burst: int = 100
    page: int = 500
    request: float = 30.0
    watch: float = 290.0
    silence: float = 90.0
    """Without a byte for so long a watch is dead: bookmarks come once a minute."""


class Cluster:
    """One connection to the API server. Every path is built from `api_paths`, never from user input."""

    def __init__(
        self,
        login: Callable[[], Awaitable[Configuration]],
        limits: Limits = Limits(),
        on_call: Callable[[Call], None] | None = None,
        agent: str = "finetune-operator",
    ) -> None:
        self._login = login
        self._limits = limits
        self._on_call = on_call or (lambda _: None)
        self._agent = agent
        self.clock = ServerClock()
        self._client: ApiClient | None = None
        self._loaded = -RELOAD_AT_MOST_EVERY
        self._bucket = TokenBucket(limits.rate, limits.burst)
        self.guard: Callable[[], None] = lambda: None
        """Asked as each write goes out that is not urgent; raises to keep it back."""

    @property
    def server(self) -> str:
        """URL of the API server, once `open` has returned."""
        return str(self._opened().configuration.host)

    async def open(self) -> None:
        """Reads the credentials. Raises ConfigurationError if there are none."""
        try:
            configuration = await self._login()
        except UNREADABLE as error:
            raise ConfigurationError(f"cannot connect to Kubernetes: {error}") from error
        client = ApiClient(configuration)
        client.rest_client.pool_manager = self._session(client)
        client.user_agent = self._agent
        old, self._client, self._loaded = self._client, client, monotonic()
        if old:
            await old.close()

    async def close(self) -> None:
        """Closes every connection."""
        if self._client:
            await self._client.close()
            # Watches that were cut say good-bye to the server by themselves.
            await asyncio.sleep(GOODBYE)

    def session(self) -> aiohttp.ClientSession:
        """A session of its own, with the same credentials and metrics, for the running event loop."""
        session = self._session(self._opened())
        session.headers["User-Agent"] = f"{self._agent}/front-end"
        return session

    def _session(self, client: ApiClient) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            # Longer than aiohttp's 15 s: a handshake costs as much as ten requests.
            connector=aiohttp.TCPConnector(ssl=client.rest_client.ssl_context, keepalive_timeout=KEEP_ALIVE),
            middlewares=(_bearer(client.configuration),),
            trace_configs=[api_calls.trace(self._on_call, self.clock)],
            read_bufsize=LONGEST_EVENT,
            proxy=client.configuration.proxy or _environment_proxy(URL(client.configuration.host)),
        )

    async def get(self, path: str, *, urgent: bool = False) -> Body:
        """Reads one object, at the newest version. `urgent` skips the rate limit."""
        return await self._request("GET", path, urgent=urgent)

    async def create(self, path: str, body: Mapping[str, Any], *, urgent: bool = False) -> Body:
        """POSTs an object to its collection; returns it as stored."""
        return await self._request("POST", path, body, urgent=urgent)

    async def patch(
        self, path: str, body: Mapping[str, Any], *, keyed: bool = False, urgent: bool = False
    ) -> Body:
        """Merge-patches an object; `metadata.uid` and `.resourceVersion` in `body` are preconditions.

        With `keyed` lists are merged by the keys of their items, which Kubernetes' own kinds have.
        """
        content = KEYED_MERGE if keyed else MERGE
        return await self._request("PATCH", path, body, content=content, urgent=urgent)

    async def delete(self, path: str, uid: str, grace_seconds: int | None = None) -> None:
        """Deletes the object with this uid; what it owns goes in the background."""
        options: Body = {"propagationPolicy": "Background", "preconditions": {"uid": uid}}
        if grace_seconds is not None:
            options["gracePeriodSeconds"] = grace_seconds
        await self._request("DELETE", path, options)

    async def list(self, path: str, **query: str) -> AsyncGenerator[Body, None]:
        """Pages of the collection, each a List object. Raises Gone if the list grew too old on the way."""
        token = ""
        while True:
            more = {"continue": token} if token else {}
            page = await self._request("GET", path, query=query | {"limit": str(self._limits.page)} | more)
            yield page
            token = (page.get("metadata") or {}).get("continue") or ""
            if not token:
                return

    async def watch(self, path: str, version: str, **query: str) -> AsyncGenerator[Body, None]:
        """Events after `version`, BOOKMARKs among them, until the server ends the stream.

        Raises Gone if `version` is too old or the stream carries an error, Unavailable on a broken
        connection and on silence.
        """
        query |= {"watch": "true", "allowWatchBookmarks": "true", "resourceVersion": version}
        query["timeoutSeconds"] = str(int(self._limits.watch))
        timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=self._limits.request, sock_read=self._limits.silence
        )
        response = await self._send("GET", f"{path}?{urlencode(query)}", timeout=timeout)
        try:
            async for event in event_stream.events(response.content):
                yield event
        except BROKEN as error:
            raise Unavailable(f"watch of {path} broke: {_told(error)}") from error
        finally:
            response.close()

    async def _request(
        self,
        method: Method,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        query: Mapping[str, str] | None = None,
        content: str = "application/json",
        urgent: bool = False,
    ) -> Body:
        if not urgent:
            # That may take a while: whoever may not write any more must not do so afterwards.
            await self._bucket.take()
            if method != "GET":
                self.guard()
        url = f"{path}?{urlencode(query)}" if query else path
        timeout = aiohttp.ClientTimeout(total=self._limits.request)
        response = await self._send(method, url, body, content=content, timeout=timeout)
        try:
            answer: Any = json.loads(await response.read())
        except (*BROKEN, ValueError) as error:
            raise Unavailable(f"the answer to {method} {path} broke off: {_told(error)}") from error
        finally:
            response.release()
        return answer if isinstance(answer, dict) else {}

    async def _send(
        self,
        method: Method,
        url: str,
        body: Mapping[str, Any] | None = None,
        *,
        content: str = "application/json",
        timeout: aiohttp.ClientTimeout,
    ) -> aiohttp.ClientResponse:
        client = self._opened()
        headers = {"Content-Type": content, "Accept": "application/json", **client.default_headers}
        try:
            answer = await client.rest_client.request(
                method, client.configuration.host + url, headers, body, _request_timeout=timeout
            )
            response: aiohttp.ClientResponse = answer.response
            if response.status < 300:
                return response
            error = error_of(response.status, await response.read(), response.headers.get("Retry-After"))
        except BROKEN as error_:
            raise Unavailable(f"no answer from the API server: {_told(error_)}") from error_
        await self._learn(error)
        raise error

    async def _learn(self, error: ApiError) -> None:
        if isinstance(error, Unavailable) and error.code == 429:
            error.retry_after = error.retry_after or PAUSE_AFTER_429
            self._bucket.close_for(error.retry_after)
        if error.code == 401 and monotonic() - self._loaded >= RELOAD_AT_MOST_EVERY:
            # A kubeconfig is read once; its token or certificate may have been replaced since.
            with contextlib.suppress(ConfigurationError):
                await self.open()

    def _opened(self) -> ApiClient:
        if self._client is None:
            raise RuntimeError("the cluster is not open")
        return self._client


class ConfigurationError(Exception):
    """There are no usable credentials."""


def login(kubeconfig: Path | None) -> Callable[[], Awaitable[Configuration]]:
    """Reads `kubeconfig`; without one the service account of the pod, else the user's own kubeconfig."""

    async def read() -> Configuration:
        configuration = Configuration()
        if kubeconfig:
            await load_kube_config(str(kubeconfig), client_configuration=configuration, persist_config=False)
            return configuration
        try:
            load_incluster_config(client_configuration=configuration)
        except ConfigException:
            await load_kube_config(client_configuration=configuration, persist_config=False)
        return configuration

    return read


def _environment_proxy(server: URL) -> str | None:
    # aiohttp's trust_env would ask the environment again for each request, in a thread.
    if not server.host or urllib.request.proxy_bypass(server.host):
        return None
    return urllib.request.getproxies().get(server.scheme)


def _bearer(configuration: Configuration) -> aiohttp.ClientMiddlewareType:
    """Adds the token to each request; the one of a pod is read again every minute."""
    origin = URL(configuration.host).origin()

    async def authorize(
        request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        token = await configuration.get_api_key_with_prefix("BearerToken")
        if token and request.url.origin() == origin:
            request.headers["Authorization"] = token
        return await handler(request)

    return authorize


def _told(error: BaseException) -> str:
    return str(error) or type(error).__name__
