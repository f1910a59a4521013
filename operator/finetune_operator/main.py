"""The process: `python -m finetune_operator --config FILE [--kubeconfig FILE]`.

One loop around everything: campaign for the Lease, act while it is held, and begin again when it is lost or
something broke. The process ends only when told to, or when it can never be of use.
"""

import argparse
import asyncio
import gc
import logging
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from finetune_api.contract import ExitCode
from finetune_api.errors import FineTuneError
from finetune_operator import logs
from finetune_operator.cluster import Cluster, ConfigurationError, Limits, login
from finetune_operator.metrics import Metrics
from finetune_operator.operator import NotInstalled, Operator
from finetune_operator.settings import Settings

log = logging.getLogger(__name__)

DISTRIBUTION = "finetune-operator"
OBJECTS_PER_COLLECTION = 10_000


def main(arguments: Sequence[str], environment: Mapping[str, str] = os.environ) -> int:
    """The exit status of `contract.ExitCode`; 0 when told to stop."""
    options = _parser().parse_args(arguments)
    try:
        settings = Settings.read(options.config, environment)
    except FineTuneError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    logs.set_up(settings.log_level)
    # What was imported stays: the collector need not look at it again and again.
    gc.freeze()
    gc.set_threshold(OBJECTS_PER_COLLECTION, 10, 10)
    try:
        asyncio.run(_serve(settings, options.kubeconfig))
    except (NotInstalled, ConfigurationError, OSError) as error:
        log.critical("%s", error)
        return ExitCode.BAD_CONFIGURATION
    return ExitCode.OK


async def _serve(settings: Settings, kubeconfig: Path | None) -> None:
    number = version(DISTRIBUTION)
    metrics = Metrics(number)
    client = settings.client
    limits = Limits(
        rate=client.qps,
        burst=client.burst,
        page=client.page_size,
        request=client.timeout_seconds,
        watch=settings.timings.watch_seconds,
        silence=settings.timings.watch_silence_seconds,
    )
    cluster = Cluster(login(kubeconfig), limits, metrics.called, f"{DISTRIBUTION}/{number}")
    operator = Operator(settings, cluster, metrics)
    loop = asyncio.get_running_loop()
    for kind in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(kind, operator.stop)
    try:
        await operator.run()
    finally:
        await cluster.close()
    log.info("stopped")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="finetune_operator", description="Runs FineTuneJobs on Kubernetes.")
    parser.add_argument("--config", type=Path, help="settings, a YAML file")
    parser.add_argument("--kubeconfig", type=Path, help="default: the pod's service account, else kubectl's")
    return parser
