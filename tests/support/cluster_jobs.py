"""A FineTuneJob on the test control plane: apply it, decide its pods' fate, wait for what becomes of it."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import fates
import jobs
from api_client import STRATEGIC_PATCH
from cluster_view import Body, ClusterView, Version
from control_plane import ControlPlane
from finetune_api.names import object_name
from finetune_api.v1alpha1 import FineTuneJob
from waiting import PATIENCE

Found = TypeVar("Found")

ON_A_CLUSTER = {
    "workers": 4,
    "model.imageSize": 96,
    "data.train": "s3://bucket/flowers/train",
    "output.uri": "s3://bucket/models",
    "resources.limits": {"cpu": "100m", "memory": "256Mi"},
}
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}
PUBLISHED = {"event": "result", "result": "Published", "modelUri": "s3://bucket/models/model/1", "version": 1}
CHILDREN = ("jobs", "pods", "services", "configmaps", "networkpolicies")
OTHER_CONFIGMAPS = ("kube-root-ca.crt", "fates")
"""Of the controller manager and of the tests."""


def report(exit_code: int, **said: Any) -> str:
    """A termination message: a TrainerReport."""
    return json.dumps({"generation": 1, "exitCode": exit_code, **said})


@dataclass(frozen=True)
class Cluster:
    """A control plane, what is seen of it, and the operator that works on it."""

    plane: ControlPlane
    view: ClusterView
    operator: object
    """For whoever asks; jobs do not."""
    namespaces: list[str] = field(default_factory=list)
    """Those that were made for its jobs."""

    def namespace(self, labels: dict[str, str] | None = None) -> str:
        """A fresh one; with Pod Security at `restricted` unless it has labels of its own."""
        self.namespaces.append(self.plane.namespace(labels=labels or RESTRICTED))
        return self.namespaces[-1]

    def job(
        self, changes: dict[str, Any] | None = None, name: str = "flowers", namespace: str = ""
    ) -> "ClusterJob":
        """A job of four workers that is not applied yet, in a namespace of its own unless one is given.

        Args:
            changes: dotted paths below the spec to values.
            name: of the FineTuneJob.
            namespace: that it goes into.
        """
        document = jobs.document(ON_A_CLUSTER | (changes or {}))
        document["metadata"] = {"name": name, "namespace": namespace or self.namespace()}
        return ClusterJob(self, document)

    def start(self, changes: dict[str, Any] | None = None) -> "ClusterJob":
        """A job that is applied and whose workers run."""
        return self.job(changes).apply().until_running()


class ClusterJob:
    """One FineTuneJob; properties show what the watch has brought so far."""

    def __init__(self, cluster: Cluster, document: Body) -> None:
        self.cluster, self.document = cluster, document
        self.name: str = document["metadata"]["name"]
        self.namespace: str = document["metadata"]["namespace"]
        self.workers: int = document["spec"].get("workers", 1)
        self.object = object_name(self.name, self.workers)
        self._view, self._api = cluster.view, cluster.plane.api

    def apply(self) -> "ClusterJob":
        """POST it."""
        self._api.create("finetunejobs", self.namespace, self.document)
        return self

    def change(self, **spec: Any) -> "ClusterJob":
        """Patch fields of the spec."""
        self._api.patch("finetunejobs", self.namespace, self.name, {"spec": spec})
        return self

    def delete(self) -> None:
        """Delete the FineTuneJob."""
        self._api.delete("finetunejobs", self.namespace, self.name)

    @property
    def body(self) -> Body:
        """The FineTuneJob as it is; empty when it is not there."""
        return self._view.get("finetunejobs", self.namespace, self.name) or {}

    @property
    def status(self) -> Body:
        found: Body = self.body.get("status", {})
        return found

    @property
    def phase(self) -> str:
        return str(self.status.get("phase", ""))

    @property
    def phases(self) -> list[str]:
        """Every phase it was in, in order."""
        seen = [version.body.get("status", {}).get("phase", "") for version in self.history]
        return [one for place, one in enumerate(seen) if one and (place == 0 or seen[place - 1] != one)]

    @property
    def history(self) -> list[Version]:
        """Every version of the FineTuneJob."""
        return self._view.history("finetunejobs", self.namespace, self.name)

    def condition(self, kind: str) -> Body:
        """One of its conditions; empty while it is not there."""
        found = [one for one in self.status.get("conditions", []) if one["type"] == kind]
        return found[0] if found else {}

    @property
    def failure(self) -> Body:
        found: Body = self.status.get("lastFailure", {})
        return found

    @property
    def job(self) -> Body:
        """The Indexed Job; empty when it is not there."""
        return self._view.get("jobs", self.namespace, self.object) or {}

    def pods(self) -> list[Body]:
        """All its pods that are there, oldest first."""
        found = self._view.all("pods", self.namespace)
        return [pod for pod in found if pod["metadata"]["name"].startswith(f"{self.object}-")]

    def worker(self, index: int) -> Body | None:
        """The newest pod of a worker that is not ending."""
        found = [pod for pod in self.pods() if _index(pod) == index and not _ending(pod)]
        return found[-1] if found else None

    def pod(self, index: int) -> Body:
        """The newest pod of a worker, waited for."""
        return self.until(lambda: self.worker(index), f"worker {index}")

    def uid(self, index: int) -> str:
        """Of that pod."""
        return str(self.pod(index)["metadata"]["uid"])

    def kill(self, index: int, **options: object) -> str:
        """Delete a worker's pod; its uid."""
        pod = self.pod(index)
        self._api.delete("pods", self.namespace, pod["metadata"]["name"], **options)
        return str(pod["metadata"]["uid"])

    def kill_by_force(self, index: int) -> str:
        """Delete a worker's pod as `kubectl delete --force` does; its kubelet never says that it ended."""
        self.annotate(self.pod(index), term_after="1h")
        return self.kill(index, gracePeriodSeconds=0)

    def losses(self, index: int) -> int:
        """How many losses of a worker the delay before its next pod grows with."""
        notes = self.pod(index)["metadata"]["annotations"]
        names = (f"batch.kubernetes.io/job-index-{kind}failure-count" for kind in ("", "ignored-"))
        return sum(int(notes.get(name, 0)) for name in names)

    def worker_runs(self, index: int, unlike: str = "") -> Body | None:
        """The pod of a worker if it is Running and its uid is another than `unlike`."""
        pod = self.worker(index)
        fits = pod and pod["status"].get("phase") == "Running" and pod["metadata"]["uid"] != unlike
        return pod if fits else None

    def running_pods(self) -> list[str]:
        """Names of the pods that run."""
        return [pod["metadata"]["name"] for pod in self.pods() if pod["status"].get("phase") == "Running"]

    def ended(self, uid: str) -> bool:
        """Whether the pod with this uid is over or gone."""
        return all(_ending(pod) for pod in self.pods() if pod["metadata"]["uid"] == uid)

    def all_run(self) -> bool:
        """Whether every worker's pod is Running."""
        return all(self.worker_runs(index) for index in range(self.workers))

    def fate(self, index: int, exit_code: int, message: str = "", after: str = "") -> str:
        """Let a worker end so; the uid of its pod."""
        pod = self.pod(index)
        chosen = {"exit_code": str(exit_code), "exit_message": message, "exit_after": after}
        self.annotate(pod, **{key: value for key, value in chosen.items() if value})
        return str(pod["metadata"]["uid"])

    def annotate(self, pod: Body, **fate: object) -> None:
        """Settle what a living pod does."""
        fates.change(self._api, self.namespace, pod["metadata"]["name"], **fate)

    def coming(self, fate: dict[str, dict[str, Any]]) -> "ClusterJob":
        """Settle what all pods do that are created from now on, by worker or "any"."""
        fates.coming(self._api, self.namespace, fate)
        return self

    def write_status(self, pod: Body, status: Body) -> None:
        """Write into a pod's status as its kubelet would."""
        self._api.patch(
            "pods", self.namespace, pod["metadata"]["name"], {"status": status}, "status", STRATEGIC_PATCH
        )

    def publish(self, after: str = "") -> str:
        """The chief has published and leaves."""
        return self.fate(0, 0, report(0, result=PUBLISHED), after)

    def events(self, reason: str = "") -> list[Body]:
        """Events about the FineTuneJob."""
        found = self._view.all("events", self.namespace)
        names = (FineTuneJob.__name__, self.name)
        about = [
            one for one in found if (one["involvedObject"]["kind"], one["involvedObject"]["name"]) == names
        ]
        return [one for one in about if not reason or one["reason"] == reason]

    def left(self) -> dict[str, list[str]]:
        """Objects in its namespace that an own namespace has only because of it, by kind."""
        names = {
            kind: [one["metadata"]["name"] for one in self._view.all(kind, self.namespace)]
            for kind in ("finetunejobs", *CHILDREN)
        }
        names["configmaps"] = [name for name in names["configmaps"] if name not in OTHER_CONFIGMAPS]
        return {kind: found for kind, found in names.items() if found}

    def until(self, look: Callable[[], Found | None], what: str, within: float = PATIENCE) -> Found:
        """The first true thing that `look` finds."""
        try:
            return self._view.wait(self.namespace, look, what, within)
        except AssertionError as error:
            raise AssertionError(f"{error}; {self}") from None

    def until_running(self, within: float = PATIENCE) -> "ClusterJob":
        """All pods run and the phase is one of a started job."""
        self.until(lambda: self._runs() or self.phase == "Failed", "Running workers", within)
        assert self.phase != "Failed", str(self)
        return self

    def _runs(self) -> bool:
        # The Job is told of by another watch than its pods.
        return bool(self.job) and self.all_run() and self.phase in ("Running", "Starting")

    def until_phase(self, *phases: str, within: float = PATIENCE) -> "ClusterJob":
        """One of the phases is reached."""
        self.until(lambda: self.phase in phases, " or ".join(phases), within)
        return self

    def until_gone(self, within: float = PATIENCE) -> None:
        """Nothing of it is left."""
        self.until(lambda: not self.left(), f"empty namespace, but {self.left()}", within)

    def end_again_and_again(self, worker: int, code: int) -> int:
        """How often a worker has to end with `code` until the job is Failed."""
        ends = 0
        while (
            self.until(lambda: self.worker_runs(worker) or self.phase == "Failed", "next worker, or the end")
            is not True
        ):
            old = self.fate(worker, code)
            self.until(lambda old=old: self.ended(old), f"end of worker {worker}")  # type: ignore[misc]
            ends += 1
        return ends

    def when(self, true: Callable[[Body], bool]) -> float:
        """Monotonic time at which the status was first seen so."""
        return next(one.at for one in self.history if true(one.body.get("status", {})))

    def __str__(self) -> str:
        pods = {pod["metadata"]["name"]: (pod["status"].get("phase"), _ending(pod)) for pod in self.pods()}
        shown = {key: self.status.get(key) for key in ("phase", "summary", "lastFailure", "jobUID")}
        conditions = [(c["type"], c["status"], c.get("reason")) for c in self.status.get("conditions", [])]
        return f"{self.namespace}/{self.name}: {json.dumps(shown)} {conditions} pods {pods}"


def since(moment: float) -> float:
    """Seconds since a monotonic time."""
    return time.monotonic() - moment


def _index(pod: Body) -> int:
    index = pod["metadata"].get("annotations", {}).get("batch.kubernetes.io/job-completion-index", "")
    return int(index) if index.isdecimal() else -1


def _ending(pod: Body) -> bool:
    return "deletionTimestamp" in pod["metadata"] or pod["status"].get("phase") in ("Failed", "Succeeded")
