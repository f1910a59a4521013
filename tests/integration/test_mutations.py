"""A thousand FineTuneJobs with something odd in them: API server and `finetune` agree, and the operator copes."""

import time
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any
from urllib.parse import urlencode

import pytest

import dry_runs
import mutant_bases
import mutants
import operated
import prometheus_text
import refusals
import rights
import verdicts
from api_client import Api, ApiError, path
from control_plane import ControlPlane
from finetune_api import yaml_loader
from finetune_operator.settings import Settings
from mutants import Mutant
from operator_process import Operator, start
from waiting import eventually

SEED = 20261122
COUNT = 1000
MOST_WORKERS = 4
AT_LEAST_RUNNING = 300
MOST_REPLACED = 20
"""Of each state."""
PATIENCE = 150.0
OURS = "finetune.dev/finetune-operator"
NAMED = ("Unschedulable", "PodRejected")
"""Why workers may be missing here: nodes, service accounts and priority classes that are not there."""
Json = dict[str, Any]
LIMITS = {"client": {"qps": 500, "burst": 1000}}


@pytest.fixture(scope="module")
def operator(plane: ControlPlane, crd: None) -> Iterator[Operator]:
    """One for everything here, under the roles that ship. (Without a watcher: it would see 10,000 versions.)"""
    settings = operated.QUICK | LIMITS
    kubeconfig = operated.user(plane, operated.USER, Settings.model_validate(settings))
    mark = plane.audit_mark()
    operator = start(kubeconfig, settings, {"POD_NAMESPACE": operated.HOME})
    yield operator
    assert operator.stop() == 0
    assert not rights.refused(plane, operated.USER, mark)


@pytest.fixture(scope="module")
def roomy(plane: ControlPlane) -> Iterator[None]:
    """Two more nodes, with room for hundreds of workers."""
    like = plane.api.get("nodes", None, "fake-0")
    has = {
        "cpu": "4000",
        "memory": "16Ti",
        "pods": "1000",
        "ephemeral-storage": "900Ti",
        "nvidia.com/gpu": "64",
    }
    for name in ("roomy-0", "roomy-1"):
        meta = {key: like["metadata"][key] for key in ("labels", "annotations")} | {"name": name}
        node = {"metadata": meta, "status": {"capacity": has, "allocatable": has}}
        plane.api.create("nodes", None, node)
    yield
    for name in ("roomy-0", "roomy-1"):
        plane.api.delete("nodes", None, name)


@pytest.fixture(scope="module")
def judged(plane: ControlPlane, crd: None) -> list[tuple[Mutant, Json | str]]:
    """All mutants, each with what the API server would store or what it says against it."""
    made = mutants.make(COUNT, SEED)
    answers = dry_runs.creations(plane.api, "default", [mutant.document for mutant in made])
    return list(zip(made, answers, strict=True))


def test_the_api_server_and_finetune_agree_on_each(judged: list[tuple[Mutant, Json | str]]) -> None:
    ours = {mutant.number: verdicts.complaint(mutant.document) for mutant, _ in judged}
    accepted = [mutant for mutant, answer in judged if not isinstance(answer, str)]
    apart = [
        f"{mutant}\n  API server: {answer if isinstance(answer, str) else 'fine'}\n  finetune: {ours[mutant.number]}"
        for mutant, answer in judged
        if isinstance(answer, str) != bool(ours[mutant.number])
    ]
    print(f"seed {SEED}: {len(judged)} mutants, {len(accepted)} accepted, {len(apart)} judged in two ways")
    assert not apart, "\n".join(apart)
    assert 400 < len(accepted) < 700


def test_what_is_stored_is_what_finetune_reads(judged: list[tuple[Mutant, Json | str]]) -> None:
    for mutant, answer in judged:
        if not isinstance(answer, str):
            stored = yaml_loader.parse_job(answer, "stored").spec
            read = yaml_loader.parse_job(mutant.document, "written").spec
            assert stored == read, mutant
            # Every default is written out.
            assert stored.model_dump(exclude_none=True, exclude_unset=True) == read.model_dump(
                exclude_none=True
            )


