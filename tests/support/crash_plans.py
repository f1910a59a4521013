"""Crash plans: a life of a FineTuneJob, the operator crashed at one of its writes, held against the same undisturbed.

Each plan has a namespace, a proxy and an operator of its own, so that many run at once.
"""

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from api_proxy import ApiProxy
from cluster_jobs import Cluster, ClusterJob
from cluster_view import ClusterView
from end_states import State, differences, end_state, objects_ever
from fault_rig import NO_LEASE, Rig
from proxy_faults import Crash, Exchange
from workloads import WITHIN, Workload

HURRIED = {**NO_LEASE, "deadNodes": False, "timings": {"reportWaitSeconds": 10.0}}
QUIET = 0.5
"""Seconds without a write after which the operator counts as at rest."""
SPARE_WRITES = 4
"""Writes more than undisturbed that a crash may cost: the repeated one, and what was in flight beside it."""


@dataclass(frozen=True)
class Plan:
    """One life and what happens in it."""

    workload: Workload
    crash: Crash | None = None

    def __str__(self) -> str:
        if self.crash is None:
            return f"{self.workload.name}, undisturbed"
        return f"{self.workload.name}, write {self.crash.number} {self.crash.when}"


@dataclass
class Run:
    """How a plan went."""

    plan: Plan
    seconds: float = 0.0
    writes: list[Exchange] = field(default_factory=list)
    """Of all the plan's operators."""
    state: State = field(default_factory=dict)
    objects: Counter[str] = field(default_factory=Counter)
    told: Counter[str] = field(default_factory=Counter)
    """Kubernetes Events by reason."""
    faults: list[str] = field(default_factory=list)
    """What is not as it has to be; empty: the plan passed."""

    @property
    def unmet(self) -> bool:
        """The write to crash at never came: in this run there were fewer."""
        return self.faults == [UNMET]


UNMET = "the write to crash at never came"


@dataclass(frozen=True)
class Reference:
    """How a life goes undisturbed: two runs, since what differs between them says nothing."""

    runs: tuple[Run, Run]

    @property
    def writes(self) -> int:
        return min(len(run.writes) for run in self.runs)

    def against(self, state: State) -> dict[str, tuple[object, object]]:
        """Where a state is not as it has to be."""
        one, other = self.runs
        return differences(one.state, state, masked=differences(one.state, other.state))

    def plans(self) -> Iterator[Plan]:
        """Every write, each time in three ways."""
        for number in range(1, self.writes + 1):
            for when in ("before", "after", "lost"):
                yield Plan(self.runs[0].plan.workload, Crash(number, when))


def record(rig: Rig, workload: Workload) -> Reference:
    """Live a life twice, undisturbed."""
    runs = (run(rig, Plan(workload)), run(rig, Plan(workload)))
    for each in runs:
        assert not each.faults, f"{each.plan}: {each.faults}"
    return Reference(runs)


def run(rig: Rig, plan: Plan, reference: Reference | None = None) -> Run:
    """Carry out one plan and judge it."""
    begun, result = time.monotonic(), Run(plan)
    namespace = rig.plane.namespace()
    proxy = rig.proxy()
    proxy.crash = plan.crash
    with Kept(rig, namespace, proxy) as operator:
        job = Cluster(rig.plane, rig.view, operator.now).job(
            {"workers": 2, **plan.workload.spec}, namespace=namespace
        )
        try:
            plan.workload.live(job)
            proxy.until_at_rest(QUIET, WITHIN)
            if reference:
                _until_like(reference, rig.view, namespace)
        except AssertionError as error:
            result.faults.append(str(error))
        if not operator.now.running:
            result.faults.append("the operator ended by itself")
    proxy.close()
    result.writes, result.seconds = proxy.writes(), time.monotonic() - begun
    result.state, result.objects = end_state(rig.view, namespace), objects_ever(rig.view, namespace)
    result.told = Counter(event["reason"] for event in job.events())
    result.faults += [*_faults_alone(result, job), *(_faults_beside(result, reference) if reference else ())]
    if plan.crash and not result.faults and not proxy.struck.is_set():
        result.faults.append(UNMET)
    return result


class Kept:
    """An operator that is started again when the plan has killed it."""

    def __init__(self, rig: Rig, namespace: str, proxy: ApiProxy) -> None:
        self._rig, self._namespace, self._proxy = rig, namespace, proxy
        self._over = False
        self._keeper = threading.Thread(target=self._keep, name=f"keep-{namespace}", daemon=True)

    def __enter__(self) -> "Kept":
        self._start()
        if self._proxy.crash and self._proxy.crash.when != "lost":
            self._keeper.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over = True
        if self._keeper.ident:
            struck = self._proxy.struck.is_set()
            self._proxy.struck.set()
            self._keeper.join()
            if not struck:
                self._proxy.struck.clear()
        self.now.kill()

    def _start(self) -> None:
        self.now = self._rig.start(self._namespace, self._proxy, HURRIED, synced=False)

    def _keep(self) -> None:
        self._proxy.struck.wait()
        if not self._over:
            self.now.wait()
            self._start()


def _until_like(reference: Reference, view: ClusterView, namespace: str) -> None:
    view.wait(
        namespace,
        lambda: not reference.against(end_state(view, namespace)),
        "reference state",
        within=WITHIN,
    )


def _faults_alone(run: Run, job: ClusterJob) -> Iterator[str]:
    """What may never be, whatever the reference says."""
    made = Counter(
        f"{write.path}/{json.loads(write.body)['metadata'].get('name')}"
        for write in run.writes
        if write.method == "POST" and write.served == 201
    )
    yield from (f"made {count} times: {path}" for path, count in made.items() if count > 1)
    for earlier, later in zip(job.phases, job.phases[1:], strict=False):
        if earlier in ("Complete", "Failed"):
            yield f"phase {later} after {earlier}"


def _faults_beside(run: Run, reference: Reference) -> Iterator[str]:
    """What is otherwise than undisturbed."""
    for path, (wanted, found) in reference.against(run.state).items():
        yield f"{path} is {found!r} instead of {wanted!r}"
    known = reference.runs[0]
    for name in sorted(run.objects.keys() | known.objects.keys()):
        if run.objects[name] != known.objects[name]:
            yield f"{run.objects[name]} times {name}, undisturbed {known.objects[name]}"
    for reason, count in run.told.items():
        if count > known.told[reason] + 1:
            yield f"{count} events {reason}, undisturbed {known.told[reason]}"
    if len(run.writes) > reference.writes + SPARE_WRITES:
        yield f"{len(run.writes)} writes, undisturbed {reference.writes}: {_shown(run.writes)}"


def _shown(writes: list[Exchange]) -> str:
    return ", ".join(f"{each.method} {each.path} {each.served}" for each in writes)
