"""From API objects to views. Nothing here raises, whatever a body holds."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from finetune_api import yaml_loader
from finetune_api.contract import CONTAINER, GROUP, Annotation, Label
from finetune_api.errors import BadJob
from finetune_api.v1alpha1 import FineTuneJob, FineTuneJobStatus
from finetune_operator.bodies import Body, controller, created, items, mapping, moment, text, whole
from finetune_operator.observed import (
    ChildView,
    ConditionView,
    EventView,
    JobView,
    NodeView,
    PodView,
    Resource,
    WorkloadView,
)

FAILURES = (
    "batch.kubernetes.io/job-index-failure-count",
    "batch.kubernetes.io/job-index-ignored-failure-count",
)
"""Annotations of a pod that the Job controller's next delay for its index grows with."""
_UNREACHABLE = "node.kubernetes.io/unreachable"
_NOT_WORTH_SAYING = frozenset({"ContainerCreating", "PodInitializing"})


def read(body: Body, known: Resource | None = None) -> Resource:
    """The FineTuneJob; what is wrong with it is said in `invalid` and `damaged`.

    Of an earlier version of the same object, `known`, the job is taken over if it was the same generation.
    """
    metadata = mapping(body, "metadata")
    generation = max(0, whole(metadata.get("generation")) or 0)
    if known and (known.uid, known.generation) == (text(metadata.get("uid")), generation):
        job, invalid = known.job, known.invalid
    else:
        job, invalid = _job(body, metadata)
    status, damaged = _status(body.get("status"))
    return Resource(
        namespace=text(metadata.get("namespace")),
        name=text(metadata.get("name")),
        uid=text(metadata.get("uid")),
        generation=generation,
        created=created(metadata),
        deleting=metadata.get("deletionTimestamp") is not None,
        resource_version=text(metadata.get("resourceVersion")),
        job=job,
        invalid=invalid,
        status=status,
        managed_by=text(mapping(body, "spec").get("managedBy")),
        damaged=damaged,
    )


def job(body: Body) -> JobView | None:
    """The Job; None when the body has no name."""
    metadata, spec, status = mapping(body, "metadata"), mapping(body, "spec"), mapping(body, "status")
    annotations = mapping(metadata, "annotations")
    owner_uid, owner = controller(metadata)
    if not text(metadata.get("name")):
        return None
    return JobView(
        namespace=text(metadata.get("namespace")),
        name=text(metadata.get("name")),
        uid=text(metadata.get("uid")),
        owner_uid=owner_uid,
        owner=owner,
        suspended=spec.get("suspend") is True,
        parallelism=whole(spec.get("parallelism")) or 0,
        image=text(_trainer(mapping(spec, "template", "spec").get("containers")).get("image")),
        created=created(metadata),
        started=moment(status.get("startTime")),
        deleting=metadata.get("deletionTimestamp") is not None,
        queue=text(mapping(metadata, "labels").get(Label.QUEUE)),
        active=whole(status.get("active")) or 0,
        ready=whole(status.get("ready")) or 0,
        stop_reason=text(annotations.get(Annotation.STOP_REASON)),
        stop_message=text(annotations.get(Annotation.STOP_MESSAGE)),
        releases=max(0, whole(annotations.get(Annotation.RELEASES)) or 0),
        resume_at=moment(annotations.get(Annotation.RESUME_AT)),
        conditions=_conditions(status, only_true=True),
        labels=_own_labels(metadata),
    )


def pod(body: Body) -> PodView | None:
    """A trainer pod; None when the body has no name."""
    metadata, status = mapping(body, "metadata"), mapping(body, "status")
    if not text(metadata.get("name")):
        return None
    conditions = _conditions(status)
    scheduled = conditions.get("PodScheduled", ConditionView("Unknown"))
    return PodView(
        namespace=text(metadata.get("namespace")),
        name=text(metadata.get("name")),
        uid=text(metadata.get("uid")),
        owner_uid=controller(metadata)[0],
        index=_index(metadata),
        created=created(metadata),
        phase=text(status.get("phase")) or "Pending",
        ready=_is_true(conditions, "Ready"),
        scheduled=scheduled.status == "True",
        node=text(mapping(body, "spec").get("nodeName")),
        ip=text(status.get("podIP")),
        deleting=moment(metadata.get("deletionTimestamp")),
        grace_seconds=whole(metadata.get("deletionGracePeriodSeconds")),
        unschedulable=scheduled.message if scheduled.status == "False" else "",
        disruption=_disruption(conditions),
        status_reason=text(status.get("reason")),
        status_message=text(status.get("message")),
        failures=_failures(metadata),
        **_container(status),
    )


def child(body: Body) -> ChildView | None:
    """A Service, ConfigMap, NetworkPolicy or PodGroup; None when the body has no name."""
    metadata = mapping(body, "metadata")
    if not text(metadata.get("name")):
        return None
    owner_uid, owner = controller(metadata)
    return ChildView(
        kind=text(body.get("kind")),
        namespace=text(metadata.get("namespace")),
        name=text(metadata.get("name")),
        uid=text(metadata.get("uid")),
        owner_uid=owner_uid,
        owner=owner,
        deleting=metadata.get("deletionTimestamp") is not None,
        content={key: body[key] for key in ("spec", "data") if key in body},
        labels=_own_labels(metadata),
    )


def workload(body: Body) -> WorkloadView | None:
    """Kueue's Workload; None when the body has no name."""
    metadata = mapping(body, "metadata")
    if not text(metadata.get("name")):
        return None
    return WorkloadView(
        namespace=text(metadata.get("namespace")),
        name=text(metadata.get("name")),
        uid=text(metadata.get("uid")),
        owner_uid=controller(metadata)[0],
        active=mapping(body, "spec").get("active") is not False,
        conditions=_conditions(mapping(body, "status")),
    )


