"""A one-node cluster on this machine to try things on, with the chart installed and the digits example ready to run.

    python tools/demo-cluster/main.py up       # as root; minutes the first time, then half a minute
    python tools/demo-cluster/main.py down

It is the harness of the end-to-end tests, so nothing of this machine is touched but a bridge and the folder
.cache/demo-cluster, and `down` takes both away.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
PLACE = ROOT / ".cache/demo-cluster"
PID, READY, LOG = PLACE / "pid", PLACE / "ready", PLACE / "log"
KUBECONFIG = PLACE / "kubeconfig"
NAMESPACE = "digits"
sys.path.insert(0, str(ROOT / "tests/support"))


def main(arguments: list[str]) -> int:
    """The exit status."""
    actions = {"up": up, "down": down, "hold": hold}
    if len(arguments) != 1 or arguments[0] not in actions:
        print(__doc__, file=sys.stderr)
        return 2
    if os.geteuid() != 0:
        print("this needs root: a node makes namespaces, mounts and cgroups", file=sys.stderr)
        return 1
    return actions[arguments[0]]()


def up() -> int:
    """Starts the process that holds the cluster, and returns when that is ready."""
    if _holder():
        print(READY.read_text() if READY.exists() else f"it is on its way: {LOG}")
        return 0
    shutil.rmtree(PLACE, ignore_errors=True)
    PLACE.mkdir(parents=True)
    with LOG.open("wb") as log:
        command = [sys.executable, __file__, "hold"]
        holder = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    PID.write_text(str(holder.pid))
    print(f"starting: tools, images and chart take minutes the first time; {LOG}")
    while not READY.exists():
        if holder.poll() is not None:
            print(LOG.read_text()[-4000:], file=sys.stderr)
            return 1
        time.sleep(0.2)
    print(READY.read_text())
    return 0


def down() -> int:
    """Nothing is left when it returns."""
    import node_cluster

    if pid := _holder():
        os.kill(pid, signal.SIGTERM)
        while _holder():
            time.sleep(0.1)
    node_cluster.clear_leftovers()
    shutil.rmtree(PLACE, ignore_errors=True)
    print("the demo cluster is gone")
    return 0


def hold() -> int:
    """Runs the cluster until it is told to stop."""
    import node_cluster
    import node_install
    from built_tools import built

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    # Without NetworkPolicies: what enforces them takes minutes to build.
    with (
        node_install.images_on_their_way() as images,
        node_cluster.running(nodes=1, policies=False) as cluster,
    ):
        node_install.load(cluster, images.result())
        node_install.install(cluster, images.result())
        node_install.upload_digits(cluster)
        cluster.plane.api.create(
            "namespaces", None, {"metadata": {"name": NAMESPACE, "labels": node_install.RESTRICTED}}
        )
        node_install.give_keys(cluster, NAMESPACE, node_install.ACCOUNT)
        job = PLACE / "job.yaml"
        job.write_text(_for_one_node((ROOT / "examples/digits/job-s3.yaml").read_text()))
        shutil.copy(cluster.plane.kubeconfig, KUBECONFIG)
        _write(READY, _welcome(built("kubernetes") / "kubectl", job, cluster.store.folder))
        while True:
            signal.pause()


def _for_one_node(text: str) -> str:
    """Both workers and the operator share one node, which may have no more than two processors."""
    kept = "".join(line for line in text.splitlines(keepends=True) if "spreadHosts" not in line)
    return kept.replace('cpu: "1"', "cpu: 800m")


def _welcome(kubectl: Path, job: Path, objects: Path) -> str:
    shown = f"{kubectl} --kubeconfig {KUBECONFIG} -n {NAMESPACE}"
    return f"""
A cluster with one node and finetune-operator is up. In this shell:

  alias k='{shown}'

Start the example, watch it, and fetch the model (its bucket is a folder of this machine):

  k apply -f {job}
  k get ftj -w
  cp -r {objects}/digits/models/{NAMESPACE}/digits/model/1 digits-model

`make demo-cluster-down` takes everything away.
"""


def _holder() -> int | None:
    """Id of the process that holds the cluster, if it lives."""
    pid = PID.read_text() if PID.exists() else ""
    command = Path("/proc", pid or "none", "cmdline")
    if not pid or not command.exists() or b"hold" not in command.read_bytes():
        return None
    return int(pid)


def _write(file: Path, text: str) -> None:
    """Whole or not at all, as others wait for it."""
    part = file.with_suffix(".part")
    part.write_text(text)
    part.replace(file)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
