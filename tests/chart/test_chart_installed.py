"""The chart on a real API server: installed, at work, upgraded under a running job, tested, uninstalled."""

import subprocess
from pathlib import Path

import helm
import operated
import rights
from api_client import has_condition
from built_tools import ROOT
from cluster_jobs import RESTRICTED, Cluster
from cluster_view import ClusterView
from control_plane import ControlPlane
from helm import CHART
from installed import CRD, QUICK, Release, older_chart

NEWER_FIELD = "xla"


def test_it_installs_without_a_warning_where_pods_are_restricted(
    plane: ControlPlane, release: Release
) -> None:
    values = {"replicas": 2, "config": {"gangs": {"kueue": {"enabled": True}}}}
    said = release.helm("install", str(CHART), "--wait", "--timeout=120s", values=values)
    assert "warning" not in said.lower()
    assert "STATUS: deployed" in said
    deployment = plane.api.get("deployments", release.namespace, helm.RELEASE)
    assert deployment["status"]["readyReplicas"] == 2
    assert f"kubectl -n {release.namespace} rollout status deployment/finetune-operator" in said
    assert "No Prometheus operator was found" in said
    assert "no registry is named" in said
    assert "MISSING: config.gangs.kueue.enabled" in said
    assert "CustomResourceDefinition of FineTuneJobs" not in said
    # Back to one: the API server refuses a Deployment that is both recreated and rolled.
    release.helm("upgrade", str(CHART), "--wait", "--timeout=120s", values={"replicas": 1})
    spec = plane.api.get("deployments", release.namespace, helm.RELEASE)["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})


def test_two_releases_of_one_name_live_side_by_side(plane: ControlPlane, release: Release) -> None:
    release.helm("install", str(CHART))
    other = Release(plane, plane.namespace("release"))
    values = {"crds": {"install": False}, "watch": {"namespaces": [other.namespace]}}
    assert "MISSING" not in other.helm("install", str(CHART), values=values)
    other.helm("uninstall")
    plane.api.delete("namespaces", None, other.namespace)


def test_plain_manifests_are_taken_without_a_warning(
    plane: ControlPlane, release: Release, tmp_path: Path
) -> None:
    file = tmp_path / "finetune-operator.yaml"
    with file.open("w") as output:
        subprocess.run([ROOT / "tools/chart/manifests.sh"], stdout=output, check=True)
    said = plane.apply(file)
    assert "warning" not in said.lower()
    assert "deployment.apps/finetune-operator created" in said
    plane.api.until("deployments", helm.NAMESPACE, helm.RELEASE, has_condition("Available"))
    plane.kubectl("delete", "-f", str(file))


def test_with_the_file_and_the_account_of_the_release_a_job_is_completed(
    plane: ControlPlane, release: Release
) -> None:
    release.helm("install", str(CHART))
    mark = plane.audit_mark()
    with release.operator() as operator, ClusterView(operated.door(plane)) as view:
        job = Cluster(plane, view, operator).start()
        job.publish()
        job.until_phase("Complete")
        assert operator.stop() == 0
    assert not rights.refused(plane, release.user, mark)
    assert {right[1] for right in rights.used(plane, release.user, mark)} >= {"jobs", "leases", "nodes"}


def test_in_two_namespaces_it_works_there_and_nowhere_else(plane: ControlPlane, release: Release) -> None:
    ours, other = (plane.namespace(labels=RESTRICTED) for _ in range(2))
    values = {"watch": {"namespaces": [ours]}, "config": {"deadNodes": False}}
    release.helm("install", str(CHART), values=values)
    mark = plane.audit_mark()
    with release.operator(QUICK) as operator, ClusterView(operated.door(plane)) as view:
        cluster = Cluster(plane, view, operator)
        ignored = cluster.job(namespace=other).apply()
        job = cluster.job(namespace=ours).apply().until_running()
        job.publish()
        job.until_phase("Complete")
        assert not ignored.status
        assert operator.stop() == 0
    assert not rights.refused(plane, release.user, mark)


def test_an_upgrade_brings_the_newer_definition_and_restarts_no_worker(
    plane: ControlPlane, release: Release, tmp_path: Path
) -> None:
    release.helm("install", str(older_chart(tmp_path, NEWER_FIELD)))
    assert NEWER_FIELD not in _fields(plane)
    with ClusterView(operated.door(plane)) as view:
        with release.operator(QUICK) as operator:
            cluster = Cluster(plane, view, operator)
            job = cluster.start()
            before = [job.uid(index) for index in range(job.workers)]
            spec, children = job.body["spec"], _children(plane, job.namespace)
            assert operator.stop() == 0
        values = {"trainer": {"images": {"cpu": {"tag": "newer"}}}}
        said = release.helm("upgrade", str(CHART), values=values)
        assert "REVISION: 2" in said
        assert NEWER_FIELD in _fields(plane)
        with release.operator(QUICK) as operator:
            # It has looked at the job when it has made the pods of another one.
            newer = cluster.start()
            assert [job.uid(index) for index in range(job.workers)] == before
            assert _children(plane, job.namespace) == children
            assert job.body["spec"].items() >= spec.items()
            images = [one.pod(0)["spec"]["containers"][0]["image"] for one in (job, newer)]
            assert [image.rpartition(":")[2] == "newer" for image in images] == [False, True]
            job.publish()
            job.until_phase("Complete")
            assert operator.stop() == 0


def test_uninstalled_it_leaves_jobs_and_installed_again_it_goes_on_with_them(
    plane: ControlPlane, release: Release
) -> None:
    release.helm("install", str(CHART))
    with ClusterView(operated.door(plane)) as view:
        with release.operator(QUICK) as operator:
            job = Cluster(plane, view, operator).start()
            before = [job.uid(index) for index in range(job.workers)]
            assert operator.stop() == 0
        said = release.helm("uninstall")
        assert f"[CustomResourceDefinition] {CRD}" in said
        plane.api.until_gone("deployments", release.namespace, helm.RELEASE)
        found = plane.api.get("customresourcedefinitions", None, CRD)
        assert has_condition("Established")(found)
        assert "deletionTimestamp" not in found["metadata"]
        assert job.all_run()
        release.helm("install", str(CHART))
        with release.operator(QUICK) as operator:
            assert [job.uid(index) for index in range(job.workers)] == before
            job.publish()
            job.until_phase("Complete")
            assert operator.stop() == 0


def _fields(plane: ControlPlane) -> set[str]:
    """Of the spec, as the API server has it now."""
    found = plane.api.get("customresourcedefinitions", None, CRD)
    schema = found["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return set(schema["properties"]["spec"]["properties"])


def _children(plane: ControlPlane, namespace: str) -> dict[str, int]:
    """Generation of each object of the jobs there: nobody has written their specs again."""
    return {
        f"{kind}/{one['metadata']['name']}": one["metadata"].get("generation", 1)
        for kind in ("jobs", "services", "configmaps", "networkpolicies")
        for one in plane.api.list(kind, namespace)
    }
