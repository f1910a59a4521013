"""What holds whatever happens: rest after every step, ends that stay, foreign objects that are not touched."""

from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from finetune_operator.settings import Settings
from pretend_cluster import PretendCluster
from pretend_objects import PUBLISHED, time

FINAL = ("Complete", "Failed")
KUEUE = Settings.model_validate({"gangs": {"kueue": {"enabled": True}}})
SPECS = (
    {},
    {"workers": 1},
    {"activeDeadlineSeconds": 60},
    {"startDeadlineSeconds": 30},
    {"suspend": True},
    {"ttlSecondsAfterFinished": 30},
    {"scheduling": {"gang": "Kueue", "queueName": "team-a"}},
    {"data.format": "TFRecord"},
    {"workers": 3},
)


def _index(draw: Callable[..., int], cluster: PretendCluster) -> int | None:
    there = sorted({int(pod["metadata"]["name"].split("-")[2]) for pod in cluster.pods})
    return draw(st.sampled_from(there)) if there else None


def controller_acts(cluster, draw):
    """The Job controller does its part: starts what may start, holds what is suspended."""
    if cluster.job is None:
        return
    if cluster.job["spec"]["suspend"]:
        cluster.hold_job()
        return
    cluster.start_job()
    for index in range(cluster.workers):
        if not any(_lives(pod, index) for pod in cluster.pods):
            cluster.add_pod(index)


def _lives(pod, index):
    name = pod["metadata"]["name"].split("-")[2]
    return name == str(index) and pod["status"]["phase"] in ("Pending", "Running")


def pods_get_ready(cluster, draw):
    for pod in cluster.pods:
        if pod["status"]["phase"] == "Pending":
            cluster.make_ready(int(pod["metadata"]["name"].split("-")[2]))


def pod_ends(cluster, draw):
    index = _index(draw, cluster)
    if index is not None:
        code = draw(st.sampled_from([0, 1, 64, 69, 70, 75, 137, 143, None]))
        reason = draw(st.sampled_from(["", "Evicted"]))
        disrupted = [{"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI"}]
        cluster.end_pod(
            index,
            code,
            draw(st.sampled_from(["", PUBLISHED, "{"])),
            conditions=draw(st.sampled_from([[], disrupted])),
        )
        if reason:
            cluster.pod(index)["status"]["reason"] = reason


def pod_is_deleted(cluster, draw):
    index = _index(draw, cluster)
    if index is not None:
        grace = draw(st.sampled_from([0, 30]))
        cluster.pod(index)["metadata"] |= {
            "deletionTimestamp": time(cluster.now),
            "deletionGracePeriodSeconds": grace,
        }


def pod_vanishes(cluster, draw):
    if cluster.pods:
        cluster.pods.remove(draw(st.sampled_from(cluster.pods)))


def job_ends(cluster, draw):
    if cluster.job is not None and "status" in cluster.job:
        kind = draw(st.sampled_from(["SuccessCriteriaMet", "FailureTarget"]))
        cluster.end_job(
            kind, draw(st.sampled_from(["", "PodFailurePolicy", "BackoffLimitExceeded", "DeadlineExceeded"]))
        )


def job_is_deleted(cluster, draw):
    cluster.job, cluster.pods = None, []
    cluster.more["job_absent"] = draw(st.booleans())


def child_is_deleted(cluster, draw):
    if cluster.children:
        del cluster.children[draw(st.sampled_from(sorted(cluster.children)))]


def user_suspends_or_resumes(cluster, draw):
    cluster.change(suspend=not cluster.body["spec"].get("suspend", False))


def queue_decides(cluster, draw):
    if cluster.job is not None and cluster.body["spec"].get("scheduling"):
        cluster.job["spec"]["suspend"] = draw(st.booleans())


def progress_is_heard(cluster, draw):
    if any(pod["metadata"]["name"].split("-")[2] == "0" for pod in cluster.pods):
        cluster.hear(
            percent=draw(st.integers(0, 100)),
            generation=draw(st.integers(0, 3)),
            phase=draw(st.sampled_from([None, "Start", "Step", "Upload"])),
            num_stages=draw(st.sampled_from([0, 2])),
            checkpoint=draw(st.sampled_from([None, "0000000010-s00-e0001-g0001"])),
            checkpoint_age_seconds=draw(st.sampled_from([None, 0.0, 50.0])),
        )


