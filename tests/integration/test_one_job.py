"""One job from apply to its end as a user sees it: progress from the real supervisor's server, few writes."""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import operated
from cluster_jobs import Cluster, ClusterJob
from fake_trainers import EPOCHS, STAGES, TRAINABLE, UNFROZEN_FROM, FakeTrainer, FakeTrainers
from stories import Stories
from waiting import eventually

MOST_WRITES = 12
OF_PROGRESS = {"progress", "summary", "stages", "metrics", "bestMetric", "checkpoint", "accounting"}
"""Parts of the status that a patch of progress changes, and conditions that it does."""
TOLD_BY_PROGRESS = {"Training", "CheckpointHealthy", "ProgressAvailable"}
SCHEDULE = [
    {"name": "head", "epochs": 2, "unfreeze": {"blocks": 0}, "optimizer": {"name": "Adam"}},
    {"name": "finetune", "epochs": 3, "unfreeze": {"blocks": 2}},
]
"""What fake trainers train."""
ACCURACIES = (0.71, 0.84, 0.88, 0.92, 0.91)

story = Stories("cluster")
telling = story.fixture()
cluster = operated.with_settings()


@story
def test_progress_is_shown_by_kubectl_from_the_first_epoch_to_the_published_model(cluster: Cluster) -> None:
    job = cluster.job({"stages": SCHEDULE}).apply().until_running()
    tables = [_table(job)]
    _train(job, lambda: tables.append(_table(job)))
    tables.append(_table(job))
    print("\n" + _aligned([tables[0].splitlines()[0], *(table.splitlines()[-1] for table in tables)]))
    assert max(len(line) for table in tables for line in table.splitlines()) <= 100
    assert job.status["bestMetric"]["name"] == "val_accuracy"
    assert [stage["state"] for stage in job.status["stages"]] == ["Complete", "Complete"]
    told = [(stage.get("unfrozenFrom"), stage["trainableParams"]) for stage in job.status["stages"]]
    assert told == list(zip(UNFROZEN_FROM, TRAINABLE, strict=True))
    percents = [one.body["status"]["progress"]["percent"] for one in job.history if "status" in one.body]
    assert percents == sorted(percents)
    assert percents[-1] == 100


@story
def test_a_life_costs_at_most_twelve_writes_and_rest_costs_none(cluster: Cluster) -> None:
    job = cluster.job({"schedule": "Gradual", "stages": SCHEDULE}).apply().until_running()
    _train(job, lambda: None)
    job.until(lambda: job.events("Completed"), "event about the end")
    # A watch tells of an object before the audit log does.
    eventually(
        lambda: _writes(cluster, job)["create events"] >= len(job.events()), what="audit of the last event"
    )
    written = _writes(cluster, job)
    progress = _progress_patches(job)
    print(f"{sum(written.values())} writes, {progress} of them progress: {dict(written)}")
    assert sum(written.values()) - progress <= MOST_WRITES
    said = [one.body["status"]["warnings"] for one in job.history if one.body.get("status")]
    assert said == [["no effect of spec.schedule: spec.stages wins"]] * len(said), "from the first status on"
    # At rest: another job lives and ends meanwhile, so the operator has had every occasion.
    other = cluster.start()
    other.publish()
    other.until_phase("Complete")
    assert _writes(cluster, job) == written


@story
def test_no_object_carries_anything_of_the_frameworks(cluster: Cluster) -> None:
    job = cluster.start()
    job.publish()
    job.until_phase("Complete")
    for kind in ("finetunejobs", "jobs", "pods", "services", "configmaps", "networkpolicies"):
        for body in cluster.view.all(kind, job.namespace):
            meta = body["metadata"]
            assert "kopf" not in str([*meta.get("annotations", {}), *meta.get("labels", {})])
            assert not [
                name for name in meta.get("finalizers", []) if not name.startswith("batch.kubernetes.io")
            ]
    assert "kopf" not in str(job.body)


def _train(job: ClusterJob, after_epoch: Callable[[], object]) -> None:
    """All epochs of both stages, each seen in the status before the next begins, then the publish."""
    with FakeTrainers() as trainers:
        chief = trainers.serve(job.pod(0))
        chief.start()
        accuracies = iter(ACCURACIES)
        for stage, epochs in enumerate(EPOCHS):
            for epoch in range(epochs):
                _train_epoch(chief, stage, epoch, next(accuracies))
                wanted = f"{stage + 1}/2 {STAGES[stage]}", f"{epoch + 1}/{epochs}"
                job.until(lambda wanted=wanted: _shows(job, *wanted), f"{wanted}")
                after_epoch()
            chief.end_stage(stage)
        job.fate(0, 0, chief.publish())
        job.until_phase("Complete")


def _train_epoch(chief: FakeTrainer, stage: int, epoch: int, accuracy: float) -> None:
    chief.step(stage, epoch, 10)
    chief.epoch(stage, epoch, accuracy, best=accuracy != ACCURACIES[-1])


def _shows(job: ClusterJob, stage: str, epoch: str) -> bool:
    summary = job.status["summary"]
    return (summary["stage"], summary["epoch"]) == (stage, epoch)


def _table(job: ClusterJob) -> str:
    return job.cluster.plane.kubectl("get", "ftj", job.name, "-n", job.namespace)


def _aligned(lines: Sequence[str]) -> str:
    """Lines of several tables as one; columns are two blanks apart at least."""
    rows = [re.split(" {2,}", line.rstrip()) for line in lines]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("   ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def _writes(cluster: Cluster, job: ClusterJob) -> Counter[str]:
    """The operator's writes in the job's namespace, by verb and resource, refused ones too."""
    return Counter(
        f"{event.verb} {event.resource}/{event.subresource}".rstrip("/")
        for event in cluster.plane.audit()
        if event.user == operated.USER and event.is_write and event.namespace == job.namespace
    )


def _progress_patches(job: ClusterJob) -> int:
    """Status patches of a running job that changed nothing but progress."""
    states = [one.body["status"] for one in job.history if one.body.get("status")]
    return sum(_is_progress(old, new) for old, new in pairwise(states))


def _is_progress(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    changed = {key for key in old.keys() | new.keys() if old.get(key) != new.get(key)}
    told = [{one["type"]: one for one in status["conditions"]} for status in (old, new)]
    conditions = {kind for kind in told[1] if told[0].get(kind) != told[1][kind]}
    return changed <= OF_PROGRESS | {"conditions"} and conditions <= TOLD_BY_PROGRESS
