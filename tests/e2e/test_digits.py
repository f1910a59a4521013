"""The example, as its users run it: from `kubectl apply` to a model in the object store."""

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import node_install
from built_tools import built
from daemons import Daemon
from node_cluster import NodeCluster
from node_jobs import EXAMPLE, NodeJob

ACCURACY = 0.97


@contextlib.contextmanager
def columns(job: NodeJob) -> Iterator[None]:
    """Prints what a user saw in the meantime who watched."""
    shown = job.cluster.folder / "columns.txt"
    command = ["get", "ftj", job.name, "--watch", "-n", job.namespace]
    watch = Daemon(
        [f"{built('kubernetes')}/kubectl", f"--kubeconfig={job.cluster.plane.kubeconfig}", *command], shown
    )
    watch.start()
    try:
        yield
        job.until(lambda: "100%" in shown.read_text(), "last row")
    finally:
        watch.stop()
    rows: list[str] = []
    for row in shown.read_text().splitlines():
        # The age changes with every row; one row for each percent is too many for a page.
        if not rows or _essence(row) != _essence(rows[-1]):
            rows.append(row)
    print("\n$ kubectl get ftj -w\n" + "\n".join(rows))


def _essence(row: str) -> list[str]:
    """Phase, stage and epoch."""
    return row.split()[1:5]


def test_digits_from_apply_to_a_served_model(installed: NodeCluster, job_namespace: str) -> None:
    with NodeJob(installed, job_namespace) as job:
        said = installed.plane.apply(EXAMPLE, job_namespace)
        assert said == "finetunejob.finetune.dev/digits created\n"
        with columns(job):
            job.until_training(1)
            assert {job.machine(worker).name for worker in (0, 1)} == {"node-0", "node-1"}
            warned = node_install.warnings_of(installed, job_namespace, job.object)
            assert "arning" not in warned, warned
            status = job.until_complete()
    assert job.kubectl("wait", "--for=condition=Finished", "ftj/digits", "--timeout=1s")
    best = float(status["bestMetric"]["value"])
    print(f"best validation accuracy {best}, model {status['artifacts']['modelURI']}")
    assert best >= ACCURACY
    _assert_published(job.results())
    _assert_serves(job.results(), installed.store.bucket("digits") / "images")


def _assert_published(results: Path) -> None:
    version = json.loads((results / "latest.json").read_text())["version"]
    model = results / "model" / str(version)
    manifest = json.loads((model / "manifest.json").read_text())
    assert {"saved_model.pb", "variables/variables.index"} <= set(manifest["files"])
    for name, facts in manifest["files"].items():
        assert (model / name).stat().st_size == facts["size"], name
    rows = (results / "metrics.csv").read_text().splitlines()
    assert len(rows) > 2


def _assert_serves(results: Path, images: Path) -> None:
    chosen = [sorted(images.glob(f"{digit}/*.png"))[0] for digit in range(10)]
    command = [
        sys.executable,
        str(EXAMPLE.with_name("classify.py")),
        str(results / "model/1"),
        *map(str, chosen),
    ]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    answers = [line.rpartition(": ")[2] for line in done.stdout.splitlines()]
    assert sum(answer.startswith(f"{digit} ") for digit, answer in enumerate(answers)) >= 9, done.stdout
