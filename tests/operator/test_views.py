"""Bodies of the API as views: what is there is seen, and nothing that is wrong with a body raises."""

from copy import deepcopy
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune_operator import views
from finetune_operator.reconcile import decide
from finetune_operator.settings import Settings
from pretend_cluster import PretendCluster
from pretend_objects import PUBLISHED, START

SETTINGS = Settings()


def finished():
    cluster = PretendCluster().run()
    cluster.hear(percent=40, checkpoint="0000000040-s00-e0001-g0001")
    cluster.settle()
    cluster.end_pod(0, 0, PUBLISHED)
    cluster.end_job("SuccessCriteriaMet", "SuccessPolicy")
    return cluster


def places(value, path=()):
    """Every path in a body."""
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inner:
        yield from places(one, (*path, key))


def poisoned(body, path, value):
    found = deepcopy(body)
    if not path:
        return value
    place = found
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return found


POISON = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**20), 10**20),
    st.floats(allow_nan=True),
    st.text(max_size=300),
    st.just([]),
    st.just({}),
    st.just([None, 1, "x", {}]),
    st.just({"": None, "a/b": [1]}),
    st.just("9999-12-31T23:59:59Z"),
    st.just("0001-01-01T00:00:00+14:00"),
)


@given(data=st.data())
def test_nothing_in_any_body_stops_the_operator(data):
    cluster = finished() if data.draw(st.booleans(), "finished") else PretendCluster().run()
    for _ in range(data.draw(st.integers(1, 3), "wounds")):
        bodies = [cluster.body, cluster.job, *cluster.pods, *cluster.children.values()]
        number = data.draw(st.integers(0, len(bodies) - 1), "body")
        path = data.draw(st.sampled_from([path for path in places(bodies[number]) if path]), "path")
        wounded = poisoned(bodies[number], path, data.draw(POISON, "value"))
        bodies[number].clear()
        bodies[number].update(wounded)
    for _ in range(2):
        plan = decide(views.read(cluster.body), cluster.observed(), cluster.settings, cluster.now)
        for action in plan.actions:
            uid = getattr(action, "uid", None)
            assert uid is None or uid, "what is changed or deleted is named by its uid"
        if plan.status is not None:
            cluster.body["status"] = plan.status.model_dump(mode="json", by_alias=True, exclude_none=True)


@given(
    body=st.dictionaries(
        st.sampled_from(["metadata", "spec", "status", "kind", "type", "involvedObject"]), POISON
    )
)
def test_no_view_raises_whatever_the_body_is(body):
    for view in (views.read, views.job, views.pod, views.child, views.workload, views.node, views.event):
        view(body)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        pytest.param(None, None, id="nothing"),
        pytest.param("2026-11-22T12:00:00Z", START, id="as Kubernetes writes it"),
        pytest.param(
            "2026-11-22T13:00:00.123456+01:00", datetime(2026, 11, 22, 12, 0, 0, 123456, UTC), id="MicroTime"
        ),
        pytest.param("2026-11-22T12:00:00", None, id="without a zone it could be any"),
        pytest.param("soon", None, id="no time"),
        pytest.param(5, None, id="no text"),
    ],
)
def test_moments(written, expected):
    assert views.moment(written) == expected


def test_a_pod_is_seen_as_it_is():
    cluster = PretendCluster().run()
    cluster.pod(1)["status"]["conditions"].append(
        {"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler"}
    )
    cluster.pod(1)["metadata"]["annotations"] |= dict.fromkeys(views.FAILURES, "2")
    pod = views.pod(cluster.pod(1))
    assert (pod.index, pod.phase, pod.ready, pod.scheduled, pod.node) == (1, "Running", True, True, "node-1")
    assert (pod.disruption, pod.failures, pod.ip, pod.owner_uid) == (
        "PreemptionByScheduler",
        4,
        "127.0.1.2",
        cluster.job["metadata"]["uid"],
    )


def test_only_what_is_unreachable_counts_as_a_lost_node():
    away = {
        "key": "node.kubernetes.io/unreachable",
        "effect": "NoExecute",
        "timeAdded": "2026-11-22T12:00:00Z",
    }
    full = {"key": "node.kubernetes.io/disk-pressure", "timeAdded": "2026-11-22T11:00:00Z"}
    node = {"metadata": {"name": "n"}, "spec": {"taints": [full]}}
    assert views.node(node).unreachable_since is None
    node["spec"]["taints"].append(away)
    assert views.node(node).unreachable_since == START


def test_only_warnings_are_events_worth_seeing():
    event = {"type": "Normal", "reason": "Pulled", "involvedObject": {"kind": "Pod", "name": "x"}}
    assert views.event(event) is None
    seen = views.event(event | {"type": "Warning", "eventTime": "2026-11-22T12:00:00.000000Z"})
    assert (seen.kind, seen.name, seen.reason, seen.time) == ("Pod", "x", "Pulled", START)


def test_a_status_keeps_what_is_right_in_it():
    cluster = finished()
    cluster.body["status"] |= {
        "phase": "Exploded",
        "metrics": [{"name": "loss", "value": "0.5"}, {"name": ""}],
    }
    found = views.read(cluster.body)
    assert found.damaged
    assert found.status.phase == "Pending"
    assert found.status.job_uid == cluster.job["metadata"]["uid"]
    assert [metric.name for metric in found.status.metrics] == ["loss"]


@pytest.mark.parametrize("status", [None, [], "text", 5, {"conditions": "none"}, {"conditions": [[]]}])
def test_a_status_that_is_none_reads_as_empty(status):
    found = views.read(PretendCluster().body | {"status": status})
    assert found.status.conditions == []
    assert found.damaged is (status is not None)
