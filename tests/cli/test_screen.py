import io
from datetime import timedelta

import pytest
from rich.console import Console

from finetune_api import reported
from finetune_api.events import WarningEvent
from finetune_cli import lines, panel, screen, wording
from finetune_cli.view import Ending
from local_runs import STARTED, epoch, progress, view


def drawn(shown, width=80):
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    console.print(panel.draw(shown, STARTED + timedelta(seconds=75)))
    return console.file.getvalue()


@pytest.mark.parametrize(
    "shown",
    [
        pytest.param(view(), id="just started"),
        pytest.param(view(progress=progress(phase="Features", tick=300, tick_total=1400)), id="one pass"),
        pytest.param(
            view(
                progress=progress(eta_seconds=300), epochs=(epoch(0, 0, 0.91), epoch(0, 1, 0.93)), replaced=1
            ),
            id="training",
        ),
        pytest.param(view(ending=Ending("Complete", 0)), id="complete"),
    ],
)
@pytest.mark.parametrize("width", [80, 120])
def test_the_panel_fits_the_terminal_and_names_every_stage(shown, width):
    text = drawn(shown, width)
    assert max(map(len, text.splitlines())) <= width
    assert "head" in text
    assert "finetune" in text


def test_the_panel_says_how_far_the_run_is():
    shown = view(progress=progress(eta_seconds=300, percent=42), epochs=(epoch(0, 0, 0.9312),), replaced=2)
    text = drawn(shown)
    for expected in (
        "Running",
        "42%",
        "0.9312",
        "1m15s",
        "5m00s to go",
        "2 restarts",
        "12,810",
        "2/2 workers",
    ):
        assert expected in text


def test_the_panel_counts_what_the_phase_counts():
    assert "features 300/1,400" in drawn(
        view(progress=progress(phase="Features", step=0, tick=300, tick_total=1400))
    )


def said(*views):
    console = Console(file=io.StringIO(), width=200, force_terminal=False)
    with screen.opened(console, views[0]) as shown_on:
        for shown in views[1:]:
            shown_on.show(shown, [])
    return console.file.getvalue().splitlines()


def test_without_a_terminal_there_is_a_line_per_stage_and_epoch():
    first = view()
    second = first.seen(progress(epochs_log=[epoch(0, 0, 0.91)]))
    third = second.seen(
        progress(epochs_log=[epoch(0, 0, 0.91), epoch(0, 1, 0.93, best=True), epoch(1, 0, 0.9)])
    )
    assert said(first, second, second, third) == [
        "default/digits: EfficientNetLite0, 2 workers, stages: head, finetune",
        "stage 1/2 head: 12,810 trainable parameters, trains the head alone",
        "  head 1/2  loss 0.2500  accuracy 0.7500  val_accuracy 0.9100  1.5 s",
        "  head 2/2  loss 0.2500  accuracy 0.7500  val_accuracy 0.9300  1.5 s  best so far",
        "stage 2/2 finetune: 2,657,194 trainable parameters, trains above block5b_add",
        "  finetune 1/3  loss 0.2500  accuracy 0.7500  val_accuracy 0.9000  1.5 s",
    ]


def test_what_was_known_before_the_start_is_not_told_again():
    first = view(epochs=(epoch(0, 0),))
    assert said(first, first.seen(progress())) == [
        "default/digits: EfficientNetLite0, 2 workers, stages: head, finetune"
    ]


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        pytest.param(
            progress(phase="Start"), progress(phase="Data"), ["reading the image folder"], id="new phase"
        ),
        pytest.param(progress(phase="Data"), progress(phase="Data"), [], id="same phase"),
        pytest.param(progress(), progress(phase="Evaluate"), [], id="phases of every epoch are not told"),
        pytest.param(None, progress(), [], id="the first generation is no news"),
        pytest.param(
            progress(),
            progress(generation=2, checkpoint="0000000014-s01"),
            ["generation 2: all workers are back, going on from checkpoint 0000000014-s01"],
            id="a new generation",
        ),
        pytest.param(
            progress(), progress(generation=2, phase=None), [], id="a generation that does nothing yet"
        ),
        pytest.param(
            progress(generation=2, phase=None),
            progress(generation=2),
            ["generation 2: all workers are back, going on from the beginning"],
            id="a generation that gets going",
        ),
        pytest.param(
            progress(),
            progress(generation=2, phase="Export"),
            ["writing the SavedModel"],
            id="the export generation",
        ),
        pytest.param(
            progress(),
            progress(warnings=[WarningEvent(reason="Rotated", message="3 images carry a rotation")]),
            ["note: 3 images carry a rotation"],
            id="a warning",
        ),
    ],
)
def test_news(before, after, expected):
    first = view() if before is None else view().seen(before)
    assert lines.news(first, first.seen(after)) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(1.52, "1.5 s"), (12, "12 s"), (75, "1m15s"), (840, "14m"), (4320, "1h12m"), (59.7, "1m00s")],
)
def test_durations(seconds, expected):
    assert reported.duration(seconds) == expected


@pytest.mark.parametrize(
    ("size", "expected"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (2**40, "1.0 TiB")]
)
def test_sizes(size, expected):
    assert wording.size(size) == expected


@pytest.mark.parametrize(
    ("values", "expected"), [([], ""), ([1, 1], "▁▁"), ([0, 0.5, 1], "▁▅█"), ([9, 0, 1], "▁█")], ids=str
)
def test_a_sparkline_shows_the_newest_values(values, expected):
    assert wording.sparkline(values, 3 if len(values) < 3 or values[0] == 0 else 2) == expected
