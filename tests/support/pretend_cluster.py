"""A FineTuneJob and its objects as plain bodies, on which plans are carried out without an API server.

Things happen to them as a test says; the Job controller's part is played by hand.
"""

from copy import deepcopy
from datetime import datetime, timedelta
from typing import Any

import jobs
from finetune_api.contract import Label
from finetune_api.progress import Progress
from finetune_api.v1alpha1 import FineTuneJobStatus
from finetune_operator import views
from finetune_operator.observed import EventView, Observed, Resource, Sample
from finetune_operator.plan import Action, Create, Delete, Note, Patch, Plan
from finetune_operator.reconcile import decide
from finetune_operator.settings import Settings
from pretend_objects import ON_A_CLUSTER, START, UID, Body, merge, time


class PretendCluster:
    """One FineTuneJob named flowers, of four workers unless `changes` say otherwise."""

    def __init__(self, changes: dict[str, Any] | None = None, settings: Settings | None = None) -> None:
        self.settings = settings or Settings()
        self.now = START
        self.body: Body = jobs.document(ON_A_CLUSTER | (changes or {}))
        self.body["metadata"] = {
            "name": "flowers",
            "namespace": "ns",
            "uid": UID,
            "generation": 1,
            "resourceVersion": "1",
            "creationTimestamp": time(START),
        }
        self.children: dict[str, Body] = {}
        self.job: Body | None = None
        self.pods: list[Body] = []
        self.workload: Body | None = None
        self.nodes: dict[str, Body] = {}
        self.events: tuple[EventView, ...] | None = None
        self.events_time: datetime | None = None
        self.sample: Sample | None = None
        self.more: dict[str, Any] = {}  # other fields of Observed
        self.notes: list[Note] = []
        self.writes: list[Action | FineTuneJobStatus] = []
        self.checks = 0
        self._uids = 0

    # What the operator does

    @property
    def resource(self) -> Resource:
        """The FineTuneJob as the operator sees it."""
        return views.read(self.body)

    @property
    def status(self) -> FineTuneJobStatus:
        """Its status."""
        return self.resource.status

    def observed(self) -> Observed:
        """The rest of what the operator sees."""
        known: dict[str, Any] = {
            "job": views.job(self.job) if self.job else None,
            "pods": tuple(filter(None, map(views.pod, self.pods))),
            "children": {kind: view for kind, body in self.children.items() if (view := views.child(body))},
            "workload": views.workload(self.workload) if self.workload else None,
            "nodes": {name: node for name, body in self.nodes.items() if (node := views.node(body))},
            "events": self.events,
            "events_time": self.events_time,
            "sample": self.sample,
        }
        return Observed(**known | self.more)

    def plan(self) -> Plan:
        """What the operator wants now."""
        return decide(self.resource, self.observed(), self.settings, self.now)

    def step(self) -> Plan:
        """One round: decide and carry out."""
        plan = self.plan()
        for action in plan.actions:
            self._carry_out(action)
        if plan.status is not None:
            self._write(plan.status)
        self.notes += plan.notes
        self.checks += plan.check
        return plan

    def settle(self) -> Plan:
        """Rounds until nothing more is written; the last plan."""
        for _ in range(10):
            plan = self.step()
            if not plan.actions and plan.status is None:
                return plan
        raise AssertionError(f"never at rest: {plan}")

    def crash_everywhere(self) -> None:
        """The operator dies after each single write of a plan, and starts anew."""
        while (plan := self.plan()).actions or plan.status is not None:
            if plan.actions:
                self._carry_out(plan.actions[0])
            elif plan.status is not None:
                self._write(plan.status)

    # What happens

    def after(self, seconds: float, *, settle: bool = True) -> Plan:
        """Time goes by, then the operator works until it is done, or one round."""
        self.now += timedelta(seconds=seconds)
        return self.settle() if settle else self.step()

    def begin(self) -> "PretendCluster":
        """Created, and the Job controller has made all pods."""
        self.settle()
        self.start_job()
        for index in range(self.workers):
            self.add_pod(index)
        return self

    def run(self) -> "PretendCluster":
        """All workers are up."""
        self.begin()
        self.now += timedelta(seconds=5)
        for index in range(self.workers):
            self.make_ready(index)
        self.settle()
        return self

    @property
    def workers(self) -> int:
        """How many the spec asks for."""
        return int(self.body["spec"].get("workers", 1))

    def change(self, **spec: Any) -> None:
        """A user edits the spec."""
        merge(self.body["spec"], spec)
        self.body["metadata"]["generation"] += 1

    def start_job(self) -> None:
        """The Job controller has seen an un-suspended Job."""
        assert self.job is not None
        self.job["status"] = {"startTime": time(self.now), "conditions": []}

    def hold_job(self) -> None:
        """The Job controller has seen a suspended Job: its pods are gone."""
        assert self.job is not None
        condition = {
            "type": "Suspended",
            "status": "True",
            "reason": "JobSuspended",
            "lastTransitionTime": time(self.now),
        }
        self.job.setdefault("status", {})["conditions"] = [condition]
        self.pods.clear()

    def end_job(self, kind: str, reason: str = "", message: str = "", stops: bool = True) -> None:
        """The Job gets a condition; if it failed, the workers that are left are told to stop, and do."""
        assert self.job is not None
        condition = {"type": kind, "status": "True", "reason": reason, "message": message}
        self.job["status"].setdefault("conditions", []).append(
            condition | {"lastTransitionTime": time(self.now)}
        )
        if kind == "FailureTarget" and stops:
            for pod in self.pods:
                if pod["status"]["phase"] == "Running":
                    self.end_pod(int(pod["metadata"]["name"].split("-")[2]), 143)

    def add_pod(self, index: int, **status: Any) -> Body:
        """The Job controller makes a pod."""
        assert self.job is not None
        pod: Body = {
            "kind": "Pod",
            "metadata": {
                "name": f"ft-flowers-{index}-{len(self.pods):05d}",
                "namespace": "ns",
                "uid": self._uid(),
                "creationTimestamp": time(self.now),
                "annotations": {Label.INDEX.value: str(index)},
                "ownerReferences": [
                    {
                        "kind": "Job",
                        "name": "ft-flowers",
                        "uid": self.job["metadata"]["uid"],
                        "controller": True,
                    }
                ],
            },
            "spec": {},
            "status": {"phase": "Pending", **status},
        }
        self.pods.append(pod)
        return pod

    def pod(self, index: int) -> Body:
        """The newest pod of a worker."""
        return [pod for pod in self.pods if pod["metadata"]["annotations"][Label.INDEX] == str(index)][-1]

    def make_ready(self, index: int) -> None:
        """A worker's supervisor is up."""
        pod = self.pod(index)
        pod["spec"]["nodeName"] = f"node-{index}"
        pod["status"] = {
            "phase": "Running",
            "podIP": f"127.0.1.{index + 1}",
            "conditions": [{"type": "Ready", "status": "True"}, {"type": "PodScheduled", "status": "True"}],
            "containerStatuses": [
                {
                    "name": "trainer",
                    "state": {"running": {"startedAt": time(self.now)}},
                    "imageID": "img@sha256:aa",
                }
            ],
        }

    def end_pod(
        self, index: int, code: int | None, message: str = "", reason: str = "Error", **status: Any
    ) -> None:
        """A worker's container ends; without a code the pod is just declared failed."""
        pod = self.pod(index)
        phase = "Succeeded" if code == 0 else "Failed"
        ended = {"exitCode": code, "reason": reason, "message": message, "finishedAt": time(self.now)}
        containers = [] if code is None else [{"name": "trainer", "state": {"terminated": ended}}]
        kept = [one for one in pod["status"].get("conditions", []) if one["type"] != "Ready"]
        conditions = [*kept, *status.pop("conditions", [])]
        pod["status"] = {"phase": phase, "containerStatuses": containers, "conditions": conditions, **status}

    def hear(self, **progress: Any) -> None:
        """Worker 0 answers with its progress."""
        values: Body = {
            "generation": 1,
            "phase": "Step",
            "num_stages": 2,
            "stage_name": "head",
            "epoch": 1,
            "epochs": 5,
            "steps_per_epoch": 10,
            "workers_ready": self.workers,
            "workers": self.workers,
        }
        uid = self.pod(0)["metadata"]["uid"]
        self.sample = Sample(Progress(**{**values, **progress}), self.now, uid)

    def warn(self, kind: str, name: str, reason: str, message: str) -> None:
        """Events as they are listed from now on."""
        found = EventView(kind, name, reason, message, self.now)
        self.events = (*(self.events or ()), found)
        self.events_time = self.now

    # How plans are carried out

    def _carry_out(self, action: Action) -> None:
        self.writes.append(action)
        match action:
            case Create(manifest):
                self._create(deepcopy(dict(manifest)))
            case Patch(kind, _, uid, body):
                merge(self._find(kind, uid), body, keyed=action.keyed)
            case Delete(kind, _, uid):
                self._delete(kind, uid)

    def _create(self, body: Body) -> None:
        body["metadata"] |= {"uid": self._uid(), "creationTimestamp": time(self.now)}
        if body["kind"] == "Job":
            assert self.job is None, "a second Job"
            self.job = body
        else:
            assert body["kind"] not in self.children, "made twice"
            self.children[body["kind"]] = body

    def _delete(self, kind: str, uid: str) -> None:
        self._find(kind, uid)
        if kind == "Pod":
            self.pods = [pod for pod in self.pods if pod["metadata"]["uid"] != uid]
        else:
            assert kind == "FineTuneJob"
            self.body["metadata"]["deletionTimestamp"] = time(self.now)

    def _find(self, kind: str, uid: str) -> Body:
        held = [self.body, self.job, self.workload, *self.children.values(), *self.pods]
        kinds = [
            body for body in held if body and body.get("kind") == kind and body["metadata"]["uid"] == uid
        ]
        assert len(kinds) == 1, f"no {kind} {uid}"
        return kinds[0]

    def _write(self, status: FineTuneJobStatus) -> None:
        self.writes.append(status)
        self.body["status"] = status.model_dump(mode="json", by_alias=True, exclude_none=True)

    def _uid(self) -> str:
        self._uids += 1
        return f"uid-{self._uids}"
