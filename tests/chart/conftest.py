"""A control plane for the chart, which brings its CustomResourceDefinition itself."""

from collections.abc import Iterator
from pathlib import Path

import pytest

import control_plane
import helm
import openapi_schemas
from cluster_jobs import RESTRICTED
from control_plane import ControlPlane
from installed import CRD, Release


@pytest.fixture(scope="session")
def plane() -> Iterator[ControlPlane]:
    """Without FineTuneJobs."""
    with control_plane.running() as plane:
        yield plane


@pytest.fixture(scope="session")
def schemas(plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of schemas for kubeconform."""
    folder = tmp_path_factory.mktemp("schemas")
    assert openapi_schemas.write(plane.api, folder) > 50
    return folder


@pytest.fixture
def release(plane: ControlPlane) -> Iterator[Release]:
    """A namespace at Pod Security `restricted` for a release that the test makes; nothing is left of it."""
    warned = {**RESTRICTED, "pod-security.kubernetes.io/warn": "restricted"}
    release = Release(plane, plane.namespace("release", warned))
    yield release
    if release.namespace in helm.run(["list", "-A", "-a"], kubeconfig=plane.kubeconfig):
        release.helm("uninstall")
    if plane.api.find("customresourcedefinitions", None, CRD):
        plane.api.delete("customresourcedefinitions", None, CRD)
        plane.api.until_gone("customresourcedefinitions", None, CRD, within=60)
    plane.api.delete("namespaces", None, release.namespace)
