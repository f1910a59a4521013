"""The errors a user can meet: what happened, what was expected, what to change; and the exit code of each.

FineTuneError
├── BadJob            64  the FineTuneJob itself is wrong
├── BadData           65  images, labels or weights are wrong
├── MissingInput      66  something named in the job is not there
├── GaveUp            69  tried and failed for good: budget, non-finite loss, conflicting version
├── TryAgain          75  peers or storage are away; starting again may help
├── Denied            77  permission or credentials refused
└── BadConfiguration  78  the machine or pod is set up wrongly
"""

from typing import ClassVar

from finetune_api.contract import ExitCode


class FineTuneError(Exception):
    """An error with a name for programs (`reason`, CamelCase) and three sentences for people."""

    exit_code: ClassVar[ExitCode] = ExitCode.INTERNAL

    def __init__(self, reason: str, happened: str, expected: str = "", fix: str = "") -> None:
        self.reason = reason
        self.happened = happened
        self.expected = expected
        self.fix = fix
        super().__init__(str(self))

    def __str__(self) -> str:
        sentences = (
            self.happened,
            self.expected and f"Expected: {self.expected}",
            self.fix and f"Fix: {self.fix}",
        )
        return " ".join(s if s.endswith((".", "?", "!", "`", "'")) else f"{s}." for s in sentences if s)


def split_hint(text: str) -> tuple[str, str]:
    """What happened, with what was expected, and what to change, of an error in words."""
    message, _, hint = text.partition(" Fix: ")
    return message, hint.removesuffix(".")


class BadJob(FineTuneError):
    """The FineTuneJob itself is wrong; it will be wrong next time too."""

    exit_code = ExitCode.BAD_JOB


class BadData(FineTuneError):
    """Images, labels or weights are not what the job says they are."""

    exit_code = ExitCode.BAD_DATA


class MissingInput(FineTuneError):
    """Something the job names does not exist."""

    exit_code = ExitCode.MISSING_INPUT


class GaveUp(FineTuneError):
    """Tried, and failed for good."""

    exit_code = ExitCode.GAVE_UP


class TryAgain(FineTuneError):
    """Peers or storage are away beyond patience; a new start may find them back."""

    exit_code = ExitCode.TRY_AGAIN


class Denied(FineTuneError):
    """Permission or credentials were refused."""

    exit_code = ExitCode.DENIED


class BadConfiguration(FineTuneError):
    """The machine or pod is set up wrongly."""

    exit_code = ExitCode.BAD_CONFIGURATION
