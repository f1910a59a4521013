"""What `helm test` says of the installation, with a job of its own."""

import re
import shutil

import node_install
from node_cluster import NodeCluster

EACH = 8


def test_helm_test_trains_a_small_model(installed: NodeCluster) -> None:
    bucket = installed.store.bucket("digits")
    for digit in (bucket / "images").iterdir():
        (bucket / "few" / digit.name).mkdir(parents=True)
        for image in sorted(digit.iterdir())[:EACH]:
            shutil.copy(image, bucket / "few" / digit.name)
    node_install.give_keys(installed, node_install.HOME, node_install.ACCOUNT)
    arguments = ("test", node_install.RELEASE, "--namespace", node_install.HOME, "--timeout", "10m")
    # Not --logs: the pod is taken away when it has succeeded, and Helm would look for its log after that.
    said = node_install.helm(installed, *arguments)
    assert re.search(r"Phase:\s+Succeeded", said), said
    (manifest,) = bucket.glob("smoke/*/*/model/1/manifest.json")
    assert manifest.exists()
