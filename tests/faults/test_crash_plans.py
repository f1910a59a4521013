"""The operator crashed at every single write of whole lives of a FineTuneJob: each ends as if nothing had happened."""

from concurrent.futures import ThreadPoolExecutor
from itertools import zip_longest
from time import monotonic

import pytest

from crash_plans import Plan, Reference, Run, record, run
from fault_rig import Rig
from workloads import WORKLOADS

AT_ONCE = 8
TRIES = 5
"""A write that comes in one run may be missing in another, when two states are seen as one; then it is tried again."""
MISSED = 0.03
"""Share of the plans whose write may be missing in all tries: the last of a life, on a machine where that is usual."""


@pytest.mark.timeout(900)
def test_a_crash_at_any_write_changes_nothing(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    began = monotonic()
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="plan") as threads:
        references = list(threads.map(lambda workload: record(rig, workload), WORKLOADS))
        columns = zip_longest(*(reference.plans() for reference in references))
        todo = [
            (plan, reference)
            for row in columns
            for plan, reference in zip(row, references, strict=True)
            if plan
        ]
        runs = list(threads.map(lambda one: _tried(rig, *one), todo))
    missed = [each for each in runs if each.unmet]
    failed = [each for each in runs if each.faults and not each.unmet]
    with capsys.disabled():
        print(f"\n{_table(references, runs)}")
        print(
            f"{len(runs)} crash plans, {sum(not each.faults for each in runs)} passed, {len(missed)} never came, "
            f"{monotonic() - began:.0f} s"
        )
    assert not failed, "\n".join(f"{each.plan}:\n  " + "\n  ".join(each.faults[:12]) for each in failed)
    assert len(missed) <= MISSED * len(runs), [str(each.plan) for each in missed]


def _tried(rig: Rig, plan: Plan, reference: Reference) -> Run:
    for _ in range(TRIES):
        result = run(rig, plan, reference)
        if not result.unmet:
            break
    return result


def _table(references: list[Reference], runs: list[Run]) -> str:
    lines = [f"{'life':30} writes plans passed seconds"]
    for reference in references:
        name = reference.runs[0].plan.workload.name
        mine = [each for each in runs if each.plan.workload.name == name]
        passed, seconds = sum(not each.faults for each in mine), sum(each.seconds for each in mine)
        lines.append(
            f"{name:30} {reference.writes:6} {len(mine):5} {passed:6} {seconds / max(1, len(mine)):7.1f}"
        )
    return "\n".join(lines)
