"""`python -m finetune_operator.smoke`: is an installation of use? What `helm test` runs.

It looks whether the operator is healthy and whether the API server takes a good job and refuses a bad one, without
making either; with --run it makes the good one and waits for its end.
"""

import argparse
import asyncio
import contextlib
import json
import secrets
import sys
import urllib.request
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from time import monotonic
from typing import Any

from finetune_api.contract import API_VERSION, KIND
from finetune_operator.api_errors import ApiError, Denied, NotFound, Unavailable
from finetune_operator.api_paths import FINETUNEJOB
from finetune_operator.cluster import Cluster, ConfigurationError, login

Body = dict[str, Any]
HEALTHY_WITHIN = 60.0
"""Seconds: the operator may have been installed a moment ago."""
EVERY = 1.0
ANSWER_WITHIN = 5.0
_DRY_RUN = "?dryRun=All&fieldValidation=Strict"
# Straight to the operator: no proxy knows its name.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Wrong(Exception):
    """The installation is of no use; the message says why."""


def main(arguments: Sequence[str]) -> int:
    """0 when all is well; 1 with the reason in the last line of the output."""
    options = _parser().parse_args(arguments)
    try:
        asyncio.run(_look(options))
    except (Wrong, ApiError, ConfigurationError) as error:
        print(f"FAILED: {error}", flush=True)
        return 1
    return 0


async def _look(options: argparse.Namespace) -> None:
    await healthy(options.health, HEALTHY_WITHIN)
    print("the operator is healthy", flush=True)
    cluster = Cluster(login(options.kubeconfig), agent="finetune-smoke")
    await cluster.open()
    try:
        spec = json.loads(options.spec.read_text(encoding="utf-8"))
        await checked(cluster, options.namespace, spec)
        print("the API server knows FineTuneJobs and checks them", flush=True)
        if options.run:
            await finished(cluster, options.namespace, spec, options.timeout)
    finally:
        await cluster.close()


async def healthy(url: str, within: float) -> None:
    """Returns when the operator says that it is. Raises Wrong if it does not `within` seconds."""
    last = ""

    async def asked() -> bool:
        nonlocal last
        last = await asyncio.to_thread(_ask, url)
        return not last

    await _until(asked, within, lambda: f"{url} does not say that the operator is healthy: {last}")


async def checked(cluster: Cluster, namespace: str, spec: Body) -> None:
    """Raises Wrong if the API server does not serve FineTuneJobs, or does not check them."""
    path = FINETUNEJOB.path(namespace)
    try:
        await cluster.create(path + _DRY_RUN, _job(spec))
    except NotFound as error:
        raise Wrong(f"the API server does not know {FINETUNEJOB.plural}.{API_VERSION}: {error}") from None
    with contextlib.suppress(Denied):
        await cluster.create(path + _DRY_RUN, _job({**spec, "workers": 0}))
        raise Wrong("the API server takes a job without workers: its CustomResourceDefinition checks nothing")


async def finished(cluster: Cluster, namespace: str, spec: Body, within: float) -> None:
    """Runs a job and deletes it once it is complete. Raises Wrong otherwise, and leaves it to be looked at."""
    made = await cluster.create(FINETUNEJOB.path(namespace), _job(spec))
    name = made["metadata"]["name"]
    path, status = FINETUNEJOB.path(namespace, name), dict[str, Any]()

    async def ended() -> bool:
        nonlocal status
        with contextlib.suppress(Unavailable):
            before, status = status, (await cluster.get(path)).get("status") or {}
            if _told(status) != _told(before):
                print(f"{name}: {_told(status)}", flush=True)
        return status.get("phase") in ("Complete", "Failed")

    await _until(ended, within, lambda: f"{namespace}/{name} is {_told(status)} after {within:.0f} s")
    if status["phase"] == "Failed":
        failure = status.get("lastFailure") or {}
        raise Wrong(f"{namespace}/{name}: {failure.get('reason')}: {failure.get('message')}")
    print(f"{name}: the model is in {(status.get('artifacts') or {}).get('modelURI')}", flush=True)
    await cluster.delete(path, made["metadata"]["uid"])


def _told(status: Body) -> str:
    summary = status.get("summary") or {}
    shown = (status.get("phase") or "not seen yet", summary.get("stage"), summary.get("progress"))
    return " ".join(str(one) for one in (*shown, summary.get("reason")) if one)


def _job(spec: Body) -> Body:
    name = f"smoke-{secrets.token_hex(4)}"
    return {"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": name}, "spec": spec}


def _ask(url: str) -> str:
    """What is wrong; nothing if the page answers with 200."""
    try:
        with _OPENER.open(url, timeout=ANSWER_WITHIN):
            return ""
    except OSError as error:
        return str(error)


async def _until(look: Callable[[], Awaitable[bool]], within: float, explain: Callable[[], str]) -> None:
    deadline = monotonic() + within
    while not await look():
        if monotonic() > deadline:
            raise Wrong(explain())
        await asyncio.sleep(EVERY)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="finetune_operator.smoke", description="Looks whether it works.")
    parser.add_argument("--health", required=True, help="URL of the operator's /healthz")
    parser.add_argument("--namespace", required=True, help="where the job is, or would be")
    parser.add_argument("--spec", type=Path, required=True, help="spec of a FineTuneJob, a JSON file")
    parser.add_argument("--run", action="store_true", help="make the job and wait for its end")
    parser.add_argument("--timeout", type=float, default=1200.0, help="seconds that it may take")
    parser.add_argument("--kubeconfig", type=Path, help="default: the pod's service account")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
