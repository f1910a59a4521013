"""The termination report: small enough, whole at any time, in place."""

import json
import os
from pathlib import Path

import pytest

from finetune_api.events import Phase, ResultEvent, TrainerReport
from finetune_api.progress import Progress
from finetune_supervisor import report
from finetune_supervisor.messages import Verdict
from finetune_supervisor.report import ReportFile


def test_a_running_report_says_where_training_is() -> None:
    progress = Progress(generation=3, phase=Phase.STEP, stage=1, stage_name="finetune", global_step=42)
    expected = TrainerReport(generation=3, phase=Phase.STEP, stage=1, stage_name="finetune", step=42)
    assert report.running(progress) == expected


def test_the_last_report_has_the_verdict() -> None:
    result = ResultEvent(result="Published", model_uri="s3://models/1", version=1)
    last = report.over(Progress(generation=3), Verdict(code=0, result=result))
    assert (last.generation, last.exit_code, last.reason, last.result) == (3, 0, None, result)


@pytest.mark.parametrize(
    "message",
    [
        pytest.param("x" * 10_000, id="plain"),
        pytest.param('"\n\\' * 5_000, id="all of it escaped"),
        pytest.param("ö" * 4_000, id="two bytes each"),
        pytest.param("🙂" * 3_000, id="four bytes each"),
        pytest.param("\0" * 5_000, id="six bytes each"),
    ],
)
def test_a_long_message_gives_way(message: str) -> None:
    data = report.encode(TrainerReport(exit_code=69, reason="Crashed", message=message))
    back = TrainerReport.model_validate_json(data)
    assert 3_000 < len(data) <= 4096
    assert back.exit_code == 69
    assert back.message
    assert report.ELLIPSIS in back.message
    assert back.message[0] == message[0]
    assert back.message[-1] == message[-1]


def test_a_message_that_fits_is_whole() -> None:
    whole = TrainerReport(message="x" * 3_900)
    assert TrainerReport.model_validate_json(report.encode(whole)) == whole


def test_many_metrics_give_way_before_everything_fails() -> None:
    metrics = {f"metric-{number}": 0.5 for number in range(500)}
    result = ResultEvent(result="Published", version=7, metrics=metrics)
    back = TrainerReport.model_validate_json(report.encode(TrainerReport(message="Done.", result=result)))
    assert back.message == "Done."
    assert back.result
    assert (back.result.version, back.result.metrics) == (7, {})


def test_the_file_is_rewritten_in_place(tmp_path: Path) -> None:
    """Kubernetes mounts the file itself: another file of its name would never be read."""
    path = tmp_path / "termination-log"
    path.write_text("{" + " " * 10_000 + "}")
    inode = path.stat().st_ino
    file = ReportFile(path)
    for message in ("a longer message than the next", "short", None):
        file.write(TrainerReport(message=message))
        assert json.loads(path.read_bytes()).get("message") == message
        assert not path.read_bytes().endswith(b" ")
    assert path.stat().st_ino == inode


def test_a_report_is_whole_even_if_the_old_tail_is_never_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between its two system calls, the file holds the new report and blanks."""
    file = ReportFile(tmp_path / "log")
    file.write(TrainerReport(message="a longer message than the next"))
    monkeypatch.setattr(os, "ftruncate", lambda *_: None)
    file.write(TrainerReport(message="short"))
    assert json.loads((tmp_path / "log").read_bytes())["message"] == "short"
