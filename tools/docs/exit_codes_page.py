"""The reference of exit codes, from the contract, the errors and where they are raised."""

from collections.abc import Iterator

from finetune_api import errors
from finetune_api.contract import IGNORED, PERMANENT, ExitCode
from tools.docs import markdown
from tools.docs.job_page import TROUBLE
from tools.docs.reasons import Reasons

_OTHERS = {
    ExitCode.OK: "The model is published, also when it was told to stop after that.",
    ExitCode.INTERNAL: "The supervisor's own error.",
    ExitCode.KILLED: "Killed, as for lack of memory: nobody could say anything any more.",
    ExitCode.STOPPED: "Told to stop (SIGTERM); the state is saved.",
}
_INTRODUCTION = """What the container of a worker ends with, and so what `kubectl get pod` shows. `finetune run`
ends with the same codes. A training process that dies inside its pod has none of these: the pod's
supervisor starts another one."""


def page(reasons: Reasons) -> str:
    """The whole page."""
    head = ("Code", "Name", "Meaning", "What follows", "Reasons")
    return markdown.page("Exit codes", _INTRODUCTION, markdown.table(head, _rows(reasons)))


def _rows(reasons: Reasons) -> Iterator[tuple[str, ...]]:
    meanings = _OTHERS | {
        kind.exit_code: (kind.__doc__ or "").strip() for kind in errors.FineTuneError.__subclasses__()
    }
    for code in sorted(ExitCode):
        known = sorted(reason for reason, codes in reasons.codes.items() if code in codes)
        listed = ", ".join(f"[`{reason}`]({TROUBLE}#{reason})" for reason in known)
        yield (
            f"{markdown.anchor(str(int(code)))}{int(code)}",
            f"`{code.name}`",
            meanings[code],
            _follows(code),
            listed,
        )


def _follows(code: ExitCode) -> str:
    if code == ExitCode.OK:
        return "the job is complete"
    if code in PERMANENT:
        return "the job fails at once"
    return "the worker is replaced, " + ("nothing is counted" if code in IGNORED else "counted")
