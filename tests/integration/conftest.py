"""A real control plane for the tests here: one with quick Jobs for all of them, one as shipped for those who ask."""

from collections.abc import Iterator
from pathlib import Path

import pytest

import control_plane
from control_plane import ControlPlane
from control_plane_commands import Options
from fake_trainers import FakeTrainers

CRD = Path(__file__).parents[2] / "operator/crds/finetunejobs.finetune.dev.yaml"


@pytest.fixture(scope="session")
def plane() -> Iterator[ControlPlane]:
    """Its Job controller replaces lost pods after 1 s, and after 2 s from the second loss of a worker on."""
    with control_plane.running(Options(job_backoff_max="2s")) as plane:
        yield plane


@pytest.fixture(scope="session")
def crd(plane: ControlPlane) -> None:
    """`plane` knows FineTuneJobs."""
    plane.apply_crd(CRD)
    # Its garbage collector would learn of a new kind up to 30 s later.
    plane.controller_manager.kill()
    plane.controller_manager.start()


@pytest.fixture(scope="module")
def stock_plane() -> Iterator[ControlPlane]:
    """All delays and limits as Kubernetes is shipped, for figures that are published."""
    with control_plane.running(Options(job_backoff=None, raised_limits=False)) as plane:
        yield plane


@pytest.fixture
def namespace(plane: ControlPlane) -> Iterator[str]:
    """A namespace of the test's own; what is left in it goes, so that it takes no room on the nodes."""
    name = plane.namespace()
    yield name
    plane.api.delete("namespaces", None, name)


@pytest.fixture
def trainers() -> Iterator[FakeTrainers]:
    """Supervisors that answer for fake pods."""
    with FakeTrainers() as trainers:
        yield trainers