def test_the_operator_runs_or_names_each_and_recovers(
    plane: ControlPlane, operator: Operator, roomy: None, judged: list[tuple[Mutant, Json | str]]
) -> None:
    api, namespace = plane.api, plane.namespace("mutants")
    accepted = [mutant for mutant, answer in judged if not isinstance(answer, str)]
    small = [mutant for mutant in accepted if mutant.document["spec"].get("workers", 1) <= MOST_WORKERS]
    create(api, namespace, {f"mutant-{mutant.number}": mutant.document["spec"] for mutant in small})
    states = until_each_has_a_state(api, namespace, [f"mutant-{mutant.number}" for mutant in small])
    print(f"seed {SEED}: {len(states)} mutants: {dict(Counter(states.values()).most_common())}")
    assert sum(state == "Running" for state in states.values()) >= AT_LEAST_RUNNING

    of_each = {one: [name for name in states if states[name] == one] for one in states.values()}
    replaced = {name for names in of_each.values() for name in names[:MOST_REPLACED]}
    replace(api, namespace, replaced)
    eventually(
        lambda: not replaced & {name_of(job) for job in not_in_phase(api, namespace, "Running")},
        what="recovery of all",
        within=PATIENCE,
    )
    print(f"{len(replaced)} replaced by a good job of the same name: all Running")
    at_rest(operator)
    # At once: a namespace takes minutes to go, and the more jobs run, the seldomer others' progress is written.
    api.delete("finetunejobs", namespace, "")
    api.delete("namespaces", None, namespace)


def create(api: Api, namespace: str, specs: Mapping[str, Json]) -> None:
    """All of these jobs, some at once."""

    def one(name: str) -> None:
        document = refusals.good(name) | {"spec": specs[name]}
        api.create("finetunejobs", namespace, document, fieldValidation="Strict")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(one, specs))


def replace(api: Api, namespace: str, names: Iterable[str]) -> None:
    """Each by a good job, before anything that belongs to the old one is gone."""
    spec = mutant_bases.jobs()["built"][0]["spec"]

    def one(name: str) -> None:
        with suppress(ApiError):  # its ttlSecondsAfterFinished may be over
            api.delete("finetunejobs", namespace, name)
        api.create("finetunejobs", namespace, refusals.good(name) | {"spec": spec})

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(one, names))


def until_each_has_a_state(api: Api, namespace: str, names: Sequence[str]) -> dict[str, str]:
    """What has become of each job, once that is clear."""
    seen: dict[str, str] = {}
    deadline = time.monotonic() + PATIENCE
    while True:
        # A list of all 500 would cost the API server more than all else here.
        others = {name_of(job): state(job) for job in not_in_phase(api, namespace, "Running")}
        seen.update(others)
        if all(others.get(name, "Running") for name in names):
            break
        assert time.monotonic() < deadline, [name for name in others if not others[name]]
        time.sleep(1)
    found = {name_of(job): state(job) for job in api.list("finetunejobs", namespace)}
    # One that is gone has had a state and a short ttlSecondsAfterFinished.
    return {name: found.get(name) or seen.get(name) or "gone" for name in names}


def name_of(job: Json) -> str:
    """Of a job."""
    return str(job["metadata"]["name"])


def not_in_phase(api: Api, namespace: str, phase: str) -> list[Json]:
    """The jobs whose status does not have it."""
    selector = urlencode({"fieldSelector": f"status.phase!={phase}"})
    found: list[Json] = api.request("GET", f"{path('finetunejobs', namespace)}?{selector}")["items"]
    return found


def state(job: Json) -> str:
    """Running, or the name of what keeps it from that; empty while that is open."""
    status = job.get("status", {})
    if job["spec"].get("managedBy", OURS) != OURS:
        return "" if status else "another controller's"
    phase = status.get("phase", "")
    if phase in ("Running", "Suspended"):
        return str(phase)
    conditions = {condition["type"]: condition for condition in status.get("conditions", ())}
    if phase == "Failed":
        return named(conditions, "Validated", "False") or named(conditions, "Failed", "True")
    return named(conditions, "WorkersReady", "False", NAMED) or named(conditions, "Admitted", "False", NAMED)


def named(conditions: Json, which: str, status: str, reasons: Container[str] | None = None) -> str:
    """The reason of a condition with this status and with words for people."""
    found = conditions.get(which, {})
    has_words = found.get("status") == status and len(found.get("message", "")) > 10
    is_one = reasons is None or found.get("reason") in reasons
    return f"{which}={status}: {found['reason']}" if has_words and is_one else ""


def at_rest(operator: Operator) -> None:
    """The same operator, with nothing left to do and nothing that failed again and again."""
    assert operator.running

    def queue() -> list[float | None]:
        found = prometheus_text.scrape(f"{operator.url}/metrics")
        return [found.value(f"finetune_operator_queue_{what}") for what in ("depth", "age_seconds")]

    eventually(lambda: queue() == [0, 0], what="empty queue")
    errors = [line for line in operator.logs if line.get("level") == "error"]
    print(f"0 operator exits, {len(errors)} errors logged, nothing in its queue")
    assert errors == []
