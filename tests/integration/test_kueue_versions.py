"""Kueue, simulated, in a release that serves Workloads in two versions: the operator speaks the newer one alone."""

import gang_crds
import operated
from audit_log import AuditEvent
from operated import Operated
from waiting import eventually

SETTINGS = operated.QUICK | {"gangs": {"kueue": {"enabled": True}}}
QUEUED = {"scheduling.gang": "Kueue", "scheduling.queueName": "team-a"}

cluster = operated.with_settings(SETTINGS, before=gang_crds.install_new_kueue)


def test_workloads_are_watched_and_patched_in_the_newer_version(cluster: Operated) -> None:
    job = cluster.job(QUEUED).apply()
    job.until(lambda: job.job, "Job")
    workload = gang_crds.workload(job)
    name = workload["metadata"]["name"]
    cluster.plane.api.create("workloads", job.namespace, workload)
    waits = {
        "type": "QuotaReserved",
        "status": "False",
        "reason": "Pending",
        "message": "insufficient unused quota",
        "lastTransitionTime": "2026-11-22T12:00:00Z",
    }
    cluster.plane.api.patch("workloads", job.namespace, name, {"status": {"conditions": [waits]}}, "status")
    job.until(lambda: "insufficient" in job.condition("Admitted").get("message", ""), "Kueue's words")
    job.change(suspend=True)
    cluster.plane.api.until("workloads", job.namespace, name, lambda body: body["spec"]["active"] is False)
    # A change can be read before the audit log tells of it.
    eventually(lambda: "patch" in {event.verb for event in _asked(cluster)}, what="audit of the patch")
    assert {event.verb for event in _asked(cluster)} == {"list", "watch", "patch"}
    assert {event.uri.split("/")[3] for event in _asked(cluster)} == {"v1beta2"}


def _asked(cluster: Operated) -> list[AuditEvent]:
    """What the operator asked about Workloads."""
    events = cluster.plane.audit(cluster.operator.mark)
    return [event for event in events if event.user == operated.USER and event.resource == "workloads"]
