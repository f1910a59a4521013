"""Jobs that are not ours, cannot be run, are suspended or have lost something: what is left alone, refused, healed."""

import pytest

from finetune_operator.observed import Rejection
from finetune_operator.plan import Patch, Plan
from pretend_answers import conditions, reasons, statuses
from pretend_cluster import PretendCluster


def test_a_job_that_is_being_deleted_is_left_alone():
    cluster = PretendCluster()
    cluster.body["metadata"]["deletionTimestamp"] = "2026-11-22T12:00:00Z"
    assert cluster.plan() == Plan()


@pytest.mark.parametrize(
    ("manager", "ours"), [("kueue.x-k8s.io/multikueue", False), ("finetune.dev/finetune-operator", True)]
)
def test_a_job_that_somebody_else_manages_is_left_alone(manager, ours):
    cluster = PretendCluster({"managedBy": manager})
    assert bool(cluster.plan().actions) is ours


def test_somebody_elses_job_is_left_alone_also_when_it_is_invalid():
    cluster = PretendCluster({"managedBy": "kueue.x-k8s.io/multikueue", "workers": "many"})
    assert cluster.plan() == Plan()


@pytest.mark.parametrize(
    ("changes", "reason", "phrase"),
    [
        pytest.param({"workers": 3}, "InvalidSpec", "globalBatchSize", id="fields that do not go together"),
        pytest.param({"model.backbone": "ResNet5"}, "UnknownBackbone", "ResNet50", id="an unknown backbone"),
        pytest.param({"data.format": "TFRecord"}, "NotBuilt", "data.format", id="not built yet"),
        pytest.param(
            {"model.imageSize": 32, "model.backbone": "Xception"},
            "ImageTooSmall",
            "imageSize",
            id="a backbone's own limit",
        ),
        pytest.param(
            {"scheduling.gang": "Volcano"},
            "GangRefused",
            "gangs.volcano.enabled",
            id="a gang that is switched off",
        ),
    ],
)
def test_a_job_that_cannot_be_run_makes_nothing_and_says_why(changes, reason, phrase):
    cluster = PretendCluster(changes)
    cluster.settle()
    assert cluster.job is None
    assert cluster.status.phase == "Failed"
    validated = next(one for one in cluster.status.conditions if one.type == "Validated")
    assert (validated.status, validated.reason) == ("False", reason)
    assert phrase in validated.message
    assert conditions(cluster)["Finished"] == "True"
    assert reasons(cluster) == ["Failed"]
    assert len(cluster.writes) == 1


def test_a_job_that_was_started_is_not_judged_again_by_a_stricter_operator():
    cluster = PretendCluster().run()
    cluster.body["spec"]["data"]["format"] = "TFRecord"
    cluster.settle()
    assert cluster.status.phase == "Running"


def test_a_running_job_whose_spec_can_no_longer_be_read_is_stopped():
    cluster = PretendCluster().run()
    cluster.body["spec"]["workers"] = "four"
    cluster.settle()
    assert cluster.status.phase == "Failed"
    assert cluster.job["metadata"]["annotations"]["finetune.dev/stop-reason"] == "InvalidSpec"


def owned_by(kind, name, uid):
    return [{"kind": kind, "name": name, "uid": uid, "controller": True}]


@pytest.mark.parametrize("kind", ["Job", "Service", "ConfigMap", "NetworkPolicy"])
@pytest.mark.parametrize(
    "owners", [[], owned_by("CronJob", "nightly", "other")], ids=["nobody's", "somebody's"]
)
def test_a_foreign_object_with_our_name_is_never_touched(kind, owners):
    cluster = PretendCluster()
    foreign = {
        "kind": kind,
        "metadata": {"name": "ft-flowers", "namespace": "ns", "uid": "foreign", "ownerReferences": owners},
    }
    if kind == "Job":
        cluster.job = foreign
    else:
        cluster.children[kind] = foreign
    cluster.settle()
    assert cluster.status.last_failure.reason == "NameConflict"
    assert kind in cluster.status.last_failure.message
    assert statuses(cluster) == cluster.writes, "nothing but the status was written"
    assert conditions(cluster)["Validated"] == "True"


def test_what_a_deleted_namesake_left_behind_is_waited_for():
    cluster = PretendCluster()
    cluster.job = {
        "kind": "Job",
        "metadata": {
            "name": "ft-flowers",
            "uid": "old",
            "ownerReferences": owned_by("FineTuneJob", "flowers", "old"),
        },
    }
    assert cluster.settle().again == 5.0
    assert cluster.writes == []
    cluster.job = None
    cluster.settle()
    assert cluster.status.phase == "Starting"


def test_a_job_of_ours_that_no_status_knows_is_adopted():
    cluster = PretendCluster()
    cluster.settle()
    del cluster.body["status"]
    plan = cluster.step()
    assert plan.actions == ()
    assert cluster.status.job_uid == cluster.job["metadata"]["uid"]


