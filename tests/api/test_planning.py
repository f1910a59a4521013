from typing import Any

import pytest

import jobs
from finetune_api import schedule
from finetune_api.errors import BadJob
from finetune_api.plan import Facts, Plan

HEAD, TOP, EVERYTHING = jobs.HEAD, jobs.TOP, jobs.EVERYTHING
HEAD_BYTES, TOP_BYTES, PIXEL_BYTES = 4 * 1280, 4 * 7 * 7 * 160, 3 * 224 * 224


def facts(cut_bytes: list[int], **changes: Any) -> Facts:
    """1,000 training and 100 validation images."""
    values = {"num_train": 1000, "num_validation": 100, "classes": ["a", "b"], "class_counts": [400, 600]}
    values |= {"dataset_digest": "d", "input_bytes": 10**8, "device": "CPU", "threads": 2}
    return Facts(**{**values, "cut_bytes": cut_bytes, **changes})


def plan(changes: dict[str, Any], cut_bytes: list[int], **facts_changes: Any) -> Plan:
    return schedule.plan(jobs.resolved(changes), facts(cut_bytes, **facts_changes))


ALL_STAGES = {"stages": [HEAD, TOP, EVERYTHING], "data.augmentation": {"views": 2}}
ALL_BYTES = [HEAD_BYTES, TOP_BYTES, PIXEL_BYTES]
IMAGES = 1000 * 2 + 100


def test_a_plan_holds_what_was_found() -> None:
    made = plan({"stages": [HEAD, TOP]}, ALL_BYTES[:2], num_train=1001)
    assert (made.steps_per_epoch, made.precision, made.threads) == (16, "Float32", 2)
    assert (made.classes, made.class_counts, made.num_train) == (["a", "b"], [400, 600], 1001)
    assert [stage.epochs for stage in made.stages] == [5, 10]
    assert Plan.model_validate_json(made.model_dump_json(by_alias=True)) == made


@pytest.mark.parametrize(
    ("max_bytes", "expected"),
    [
        pytest.param("20Gi", ["native", "native", "native"], id="all fit"),
        pytest.param(str(IMAGES * sum(ALL_BYTES)), ["native", "native", "native"], id="all fit exactly"),
        pytest.param(
            str(IMAGES * (HEAD_BYTES + TOP_BYTES)),
            ["native", "native", None],
            id="pixels are the first to go",
        ),
        pytest.param(
            str(IMAGES * (HEAD_BYTES + TOP_BYTES) - 1),
            ["native", "float16", None],
            id="features may be halved",
        ),
        pytest.param(
            str(IMAGES * HEAD_BYTES), ["native", None, None], id="the head's vectors are the last to go"
        ),
        pytest.param("1Ki", [None, None, None], id="nothing fits"),
    ],
)
def test_what_fits_is_cached_the_smallest_first(max_bytes: str, expected: list[str | None]) -> None:
    stages = plan(ALL_STAGES | {"featureCache": {"maxBytes": max_bytes}}, ALL_BYTES).stages
    assert [stage.cache_dtype if stage.cached else None for stage in stages] == expected
    shares = {"native": 1.0, "float16": 0.5, None: 0.0}
    sizes = [int(IMAGES * size * shares[dtype]) for size, dtype in zip(ALL_BYTES, expected, strict=True)]
    assert [stage.cache_bytes for stage in stages] == sizes


def test_a_deterministic_run_rounds_nothing() -> None:
    limit = {"featureCache": {"maxBytes": str(IMAGES * (HEAD_BYTES + TOP_BYTES) - 1)}, "deterministic": True}
    assert [stage.cached for stage in plan(ALL_STAGES | limit, ALL_BYTES).stages] == [True, False, False]


def test_the_cache_does_not_depend_on_the_number_of_workers() -> None:
    limit = {"featureCache": {"maxBytes": str(IMAGES * HEAD_BYTES)}}
    plans = [plan(ALL_STAGES | limit | {"workers": n}, ALL_BYTES).stages for n in (1, 2, 4)]
    assert plans[0] == plans[1] == plans[2]


def test_stages_with_one_cut_share_one_cache() -> None:
    both = {"stages": [TOP, TOP | {"name": "again"}], "data.augmentation": {"views": 2}}
    limit = {"featureCache": {"maxBytes": str(IMAGES * TOP_BYTES)}}
    stages = plan(both | limit, [TOP_BYTES, TOP_BYTES]).stages
    assert [(stage.cached, stage.cache_dtype) for stage in stages] == [(True, "native")] * 2


@pytest.mark.parametrize(
    ("mode", "expected"), [("Auto", [True, False]), ("Enabled", [True, True]), ("Disabled", [False, False])]
)
def test_auto_caches_what_is_read_more_than_once(mode: str, expected: list[bool]) -> None:
    once = {"stages": [HEAD | {"epochs": 1}, TOP | {"epochs": 1}], "featureCache": {"mode": mode}}
    assert [stage.cached for stage in plan(once, ALL_BYTES[:2]).stages] == expected


def test_a_cache_that_must_be_but_does_not_fit_is_refused() -> None:
    changes = {"stages": [HEAD, EVERYTHING], "featureCache": {"mode": "Enabled", "maxBytes": "1Mi"}}
    with pytest.raises(BadJob, match=r"spec\.featureCache is Enabled") as caught:
        plan(changes, [HEAD_BYTES, PIXEL_BYTES])
    assert caught.value.reason == "FeatureCacheTooLarge"


@pytest.mark.parametrize(
    ("stages", "augmentation", "views"),
    [
        pytest.param([HEAD, TOP], {"views": 4}, 4, id="as many as asked for"),
        pytest.param([HEAD, TOP], {"preset": "None"}, 1, id="one when nothing is varied"),
        pytest.param([HEAD], {"views": 16}, 16, id="a solved head sees them all"),
        pytest.param([TOP | {"epochs": 3}], {"views": 4}, 3, id="no more than there are epochs to see them"),
        pytest.param([HEAD, TOP | {"epochs": 7}], {"views": "PerEpoch"}, 7, id="a new one each epoch"),
    ],
)
def test_views_become_a_number(
    stages: list[dict[str, Any]], augmentation: dict[str, Any], views: int
) -> None:
    made = plan({"stages": stages, "data.augmentation": augmentation}, ALL_BYTES[: len(stages)])
    assert made.views == views


def test_a_smoke_run_is_short_and_caches_nothing() -> None:
    smoke = jobs.resolved(ALL_STAGES).model_copy(update={"smoke_steps": 2})
    made = schedule.plan(smoke, facts(ALL_BYTES))
    assert made.views == 1
    assert [(stage.epochs, stage.cached) for stage in made.stages] == [(1, False)] * 3
