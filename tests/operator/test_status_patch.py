"""The status as a merge patch: what has no value any more is taken away."""

from typing import Any

from finetune_api.v1alpha1 import FineTuneJobStatus
from finetune_operator.executor import status_patch


def merged(old: Any, patch: Any) -> Any:
    """RFC 7396."""
    if not isinstance(patch, dict):
        return patch
    result = dict(old) if isinstance(old, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result


FULL = FineTuneJobStatus.model_validate(
    {
        "phase": "Running",
        "jobUID": "u-1",
        "startTime": "2026-11-22T15:04:05Z",
        "progress": {"percent": 41, "etaSeconds": 10, "examplesPerSecond": "412.7"},
        "stages": [{"name": "head", "state": "Running", "epochs": 2, "lr": "0.001", "seconds": 3}],
        "lastFailure": {"reason": "OutOfMemory", "worker": 1, "exitCode": 137},
        "checkpoint": {"uri": "s3://a", "step": 1, "time": "2026-11-22T15:04:05Z"},
        "warnings": ["a", "b"],
    }
)
EMPTY = FineTuneJobStatus(phase="Running")


def test_what_is_gone_is_taken_away_at_every_depth() -> None:
    there = merged({}, status_patch(FULL))
    assert FineTuneJobStatus.model_validate(there) == FULL
    after = merged(there, status_patch(EMPTY))
    assert FineTuneJobStatus.model_validate(after) == EMPTY
    assert not {"jobUID", "startTime", "lastFailure", "checkpoint"} & after.keys()
    assert "etaSeconds" not in after["progress"]


def test_items_of_lists_hold_no_nulls_for_they_are_not_merged() -> None:
    (stage,) = status_patch(FULL)["stages"]
    assert None not in stage.values()
    assert stage["lr"] == "0.001"


def test_writing_the_same_twice_changes_nothing() -> None:
    once = merged({}, status_patch(FULL))
    assert merged(once, status_patch(FULL)) == once