def test_a_job_that_is_gone_is_asked_for_and_then_lost():
    cluster = PretendCluster().run()
    cluster.job, cluster.pods = None, []
    assert cluster.plan().want_job
    assert cluster.plan().status is None
    cluster.more["job_absent"] = True
    cluster.settle()
    assert cluster.status.last_failure.reason == "JobLost"
    assert cluster.job is None


def test_children_that_were_deleted_are_made_again():
    cluster = PretendCluster().run()
    del cluster.children["ConfigMap"]
    del cluster.children["Service"]
    plan = cluster.step()
    assert [action.manifest["kind"] for action in plan.actions] == ["Service", "ConfigMap"]
    assert plan.status is None


def test_children_that_were_changed_are_put_right():
    cluster = PretendCluster().run()
    cluster.children["Service"]["spec"]["selector"] = {"app": "mine"}
    cluster.children["NetworkPolicy"]["spec"]["ingress"] = []
    plan = cluster.step()
    assert [(action.kind, type(action)) for action in plan.actions] == [
        ("Service", Patch),
        ("NetworkPolicy", Patch),
    ]
    assert cluster.plan().actions == ()


def test_defaults_that_the_api_server_fills_in_are_no_change():
    cluster = PretendCluster().run()
    cluster.children["Service"]["spec"] |= {
        "clusterIPs": ["None"],
        "type": "ClusterIP",
        "sessionAffinity": "None",
    }
    assert cluster.plan().actions == ()


def test_a_gang_that_somebody_scaled_gets_its_size_back():
    cluster = PretendCluster().run()
    cluster.job["spec"]["parallelism"] = 1
    cluster.step()
    assert cluster.job["spec"]["parallelism"] == 4


def test_a_status_with_nonsense_in_it_is_healed():
    cluster = PretendCluster().run()
    cluster.body["status"]["progress"] = {"percent": "lots"}
    cluster.body["status"]["conditions"][2] = {"type": "Sunny"}
    cluster.body["status"]["poison"] = 7
    cluster.settle()
    assert "poison" not in cluster.body["status"]
    assert cluster.status.phase == "Running"
    assert len(cluster.status.conditions) == 10


def test_a_suspended_job_makes_nothing_before_it_is_resumed():
    cluster = PretendCluster({"suspend": True})
    cluster.settle()
    assert (cluster.status.phase, cluster.children, cluster.job) == ("Suspended", {}, None)
    cluster.change(suspend=False)
    cluster.settle()
    assert cluster.status.phase == "Starting"
    assert cluster.job is not None


def test_suspend_and_resume_cost_one_write_of_the_job_each():
    cluster = PretendCluster().run()
    cluster.change(suspend=True)
    plan = cluster.step()
    assert [action.body for action in plan.actions] == [{"spec": {"suspend": True}}]
    assert cluster.status.phase == "Suspended"
    assert cluster.status.summary.workers == "0/4"
    cluster.hold_job()
    assert cluster.settle().status is None
    cluster.change(suspend=False)
    plan = cluster.step()
    assert [action.body for action in plan.actions] == [{"spec": {"suspend": False}}]
    assert cluster.status.phase == "Starting"
    assert reasons(cluster)[-2:] == ["Suspended", "Resumed"]


def test_a_suspended_job_whose_job_is_gone_gets_a_new_one_when_it_is_resumed():
    cluster = PretendCluster().run()
    cluster.change(suspend=True)
    cluster.settle()
    cluster.job, cluster.pods = None, []
    cluster.settle()
    cluster.change(suspend=False)
    cluster.settle()
    assert cluster.job is not None
    assert cluster.status.phase == "Starting"


def test_a_job_that_somebody_suspended_by_hand_is_resumed():
    cluster = PretendCluster().run()
    cluster.job["spec"]["suspend"] = True
    cluster.step()
    assert cluster.job["spec"]["suspend"] is False


def refused(message, code=403):
    """The API server refuses to make the Job."""
    cluster = PretendCluster()
    cluster.more["rejection"] = Rejection("Job", message, code)
    return cluster, cluster.plan().status


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ('jobs "x" is forbidden: exceeded quota: jobs', "QuotaExceeded"),
        ("admission webhook denied it", "Refused"),
    ],
)
def test_what_the_api_server_refuses_is_told_and_waited_for(message, reason):
    _, status = refused(message)
    assert status.phase == "Pending"
    assert status.summary.reason.startswith(f"{reason}: Job: {message}")


def test_what_the_api_server_calls_invalid_is_not_waited_for():
    _, status = refused("spec.template: Invalid value", code=422)
    assert (status.phase, status.last_failure.reason) == ("Failed", "InvalidSpec")
    assert "spec.template: Invalid value" in status.last_failure.message
