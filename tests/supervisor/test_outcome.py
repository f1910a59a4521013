"""What the end of a training process means."""

import signal

import pytest

from finetune_api.events import ErrorEvent, ResultEvent
from finetune_supervisor import outcome
from finetune_supervisor.messages import Ending
from finetune_supervisor.outcome import Exit, LastWords

TRAINED = ResultEvent(result="Trained")
ERROR = ErrorEvent(code=65, reason="BadImages", message="All images are bad.")
ODD = ErrorEvent(code=0, reason="Odd", message="")


@pytest.mark.parametrize(
    ("end", "words", "ending", "code", "reason"),
    [
        pytest.param(Exit(0), LastWords(result=TRAINED), Ending.TRAINED, 0, "", id="a result and status 0"),
        pytest.param(
            Exit(-9, Ending.STOPPED),
            LastWords(result=TRAINED),
            Ending.TRAINED,
            0,
            "",
            id="killed after its result: the result counts",
        ),
        pytest.param(Exit(65), LastWords(error=ERROR), Ending.FAILED, 65, "BadImages", id="its own error"),
        pytest.param(
            Exit(-9, Ending.STOPPED),
            LastWords(error=ERROR),
            Ending.FAILED,
            65,
            "BadImages",
            id="killed after its error: the error counts",
        ),
        pytest.param(
            Exit(-9, Ending.STOPPED),
            LastWords(),
            Ending.STOPPED,
            0,
            "",
            id="killed as its generation was over",
        ),
        pytest.param(
            Exit(-9, Ending.ABANDONED),
            LastWords(),
            Ending.ABANDONED,
            0,
            "",
            id="killed as its worker had to go",
        ),
        pytest.param(Exit(-9), LastWords(), Ending.FAILED, 137, "Killed", id="killed by somebody else"),
        pytest.param(Exit(-11), LastWords(), Ending.FAILED, 139, "Killed", id="a segmentation fault"),
        pytest.param(
            Exit(-9, out_of_memory=True),
            LastWords(),
            Ending.FAILED,
            137,
            "OutOfMemory",
            id="killed by the kernel for memory",
        ),
        pytest.param(
            Exit(-11, out_of_memory=True),
            LastWords(),
            Ending.FAILED,
            139,
            "Killed",
            id="not killed by the kernel for memory",
        ),
        pytest.param(Exit(1), LastWords(), Ending.FAILED, 1, "Crashed", id="a status and no word"),
        pytest.param(
            Exit(1), LastWords(result=TRAINED), Ending.FAILED, 1, "Crashed", id="a result, then a crash"
        ),
        pytest.param(Exit(0), LastWords(), Ending.FAILED, 70, "Crashed", id="status 0 without a result"),
        pytest.param(Exit(0), LastWords(error=ODD), Ending.FAILED, 70, "Odd", id="an error with code 0"),
    ],
)
def test_outcome(end: Exit, words: LastWords, ending: Ending, code: int, reason: str) -> None:
    found = outcome.of(end, words)
    assert (found.ending, found.code, found.reason) == (ending, code, reason)


def test_the_signal_has_its_name() -> None:
    found = outcome.of(Exit(-signal.SIGSEGV), LastWords())
    assert found.message == "The training process was killed by SIGSEGV."


def test_out_of_memory_says_how_much_and_how_to_fix() -> None:
    found = outcome.of(Exit(-9, out_of_memory=True, max_rss_bytes=3 << 29), LastWords())
    assert "at 1.5 GiB" in found.message
    assert "Fix: lower globalBatchSize" in found.message


def test_the_result_goes_with_a_peaceful_end_only() -> None:
    assert outcome.of(Exit(0), LastWords(result=TRAINED)).result == TRAINED
    assert outcome.of(Exit(65), LastWords(result=TRAINED, error=ERROR)).result is None