def events_are_listed(cluster, draw):
    cluster.warn(
        "Job",
        "ft-flowers",
        "FailedCreate",
        draw(st.sampled_from(["exceeded quota: q", "violates PodSecurity", ""])),
    )


def status_is_lost(cluster, draw):
    if cluster.status.phase not in FINAL:
        cluster.body.pop("status", None)


HAPPENINGS = (
    controller_acts,
    pods_get_ready,
    pod_ends,
    pod_is_deleted,
    pod_vanishes,
    job_ends,
    job_is_deleted,
    child_is_deleted,
    user_suspends_or_resumes,
    queue_decides,
    progress_is_heard,
    events_are_listed,
    status_is_lost,
)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_whatever_happens_the_operator_comes_to_rest_and_ends_stay(data):
    spec = data.draw(st.sampled_from(SPECS), "spec")
    cluster = PretendCluster(spec, KUEUE)
    cluster.settle()
    for _ in range(data.draw(st.integers(1, 12), "length")):
        before = cluster.status
        happening = data.draw(st.sampled_from(HAPPENINGS), "happening")
        happening(cluster, data.draw)
        cluster.after(data.draw(st.sampled_from([0, 1, 10, 100, 1000]), "seconds"))
        if "deletionTimestamp" in cluster.body["metadata"]:
            assert before.phase in FINAL or cluster.status.phase in FINAL, "only what has ended is deleted"
            return
        _check(cluster, before)


def _check(cluster, before):
    after = cluster.status
    if before.conditions and not after.conditions:
        # Somebody wiped the status while the Job's last words are waited for: it comes back with the end.
        cluster.after(200)
        after = cluster.status
    if before.phase in FINAL:
        assert after.phase == before.phase, "an end is final"
        assert after.model_copy(update=_stamps(before)) == before
    assert after.observed_generation <= cluster.body["metadata"]["generation"]
    assert [one.type for one in after.conditions] == [
        one.type for one in before.conditions
    ] or not before.conditions
    assert (after.phase == "Complete") == (_condition(after, "Complete") == "True")
    assert (after.phase in FINAL) == (_condition(after, "Finished") == "True")
    written = len(cluster.writes)
    for _ in range(3):
        cluster.step()
    assert len(cluster.writes) == written, "at rest nothing is written"


def _stamps(status):
    return {"observed_generation": status.observed_generation, "conditions": status.conditions}


def _condition(status, kind):
    return next((one.status for one in status.conditions if one.type == kind), None)


def test_a_life_without_trouble_is_the_same_with_an_operator_that_restarts_at_every_step():
    def live(cluster):
        cluster.run()
        cluster.after(100)
        cluster.end_pod(0, 0, PUBLISHED)
        cluster.end_job("SuccessCriteriaMet", "SuccessPolicy")
        cluster.settle()
        return cluster

    class Forgetful(PretendCluster):
        def settle(self):
            plan = super().settle()
            self.sample, self.events = None, None
            return plan

    assert live(Forgetful()).status == live(PretendCluster()).status


def test_a_crash_after_every_single_write_ends_in_the_same_place():
    def story(cluster, crash):
        def work():
            if crash:
                cluster.crash_everywhere()
            cluster.settle()

        work()
        cluster.start_job()
        for index in range(4):
            cluster.add_pod(index)
            cluster.make_ready(index)
        work()
        cluster.change(suspend=True)
        work()
        cluster.hold_job()
        work()
        cluster.change(suspend=False)
        work()
        cluster.start_job()
        return cluster

    calm, wild = story(PretendCluster(), crash=False), story(PretendCluster(), crash=True)
    assert wild.status.phase == calm.status.phase
    assert wild.job["spec"] == calm.job["spec"] | {"template": wild.job["spec"]["template"]}
    assert set(wild.children) == set(calm.children)
