"""A FineTuneJob on real nodes: apply it, hurt it, see what becomes of it."""

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import yaml

import node_machine
from api_client import Body
from built_tools import ROOT
from node_cluster import NodeCluster
from node_logs import Line, Logs
from node_machine import Machine
from waiting import eventually

EXAMPLE = ROOT / "examples/digits/job-s3.yaml"
FINETUNE = 1
"""The stage with a tail, where a lost step hurts."""
_PATIENCE = 240.0
Found = TypeVar("Found")


@dataclass(frozen=True)
class Loss:
    """How a run got over one loss."""

    what: str
    seconds: float
    """From the deed to the first step of a later generation."""
    repeated: int
    """Steps that were done twice."""
    on_the_way: dict[str, float]
    """Seconds from the deed to what had to happen before that step."""

    def __str__(self) -> str:
        way = ", ".join(f"{what} after {seconds:.0f}" for what, seconds in self.on_the_way.items())
        return (
            f"{self.what}: first new step after {self.seconds:.1f} s ({way}), {self.repeated} steps repeated"
        )


class NodeJob:
    """The example's job with changes, in a namespace of its own. `with` follows its logs."""

    def __init__(self, cluster: NodeCluster, namespace: str, changes: dict[str, Any] | None = None) -> None:
        self.cluster, self.namespace = cluster, namespace
        self.document: Body = yaml.safe_load(EXAMPLE.read_text())
        self.document["spec"].update(changes or {})
        self.name: str = self.document["metadata"]["name"]
        self.object = f"ft-{self.name}"
        self.logs = Logs([machine.home.folder for machine in cluster.machines], namespace)
        self._api = cluster.plane.api

    def __enter__(self) -> "NodeJob":
        self.logs.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.logs.__exit__()

    def apply(self) -> "NodeJob":
        """POST it."""
        self._api.create("finetunejobs", self.namespace, self.document)
        return self

    @property
    def status(self) -> Body:
        """As the operator tells it."""
        found: Body = self._api.get("finetunejobs", self.namespace, self.name).get("status", {})
        return found

    def pod(self, worker: int) -> Body:
        """The living pod of a worker."""
        return self.until(lambda: self._living().get(worker), f"pod of worker {worker}")

    def until(self, look: Callable[[], Found | None], what: str, within: float = _PATIENCE) -> Found:
        """The first true thing that `look` finds."""
        return eventually(look, within, lambda: f"no {what}\n{self}", every=0.2)

    def until_training(self, chunks: int = 1) -> None:
        """The stage with a tail trains."""

        def look() -> bool:
            found = [line for line in self.logs.events("chunk") if line.event["stage"] == FINETUNE]
            assert self.status.get("phase") not in ("Complete", "Failed"), str(self)
            return len(found) >= chunks

        self.until(look, f"{chunks} chunks of the stage with a tail")

    def until_settled(self) -> None:
        """It trains as if nothing had ever happened: something new is saved, and earlier losses are forgotten."""
        self.until_training(3)
        pods = self.until(lambda: self._all_run(), "running workers")
        begun = max(line.at for line in self.logs.events("firstStep"))
        self.until(lambda: self.logs.events("checkpoint", after=begun), "new checkpoint")
        self.until(lambda: not any(map(_losses, self._living().values())), f"forgotten losses of {pods}")

    def until_complete(self) -> Body:
        """Its status then."""
        self.until(lambda: self.status.get("phase") in ("Complete", "Failed"), "end", within=900)
        status = self.status
        assert status["phase"] == "Complete", str(self)
        return status

    def lose(self, what: str, act: Callable[[], object]) -> Loss:
        """Do it while the job trains; returns when a later generation has done its first step."""
        before = self.logs.events("chunk")[-1].event["generation"]
        at = time.time()
        act()

        def look() -> Line | None:
            firsts = self.logs.events("firstStep", after=at)
            return next((line for line in firsts if line.event["generation"] > before), None)

        first = self.until(look, f"first step after: {what}")
        chunk = self.until(lambda: next(iter(self._chunks_of(first.event["generation"])), None), "chunk")
        # What an earlier loss has cost and nobody has done again yet is not this one's.
        reached = self._chunks_of(before)[-1].event["globalStep"]
        resumed = chunk.event["globalStep"] - chunk.event["steps"]
        way = {key: when - at for key, when in self._way_to(first).items() if when > at - 1}
        loss = Loss(what, first.at - at, max(0, reached - resumed), way)
        print(loss)
        return loss

    def machine(self, worker: int) -> Machine:
        """The node that a worker runs on."""
        return self.cluster.machine_of(self.pod(worker))

    def supervisor(self, worker: int) -> int:
        """Process id, on this machine, of a worker's first process."""
        pod = self.pod(worker)
        found = self.cluster.machine_of(pod).processes(pod["metadata"]["uid"])
        return next(pid for pid in found if node_machine.parent(pid) not in found)

    def trainer(self, worker: int) -> int:
        """Process id, on this machine, of a worker's training process: a child of its zygote."""
        supervisor = self.supervisor(worker)

        def look() -> int | None:
            zygotes = node_machine.children(supervisor)
            return next((child for zygote in zygotes for child in node_machine.children(zygote)), None)

        return self.until(look, f"training process of worker {worker}")

    def kill(self, process: int) -> None:
        os.kill(process, signal.SIGKILL)

    def kubectl(self, *arguments: str) -> str:
        return self.cluster.plane.kubectl("-n", self.namespace, *arguments)

    def results(self) -> Path:
        """What it has published, as files of the object store."""
        return self.cluster.store.folder / "digits/models" / self.namespace / self.name

    def __str__(self) -> str:
        shown = self.cluster.plane.kubectl(
            "get", "ftj,pods,events", "-n", self.namespace, "-o", "wide", check=False
        )
        return f"{shown}\n{self.status}\n{self.logs.tail()}"

    def _way_to(self, step: Line) -> dict[str, float]:
        """When things before it happened; what Kubernetes tells is in whole seconds."""
        youngest = max(self._living().values(), key=lambda pod: str(pod["metadata"]["creationTimestamp"]))
        (container,) = youngest["status"]["containerStatuses"]
        start = f"generation {step.event['generation']} starts"
        return {
            "pod": _seconds(youngest["metadata"]["creationTimestamp"]),
            "container": _seconds(container["state"]["running"]["startedAt"]),
            "generation": next(line.at for line in self.logs.lines if line.text.startswith(start)),
        }

    def _all_run(self) -> list[str]:
        pods = self._living()
        run = [pod["metadata"]["name"] for pod in pods.values() if pod["status"].get("phase") == "Running"]
        return run if len(run) == self.document["spec"]["workers"] else []

    def _living(self) -> dict[int, Body]:
        return self.cluster.plane.pods_of(self.namespace, self.object)

    def _chunks_of(self, generation: int) -> list[Line]:
        return [line for line in self.logs.events("chunk") if line.event["generation"] == generation]


def _seconds(told: str) -> float:
    """Of Kubernetes' kind of time."""
    return datetime.fromisoformat(told).timestamp()


def _losses(pod: Body) -> int:
    """How many losses of its index the Job controller remembers; each doubles its delay."""
    found = pod["metadata"].get("annotations", {})
    names = ("job-index-failure-count", "job-index-ignored-failure-count")
    return sum(int(found.get(f"batch.kubernetes.io/{name}") or 0) for name in names)