def node(body: Body) -> NodeView | None:
    """A node; None when the body has no name."""
    name = text(mapping(body, "metadata").get("name"))
    if not name:
        return None
    taints = [
        taint for taint in items(mapping(body, "spec").get("taints")) if taint.get("key") == _UNREACHABLE
    ]
    since = min(filter(None, (moment(taint.get("timeAdded")) for taint in taints)), default=None)
    ready = _conditions(mapping(body, "status")).get("Ready")
    return NodeView(name, since or (ready.time if taints and ready else None))


def event(body: Body) -> EventView | None:
    """A Warning; None for any other event."""
    about = mapping(body, "involvedObject")
    if body.get("type") != "Warning":
        return None
    times = (
        body.get("lastTimestamp"),
        body.get("eventTime"),
        mapping(body, "metadata").get("creationTimestamp"),
    )
    return EventView(
        kind=text(about.get("kind")),
        name=text(about.get("name")),
        reason=text(body.get("reason")),
        message=text(body.get("message")),
        time=next(filter(None, map(moment, times)), None),
    )


def _job(body: Body, metadata: Body) -> tuple[FineTuneJob | None, BadJob | None]:
    name = text(metadata.get("name"))
    # Of the metadata only what names the job: what else the API server writes there is its own affair.
    known = {key: text(metadata.get(key)) for key in ("name", "namespace")}
    document = {"apiVersion": body.get("apiVersion"), "kind": body.get("kind"), "metadata": known}
    try:
        return yaml_loader.parse_job({**document, "spec": _plain(body.get("spec"))}, name or "the job"), None
    except BadJob as error:
        return None, error
    except RecursionError:
        return None, BadJob("InvalidSpec", f"{name} is nested too deeply")


def _plain(spec: object) -> object:
    return dict(spec) if isinstance(spec, Mapping) else spec


def _status(found: object) -> tuple[FineTuneJobStatus, bool]:
    """The status without what is malformed in it, and whether anything was."""
    if found is None:
        return FineTuneJobStatus(), False
    status = dict(found) if isinstance(found, Mapping) else {}
    damaged = not isinstance(found, Mapping)
    for _ in range(3):  # first items of lists are dropped, then fields; what is left is empty
        try:
            return FineTuneJobStatus.model_validate(status, by_name=False, extra="ignore"), damaged
        except ValidationError as error:
            status = _without(status, error)
            damaged = True
    return FineTuneJobStatus(), True


def _without(status: dict[str, Any], error: ValidationError) -> dict[str, Any]:
    """The status without what is wrong: items of lists where an item is wrong, else whole fields."""
    wrong = {
        (details["loc"] + ("", ""))[:2] for details in error.errors(include_url=False, include_input=False)
    }
    kept: dict[str, Any] = {}
    for key, value in status.items():
        if isinstance(value, list) and (key, "") not in wrong:
            kept[key] = [item for index, item in enumerate(value) if (key, index) not in wrong]
        elif not any(where[0] == key for where in wrong):
            kept[key] = value
    return kept


def _conditions(status: Body, only_true: bool = False) -> dict[str, ConditionView]:
    found = {
        text(one.get("type")): ConditionView(
            status=text(one.get("status")),
            reason=text(one.get("reason")),
            message=text(one.get("message")),
            time=moment(one.get("lastTransitionTime")),
        )
        for one in items(status.get("conditions"))
    }
    return {kind: view for kind, view in found.items() if view.status == "True" or not only_true}


def _is_true(conditions: Mapping[str, ConditionView], kind: str) -> bool:
    return kind in conditions and conditions[kind].status == "True"


def _disruption(conditions: Mapping[str, ConditionView]) -> str:
    if not _is_true(conditions, "DisruptionTarget"):
        return ""
    return conditions["DisruptionTarget"].reason or "Disrupted"


def _index(metadata: Body) -> int | None:
    written = (mapping(metadata, where).get(Label.INDEX) for where in ("annotations", "labels"))
    found = next((number for number in map(whole, written) if number is not None), None)
    return found if found is not None and found >= 0 else None


def _failures(metadata: Body) -> int:
    annotations = mapping(metadata, "annotations")
    return sum(max(0, whole(annotations.get(key)) or 0) for key in FAILURES)


def _container(status: Body) -> dict[str, Any]:
    """What the trainer container says about itself."""
    found = _trainer(status.get("containerStatuses"))
    state, image = mapping(found, "state"), text(found.get("imageID"))
    ended, waiting = mapping(state, "terminated"), mapping(state, "waiting")
    why = text(waiting.get("reason"))
    return {
        "image": image if "@sha256:" in image else "",
        "started": moment(mapping(state, "running").get("startedAt")) or moment(ended.get("startedAt")),
        "exit_code": whole(ended.get("exitCode")),
        "exit_reason": text(ended.get("reason")),
        "finished": moment(ended.get("finishedAt")),
        "termination": text(ended.get("message")),
        "waiting_reason": "" if why in _NOT_WORTH_SAYING else why,
        "waiting_message": text(waiting.get("message")),
    }


def _trainer(containers: object) -> Body:
    return next((one for one in items(containers) if one.get("name") == CONTAINER), {})


def _own_labels(metadata: Body) -> dict[str, str]:
    ours = (f"{GROUP}/", "app.kubernetes.io/")
    labels = {str(key): text(value) for key, value in mapping(metadata, "labels").items()}
    return {key: value for key, value in labels.items() if key.startswith(ours)}
