"""Names of a job's objects."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as some

from finetune_api import names

LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
JOB_NAMES = some.from_regex(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", fullmatch=True)


@given(JOB_NAMES, some.integers(1, 1024))
def test_any_job_gets_hostnames_that_are_dns_labels(name: str, workers: int) -> None:
    made = names.object_name(name, workers)
    last = f"{made}-{workers - 1}"
    assert len(last) <= 63
    assert LABEL.fullmatch(last)
    assert names.worker_host(made, workers - 1) == f"{last}.{made}"


@given(JOB_NAMES, JOB_NAMES, some.integers(1, 1024))
def test_two_jobs_never_get_one_name(one: str, other: str, workers: int) -> None:
    equal = names.object_name(one, workers) == names.object_name(other, workers)
    assert equal == (one == other)


@pytest.mark.parametrize(
    ("name", "workers", "expected"),
    [
        pytest.param("flowers", 1, "ft-flowers", id="a short name is kept"),
        pytest.param("x" * 58, 10, "ft-" + "x" * 58, id="the longest that ten workers allow"),
        pytest.param("x" * 58, 11, "ft-" + "x" * 48 + "-", id="one more worker makes it too long"),
        pytest.param("x" * 47 + "-" * 10 + "y", 11, "ft-" + "x" * 47 + "-", id="no run of dashes"),
    ],
)
def test_a_long_name_is_cut_and_marked(name: str, workers: int, expected: str) -> None:
    made = names.object_name(name, workers)
    assert made[: len(expected)] == expected
    assert re.fullmatch("[0-9a-f]{8}|", made[len(expected) :])


def test_names_that_differ_in_what_was_cut_stay_apart() -> None:
    one, other = (names.object_name("x" * 62 + end, 4) for end in "ab")
    assert one != other
