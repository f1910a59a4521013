"""Keys that change under a run, and a chief that lives on after its node was given up."""

import time

import node_install
from node_cluster import NodeCluster
from node_jobs import NodeJob
from node_logs import Line
from node_store import Account

FIRST, SECOND = (Account(f"rotated-{number}", f"rotated-secret-{number}") for number in (1, 2))

EPOCHS = 16
"""So many that the old chief still trains when it is given up."""


def test_keys_are_rotated_during_training(installed: NodeCluster) -> None:
    store = installed.store
    store.add(FIRST)
    namespace = node_install.make_job_namespace(installed, FIRST)
    with NodeJob(installed, namespace, {"checkpoint": {"interval": "2s"}}) as job:
        job.apply().until_training(1)
        store.add(SECOND)
        at = time.time()
        node_install.give_keys(installed, namespace, SECOND)
        for worker in (0, 1):
            job.until(lambda: _key_in(job, worker) == SECOND.access, "new key in the pod", within=120)  # noqa: B023
        print(f"the new key was in both pods after {time.time() - at:.1f} s")
        store.remove(FIRST)
        status = job.until_complete()
    assert status["workers"]["restarts"] == 0, status
    installed.plane.api.delete("namespaces", None, namespace)


def test_a_chief_whose_node_was_given_up_changes_nothing(installed: NodeCluster, job_namespace: str) -> None:
    # Both workers have room on either node.
    changes = {
        "deadNodeTimeoutSeconds": 10,
        "checkpoint": {"interval": "2s"},
        "placement": {},
        "resources": {"limits": {"cpu": "900m", "memory": "3Gi"}},
    }
    with NodeJob(installed, job_namespace, changes) as job:
        job.document["spec"]["stages"][1]["epochs"] = EPOCHS
        job.apply().until_training()
        old, machine = job.pod(0)["metadata"], job.machine(0)
        machine.kill_kubelet()
        try:
            at = time.time()
            new = job.until(lambda: _other(job, old["uid"]), "new chief", within=300)
            print(f"a new chief was made {time.time() - at:.1f} s after the kubelet had stopped")
            assert new["spec"]["nodeName"] != machine.name
            assert job.logs.events("chunk", after=at + 20), "the old chief trained no more"
            fenced = job.until(lambda: _start_of(job, new["metadata"]["name"]), "new generation")
            status = job.until_complete()
        finally:
            machine.start_kubelet()
            machine.until_ready()
        late = [line for line in job.logs.lines if line.pod == old["name"] and line.at > fenced.at]
    assert not [line for line in late if line.event.get("event") in ("checkpoint", "result")], late
    assert status["artifacts"]["version"] == 1
    assert (job.results() / "model/1/manifest.json").exists()
    assert [folder.name for folder in (job.results() / "model").iterdir()] == ["1"]


def _key_in(job: NodeJob, worker: int) -> str:
    return job.kubectl(
        "exec", job.pod(worker)["metadata"]["name"], "--", "cat", "/etc/finetune/credentials/accessKeyId"
    )


def _other(job: NodeJob, uid: str) -> dict[str, dict[str, str]] | None:
    found = job.cluster.plane.pods_of(job.namespace, job.object).get(0)
    return found if found and found["metadata"]["uid"] != uid and found["spec"].get("nodeName") else None


def _start_of(job: NodeJob, pod: str) -> Line | None:
    starts = (line for line in job.logs.lines if line.pod == pod and line.text.startswith("generation "))
    return next(starts, None)
