"""All rules, in order: the specification of what the operator does."""

from collections.abc import Callable

from finetune_operator import deadlines, healing, restoring, steps, verdicts
from finetune_operator.plan import Plan
from finetune_operator.situation import Situation
from finetune_operator.verdicts import Verdict

ENDINGS: tuple[Callable[[Situation], Verdict], ...] = (
    verdicts.deleted,
    verdicts.managed_elsewhere,
    verdicts.refused,
    verdicts.name_taken,
    verdicts.never_accepted,
    verdicts.gang_not_served,
    verdicts.ended,
    verdicts.job_lost,
)
"""The first that has something to say decides."""

STEPS: tuple[Callable[[Situation], Plan | None], ...] = (
    steps.create,
    steps.suspend,
    deadlines.resume,
    deadlines.stop,
    deadlines.release,
    deadlines.forgive,
    steps.resize,
    healing.free_dead_pods,
    healing.forget_failures,
    restoring.restore_children,
    steps.watch,
)
"""Every one of them is asked when none of those above had an answer."""
