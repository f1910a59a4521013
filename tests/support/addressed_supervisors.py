"""Runs the real supervisor as pods would, one pod after the other, in a network whose DNS is a table.

As a program: JSON lines {"folder", "environment"} on standard input, one report each on standard output.
"""

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from api_client import Body
from escalations import NAMES
from finetune_api.contract import Env
from finetune_api.events import TrainerReport
from finetune_supervisor.report import ReportFile
from finetune_supervisor.settings import Settings
from finetune_supervisor.supervisor import supervise

ROOT = Path(__file__).parents[2]
NO_ZYGOTE = ("sleep", "60")
"""Nothing is trained here."""
_LOOPS: list[asyncio.AbstractEventLoop] = []


def end(folder: Path, pods: Sequence[tuple[Body, Body]]) -> list[TrainerReport]:
    """How the supervisors of one-worker jobs end, given the Job and the ConfigMap of each as they are in the API."""
    lines = []
    for number, (job, config) in enumerate(pods):
        place = folder / str(number)
        place.mkdir()
        (place / "job.json").write_text(config["data"]["job.json"])
        (container,) = job["spec"]["template"]["spec"]["containers"]
        environment = {one["name"]: one.get("value", "") for one in container["env"]}
        lines.append(json.dumps({"folder": str(place), "environment": environment}) + "\n")
    paths = os.pathsep.join(str(ROOT / part) for part in ("operator", "trainer_image", "tests/support"))
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("FINETUNE_", "AWS_"))}
    done = subprocess.run(
        [sys.executable, __file__],
        input="".join(lines),
        env={**clean, "PYTHONPATH": paths},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=120,
    )
    return [TrainerReport.model_validate_json(line) for line in done.stdout.splitlines()]


def main() -> None:
    """The program."""
    ask, outside = socket.getaddrinfo, dict(os.environ)

    def getaddrinfo(host: Any, *rest: Any, **options: Any) -> list[Any]:
        if host in NAMES:
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (NAMES[host], 0))]
        return list(ask(host, *rest, **options))

    socket.getaddrinfo = getaddrinfo
    for line in sys.stdin:
        asked = json.loads(line)
        os.environ.clear()
        os.environ.update(outside | asked["environment"] | _places(Path(asked["folder"])))
        print(_report(), flush=True)
    os._exit(0)  # threads that wait for a storage are waited for by nobody


def _places(folder: Path) -> dict[str, str]:
    """What a pod finds elsewhere."""
    return {
        Env.JOB.value: str(folder / "job.json"),
        Env.INDEX.value: "0",
        Env.HTTP.value: "127.0.0.1:0",
        Env.SCRATCH.value: str(folder),
        Env.TERMINATION.value: str(folder / "termination"),
        "HOME": str(folder),
    }


def _report() -> str:
    settings = Settings.read(os.environ)
    file = ReportFile(settings.termination)
    loop = asyncio.new_event_loop()
    # Kept: threads that wait for a storage hold it too, and the last to let go may not close it.
    _LOOPS.append(loop)
    code = loop.run_until_complete(supervise(settings, file, NO_ZYGOTE))
    report = TrainerReport.model_validate_json(settings.termination.read_bytes())
    assert report.exit_code == code
    return report.model_dump_json(by_alias=True)


if __name__ == "__main__":
    main()
