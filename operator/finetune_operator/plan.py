"""What `decide` wants done: data only. The executor carries out actions in order and stops at the first failure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from finetune_api.v1alpha1 import FineTuneJobStatus

Manifest = Mapping[str, Any]
"""A whole API object as JSON."""


@dataclass(frozen=True)
class Create:
    """POST; AlreadyExists is fine when the object's controller is this FineTuneJob, else it is a NameConflict."""

    manifest: Manifest


@dataclass(frozen=True)
class Patch:
    """A merge patch of one object, refused unless it still has this uid."""

    kind: str
    name: str
    uid: str
    body: Mapping[str, Any]
    subresource: Literal["", "status"] = ""
    keyed: bool = False
    """A strategic merge patch: of lists whose items have a key, as conditions their type, the others stay."""


@dataclass(frozen=True)
class Delete:
    """Deletes one object with this uid, its dependents in the background."""

    kind: str
    name: str
    uid: str
    grace_seconds: int | None = None


Action = Create | Patch | Delete


@dataclass(frozen=True)
class Note:
    """A Kubernetes Event about the FineTuneJob. The recorder drops repetitions."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str


@dataclass(frozen=True)
class Plan:
    """The answer of `decide`. Empty: everything is as it should be."""

    actions: tuple[Action, ...] = ()
    status: FineTuneJobStatus | None = None
    """The new status, patched after the actions; None: as it is."""
    notes: tuple[Note, ...] = ()
    """Recorded after the status is written."""
    again: float | None = None
    """Seconds after which to decide again even if nothing changes."""
    poll: bool = False
    """Whether worker 0 is to be asked for its progress."""
    want_events: bool = False
    """Whether to LIST the events of Job and pods now, keep them for this job and decide again with them."""
    want_job: bool = False
    """Whether to GET the Job, put the answer where `Observed.job` or `Observed.job_absent` comes from, and
    decide again: the status names a Job that is not in the store."""
    check: bool = False
    """Whether to read the FineTuneJob itself from the API first (uid, deletionTimestamp): children are created."""
