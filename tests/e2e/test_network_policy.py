"""The NetworkPolicy of a job that trains, enforced by kube-router: who gets to the workers, and where they get to."""

import contextlib
import time
from collections.abc import Iterator

import pytest

import node_images
import node_install
import node_store
import node_talk
from api_client import Body, has_condition
from built_tools import built
from finetune_api.contract import HTTP_PORT, RENDEZVOUS_PORT, TENSORFLOW_PORT
from node_cluster import NodeCluster
from node_jobs import NodeJob
from node_machine import Machine

EPOCHS = 40
PORTS = {0: (TENSORFLOW_PORT, RENDEZVOUS_PORT, HTTP_PORT), 1: (TENSORFLOW_PORT, HTTP_PORT)}
"""What each worker listens on while it trains; the rendezvous is the chief's."""
VISITOR = "visitor"
METADATA = "169.254.169.254"
METADATA_PORT = 8080
_CONNECT = """\
import socket, sys
for address in sys.argv[1:]:
    host, port = address.split(":")
    try:
        socket.create_connection((host, int(port)), 3).close()
        print("open", address)
    except OSError as error:
        print("closed", address, error)
"""


@pytest.fixture(scope="module")
def job(installed: NodeCluster) -> Iterator[NodeJob]:
    """Trains for as long as anybody wants to know something of it, one worker on each node."""
    installed.load(node_images.talk(installed.folder))
    namespace = node_install.make_job_namespace(installed)
    with NodeJob(installed, namespace) as job:
        job.document["spec"]["stages"][1]["epochs"] = EPOCHS
        job.apply().until_training()
        yield job
    installed.plane.api.delete("namespaces", None, namespace)


@pytest.fixture(scope="module")
def doors(installed: NodeCluster) -> Iterator[list[str]]:
    """Addresses on each node that a policy opens to visitors, by their label.

    A node takes in all policies and all pods at once: if it lets a new pod in here, it knows what that one may do.
    """
    namespace = installed.plane.namespace("doors")
    ports = sorted({port for ports in PORTS.values() for port in ports})
    spec = {
        "podSelector": {"matchLabels": {"app": "door"}},
        "ingress": [{"from": [{"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": VISITOR}}}]}],
    }
    api = installed.plane.api
    api.create("networkpolicies", namespace, {"metadata": {"name": "doors"}, "spec": spec})
    serve = ["serve", *map(str, ports)]
    for machine in installed.machines:
        api.create("pods", namespace, node_talk.pod(machine.name, machine.name, "door", serve))
    names = (machine.name for machine in installed.machines)
    found = [api.until("pods", namespace, name, has_condition("Ready"), within=60) for name in names]
    yield [f"{pod['status']['podIP']}:{port}" for pod in found for port in ports]
    api.delete("namespaces", None, namespace)


def test_strangers_get_to_no_port_of_a_worker(job: NodeJob, doors: list[str]) -> None:
    other = job.cluster.plane.namespace("stranger")
    workers = [f"{_address(job, worker)}:{port}" for worker, ports in PORTS.items() for port in ports]
    with _training(job):
        visits = [
            _visit(job, namespace, machine, ["reach", *doors], ["blocked", *workers])
            for namespace in (job.namespace, other)
            for machine in job.cluster.machines
        ]
        _until_done(job, visits)
    job.cluster.plane.api.delete("namespaces", None, other)


def test_the_operators_namespace_gets_to_progress_and_metrics_alone(job: NodeJob, doors: list[str]) -> None:
    readable = [f"{_address(job, worker)}:{HTTP_PORT}" for worker in PORTS]
    closed = [
        f"{_address(job, worker)}:{port}"
        for worker, ports in PORTS.items()
        for port in ports
        if port != HTTP_PORT
    ]
    with _training(job):
        visits = [
            _visit(job, node_install.HOME, machine, ["reach", *doors, *readable], ["blocked", *closed])
            for machine in job.cluster.machines
        ]
        _until_done(job, visits)


def test_workers_get_to_the_store_and_not_to_the_clouds_metadata(job: NodeJob) -> None:
    """Each node has a server with the address of one here; other pods get to it."""
    api, namespace = job.cluster.plane.api, job.cluster.plane.namespace("metadata")
    metadata = f"{METADATA}:{METADATA_PORT}"
    for worker in PORTS:
        machine = job.machine(worker)
        machine.run("ip", "address", "add", f"{METADATA}/32", "dev", "lo")
        try:
            server = node_talk.pod(machine.name, machine.name, "metadata", ["serve", str(METADATA_PORT)])
            server["spec"]["hostNetwork"] = True
            api.create("pods", namespace, server)
            _until_done(job, [_visit(job, namespace, machine, ["reach", metadata], ["reach", metadata])])
            store = f"{job.cluster.network.host}:{node_store.PORT}"
            name = job.pod(worker)["metadata"]["name"]
            said = job.kubectl("exec", name, "--", "python", "-c", _CONNECT, store, metadata).splitlines()
        finally:
            machine.run("ip", "address", "del", f"{METADATA}/32", "dev", "lo")
        print(f"worker {worker}: {said}")
        assert [line.split()[:2] for line in said] == [["open", store], ["closed", metadata]]
    api.delete("namespaces", None, namespace)


@contextlib.contextmanager
def _training(job: NodeJob) -> Iterator[None]:
    """The workers listen from the beginning of the block to its end, and the same gang trains on after it."""
    generation = job.logs.events("chunk")[-1].event["generation"]
    _assert_listens(job)
    yield
    _assert_listens(job)
    at = time.time()
    chunk = job.until(lambda: next(iter(job.logs.events("chunk", after=at)), None), "chunk after the visits")
    assert chunk.event["generation"] == generation


def _assert_listens(job: NodeJob) -> None:
    """Seen from a worker's own node, which NetworkPolicies never keep out."""
    for worker, ports in PORTS.items():
        addresses = [f"{_address(job, worker)}:{port}" for port in ports]
        job.machine(worker).run(f"{built('pause')}/talk", "reach", *addresses)


def _address(job: NodeJob, worker: int) -> str:
    return str(job.pod(worker)["status"]["podIP"])


def _visit(
    job: NodeJob, namespace: str, machine: Machine, before: list[str], arguments: list[str]
) -> tuple[str, str]:
    """Namespace and name of a Job that succeeds if all is as it says."""
    name = f"visitor-of-{machine.name}"
    body = node_talk.visitor(name, machine.name, VISITOR, before, arguments)
    job.cluster.plane.api.create("jobs", namespace, body)
    return namespace, name


def _until_done(job: NodeJob, visits: list[tuple[str, str]]) -> None:
    plane, at = job.cluster.plane, time.time()
    for namespace, name in visits:
        succeeded = has_condition("Complete")(
            plane.api.until("jobs", namespace, name, _has_ended, within=120)
        )
        said = plane.kubectl("logs", f"job/{name}", "-n", namespace, "--all-containers", check=False)
        assert succeeded, said
        print(f"{namespace}/{name}:\n{said}")
        plane.api.delete("jobs", namespace, name, propagationPolicy="Background")
    print(f"{len(visits)} visits in {time.time() - at:.1f} s")


def _has_ended(job: Body) -> bool:
    return has_condition("Complete")(job) or has_condition("Failed")(job)
