"""What somebody has changed in our objects: put right where it matters, left alone where others fill in."""

from copy import deepcopy

import pytest

from finetune_api.contract import Label
from finetune_operator.plan import Patch
from finetune_operator.restoring import is_as_wanted, replacement
from pretend_cluster import PretendCluster
from pretend_objects import START, merge, time

KINDS = ("Service", "NetworkPolicy", "ConfigMap", "Job")


def body_of(cluster, kind):
    return cluster.job if kind == "Job" else cluster.children[kind]


def patched(cluster, kind):
    return [one for one in cluster.step().actions if isinstance(one, Patch) and one.kind == kind]


UNDONE = {
    "a port of the Service is another": (
        "Service",
        {"spec": {"ports": [{"name": "tensorflow", "port": 1, "protocol": "TCP"}]}},
    ),
    "a port of the Service is gone": ("Service", {"spec": {"ports": []}}),
    "the Service hides workers that are not ready": ("Service", {"spec": {"publishNotReadyAddresses": None}}),
    "the Service selects by one label more": ("Service", {"spec": {"selector": {"app": "x"}}}),
    "the Service selects other pods": ("Service", {"spec": {"selector": {Label.JOB_UID: "other"}}}),
    "the Service selects nothing": ("Service", {"spec": {"selector": None}}),
    "the Service has no spec": ("Service", {"spec": None}),
    "the Service's spec is no mapping": ("Service", {"spec": "?"}),
    "the policy is about every pod": ("NetworkPolicy", {"spec": {"podSelector": {"matchLabels": None}}}),
    "the policy is about no pod": (
        "NetworkPolicy",
        {"spec": {"podSelector": {"matchExpressions": [{"key": "x", "operator": "Exists"}]}}},
    ),
    "the policy lets everybody in": ("NetworkPolicy", {"spec": {"ingress": [{}]}}),
    "the policy lets nobody out": ("NetworkPolicy", {"spec": {"egress": []}}),
}


@pytest.mark.parametrize(("kind", "change"), UNDONE.values(), ids=UNDONE)
def test_undone_in_one_patch_when(kind, change):
    cluster = PretendCluster().begin()
    before = deepcopy(body_of(cluster, kind)["spec"])
    merge(body_of(cluster, kind), change)
    (patch,) = patched(cluster, kind)
    assert patch.uid == body_of(cluster, kind)["metadata"]["uid"]
    assert body_of(cluster, kind)["spec"] == before
    assert cluster.settle().actions == ()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "labels",
    [
        pytest.param({Label.MANAGED_BY: None}, id="the manager is gone"),
        pytest.param({Label.JOB_NAME: "other"}, id="the job is another"),
        pytest.param({Label.MANAGED_BY: None, Label.JOB_NAME: None}, id="both are gone"),
    ],
)
def test_labels_by_which_objects_are_found_come_back_alone(kind, labels):
    cluster = PretendCluster().begin()
    found = body_of(cluster, kind)["metadata"]["labels"]
    before = dict(found)
    merge(found, labels | {"team": "theirs"})
    (patch,) = patched(cluster, kind)
    assert patch.body.keys() == {"metadata"}
    assert found == before | {"team": "theirs"}


LEFT = {
    "the API server filled in the Service": (
        "Service",
        {
            "spec": {
                "clusterIPs": ["None"],
                "ipFamilies": ["IPv4"],
                "sessionAffinity": "None",
                "type": "ClusterIP",
            }
        },
    ),
    "the Service has an annotation": ("Service", {"metadata": {"annotations": {"a": "b"}}}),
    "the policy has a label of somebody": ("NetworkPolicy", {"metadata": {"labels": {"team": "a"}}}),
    "a queue has changed the Job's template": (
        "Job",
        {"spec": {"template": {"spec": {"nodeSelector": {"kubernetes.io/os": "linux"}}}}},
    ),
    "the ConfigMap has other data, which nobody reads again": ("ConfigMap", {"data": {"job.json": "{}"}}),
    "the Service is being deleted": (
        "Service",
        {"metadata": {"deletionTimestamp": time(START), "labels": {Label.MANAGED_BY: None}}},
    ),
}


@pytest.mark.parametrize(("kind", "change"), LEFT.values(), ids=LEFT)
def test_left_alone_when(kind, change):
    cluster = PretendCluster().begin()
    merge(body_of(cluster, kind), change)
    assert patched(cluster, kind) == []


def test_defaults_inside_a_list_are_no_change():
    cluster = PretendCluster().begin()
    for port in cluster.children["Service"]["spec"]["ports"]:
        port["targetPort"] = port["port"]
    assert patched(cluster, "Service") == []


def test_everything_changed_at_once_is_one_patch_for_each_object():
    cluster = PretendCluster().begin()
    for kind in KINDS:
        merge(body_of(cluster, kind), {"metadata": {"labels": {Label.MANAGED_BY: None}}})
    merge(cluster.children["Service"], {"spec": {"ports": []}})
    plan = cluster.step()
    assert sorted(one.kind for one in plan.actions) == sorted(KINDS)
    assert cluster.settle().actions == ()


@pytest.mark.parametrize(
    ("found", "wanted", "same"),
    [
        pytest.param({"a": 1, "b": 2}, {"a": 1}, True, id="one field more is a default"),
        pytest.param({"a": 1}, {"a": 1, "b": 2}, False, id="a field is missing"),
        pytest.param({"selector": {"a": 1, "b": 2}}, {"selector": {"a": 1}}, False, id="one label more"),
        pytest.param({"podSelector": {}}, {"podSelector": {}}, True, id="every pod, as wanted"),
        pytest.param([{"a": 1, "b": 2}], [{"a": 1}], True, id="a default inside a list"),
        pytest.param([1, 2], [1], False, id="a longer list"),
        pytest.param([2, 1], [1, 2], False, id="another order"),
        pytest.param("ab", ["a", "b"], False, id="a text for a list"),
        pytest.param(None, {}, False, id="nothing for an empty mapping"),
        pytest.param((1, 2), [1, 2], True, id="a tuple is a list"),
        pytest.param("1", 1, False, id="a text for a number"),
    ],
)
def test_what_was_found_is_as_wanted(found, wanted, same):
    assert is_as_wanted(found, wanted) is same


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        pytest.param({"a": "1", "b": "2"}, {"a": "1"}, id="one too many"),
        pytest.param({"a": {"b": "1", "c": "2"}}, {"a": {"b": "3"}}, id="one too many inside"),
        pytest.param({}, {"a": {"b": ["1"]}}, id="all missing"),
        pytest.param({"a": "1"}, {}, id="nothing wanted"),
        pytest.param({"a": "1"}, {"a": {"b": "2"}}, id="a text for a mapping"),
    ],
)
def test_a_replacement_leaves_nothing_but_what_is_wanted(found, wanted):
    place = {"spec": found}
    merge(place, {"spec": replacement(found, wanted)})
    assert place["spec"] == wanted
