"""One cluster of two real nodes with the chart installed, for all tests here. They need root: `make e2e`."""

from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path

import pytest

import node_cluster
import node_install
from node_cluster import NodeCluster
from node_install import Images

LONGEST_SECONDS = 1800
"""For one test with what is made for the first of them: tools, images, nodes."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.timeout(LONGEST_SECONDS))


@pytest.fixture(scope="session", autouse=True)
def images() -> Iterator[Future[Images]]:
    """This project's, begun before anything else."""
    with node_install.images_on_their_way() as images:
        yield images


@pytest.fixture(scope="session")
def cluster() -> Iterator[NodeCluster]:
    """Two nodes without images, but for those that hold pods."""
    with node_cluster.running() as cluster:
        yield cluster


@pytest.fixture(scope="session")
def installed(cluster: NodeCluster, images: Future[Images]) -> NodeCluster:
    """The same with this project's images and chart, and with digits in its object store."""
    node_install.load(cluster, images.result())
    node_install.install(cluster, images.result())
    assert node_install.upload_digits(cluster) == 1797
    return cluster


@pytest.fixture
def job_namespace(installed: NodeCluster) -> Iterator[str]:
    """A namespace that enforces Pod Security `restricted` and holds keys of the store."""
    namespace = node_install.make_job_namespace(installed)
    yield namespace
    installed.plane.api.delete("namespaces", None, namespace)
