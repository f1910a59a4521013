"""From how a pod ended to one reason and one sentence; of several failures the first cause."""

from datetime import timedelta

import pytest

from finetune_operator import failures
from finetune_operator.failures import Kind
from finetune_operator.observed import ConditionView, PodView
from pretend_objects import START


def pod(index=0, code=None, after=0, **changes):
    finished = None if code is None else START + timedelta(seconds=after)
    known = {"phase": "Succeeded" if code == 0 else "Failed", "exit_code": code, "finished": finished}
    return PodView(
        "ns", f"ft-flowers-{index}-abcde", f"uid-{index}-{after}", "job", index, START, **known | changes
    )


def said(code, reason, message):
    return f'{{"exitCode":{code},"reason":"{reason}","message":"{message}","stageName":"head","step":41}}'


def tale(sentence, ended, reason, kind, *phrases):
    return pytest.param(ended, reason, kind, phrases, id=sentence)


@pytest.mark.parametrize(
    ("ended", "reason", "kind", "phrases"),
    [
        tale("64 is a bad job", pod(1, 64), "BadJob", Kind.PERMANENT, "worker 1", "exit code 64"),
        tale("65 is bad data", pod(1, 65), "BadData", Kind.PERMANENT),
        tale("66 is a missing input", pod(1, 66), "MissingInput", Kind.PERMANENT),
        tale("69 has given up", pod(1, 69), "GaveUp", Kind.PERMANENT),
        tale("70 is the supervisor's own error", pod(1, 70), "InternalError", Kind.COUNTED),
        tale("1 is a crash of the supervisor", pod(1, 1), "Crashed", Kind.COUNTED),
        tale("75 misses its peers", pod(1, 75), "PeersMissing", Kind.CONSEQUENCE),
        tale("77 was denied", pod(1, 77), "PermissionDenied", Kind.PERMANENT),
        tale("78 is set up wrongly", pod(1, 78), "BadConfiguration", Kind.PERMANENT),
        tale("137 was killed", pod(1, 137), "Killed", Kind.COUNTED, "SIGKILL", "memory"),
        tale("143 was told to stop", pod(1, 143), "Stopped", Kind.CONSEQUENCE),
        tale(
            "137 after its grace was over is whoever's fault deleted it",
            pod(1, 137, deleting=START),
            "Killed",
            Kind.DISRUPTION,
        ),
        tale(
            "the container was killed for memory",
            pod(1, 137, exit_reason="OOMKilled"),
            "OutOfMemory",
            Kind.COUNTED,
            "lack of memory",
            "Fix: lower spec.globalBatchSize",
        ),
        tale(
            "the training process was killed for memory and the supervisor says so",
            pod(1, 69, termination=said(69, "OutOfMemory", "killed at 4.0 GiB. Fix: use more workers.")),
            "OutOfMemory",
            Kind.PERMANENT,
            "stage head, step 41",
            "killed at 4.0 GiB.",
            "Fix: use more workers.",
        ),
        tale(
            "the report's reason is better than the code's",
            pod(0, 65, termination=said(65, "NoImages", "there are none. Expected: some. Fix: add them.")),
            "NoImages",
            Kind.PERMANENT,
            "Expected: some. Fix: add them.",
        ),
        tale(
            "a report with a reason that Kubernetes would not take",
            pod(0, 65, termination=said(65, "no images!", "none")),
            "noimages",
            Kind.PERMANENT,
        ),
        tale(
            "a termination message that is the end of a log",
            pod(0, 70, termination="Traceback"),
            "InternalError",
            Kind.COUNTED,
        ),
        tale(
            "a termination message that is cut off",
            pod(0, 70, termination='{"exitCode"'),
            "InternalError",
            Kind.COUNTED,
        ),
        tale(
            "evicted for its storage: it would be again",
            pod(
                2,
                None,
                status_reason="Evicted",
                status_message="Pod ephemeral local storage usage exceeds 2Gi",
            ),
            "StorageExceeded",
            Kind.PERMANENT,
            "exceeds 2Gi",
            "featureCache.maxBytes",
        ),
        tale(
            "evicted for the node's sake",
            pod(2, 137, status_reason="Evicted", disruption="TerminationByKubelet"),
            "Evicted",
            Kind.DISRUPTION,
        ),
        tale(
            "preempted",
            pod(2, 143, disruption="PreemptionByScheduler", node="n1"),
            "Preempted",
            Kind.DISRUPTION,
            "n1",
        ),
        tale("drained", pod(2, 143, disruption="EvictionByEvictionAPI"), "Evicted", Kind.DISRUPTION),
        tale("its node went away", pod(2, disruption="DeletionByTaintManager"), "NodeLost", Kind.DISRUPTION),
        tale("its node no longer answers", pod(2, disruption="NodeLost"), "NodeLost", Kind.DISRUPTION),
        tale("deleted by force", pod(2, disruption="ForceDeleted"), "ForceDeleted", Kind.DISRUPTION),
        tale("a disruption nobody has heard of", pod(2, disruption="Gremlins"), "Disrupted", Kind.DISRUPTION),
        tale(
            "a node that refused it",
            pod(2, status_reason="OutOfcpu", status_message="no cpu"),
            "OutOfcpu",
            Kind.COUNTED,
            "no cpu",
        ),
        tale("failed without a word", pod(2), "PodFailed", Kind.COUNTED),
    ],
)
def test_one_failure(ended, reason, kind, phrases):
    failure = failures.of_pod(ended)
    assert (failure.reason, failure.kind, failure.worker) == (reason, kind, ended.index)
    for phrase in phrases:
        assert phrase in failure.sentence


@pytest.mark.parametrize(
    "fine",
    [
        pytest.param(pod(0, 0), id="succeeded"),
        pytest.param(pod(0, None, phase="Running"), id="running"),
        pytest.param(pod(0, None, phase="Pending"), id="not started"),
    ],
)
def test_no_failure(fine):
    assert failures.of_pod(fine) is None


def story(sentence, pods, reason, worker):
    return pytest.param(pods, reason, worker, id=sentence)


@pytest.mark.parametrize(
    ("pods", "reason", "worker"),
    [
        story(
            "the one that was killed, not the peers that left for it",
            [pod(0, 75, 1), pod(1, 137, 2)],
            "Killed",
            1,
        ),
        story(
            "a drained worker, not its peers",
            [pod(0, 75, 9), pod(2, 143, 3, disruption="EvictionByEvictionAPI")],
            "Evicted",
            2,
        ),
        story("the first of two real failures", [pod(3, 70, 4), pod(1, 137, 2)], "Killed", 1),
        story("the newest episode", [pod(1, 137, 0), pod(2, 70, 600), pod(0, 75, 601)], "InternalError", 2),
        story("peers that left for reasons unknown", [pod(0, 75, 1), pod(1, 75, 2)], "PeersMissing", 0),
    ],
)
def test_the_first_cause_of_the_newest_episode(pods, reason, worker):
    found = failures.latest(pods)
    assert (found.reason, found.worker) == (reason, worker)


def test_nothing_failed():
    assert failures.latest([pod(0, 0), pod(1, None, phase="Running")]) is None


POLICY = ConditionView(
    "True",
    "PodFailurePolicy",
    "Container trainer for pod ns/ft-flowers-3-x7k2p failed with exit code 78 matching FailJob rule at index 1",
    START,
)


@pytest.mark.parametrize(
    ("pods", "condition", "reason", "worker", "code"),
    [
        pytest.param([pod(1, 65)], POLICY, "BadData", 1, 65, id="a permanent code decides"),
        pytest.param(
            [pod(0, 69, 5), pod(1, 65, 1), pod(2, 75, 0)],
            POLICY,
            "BadData",
            1,
            65,
            id="the first of two permanent ones",
        ),
        pytest.param(
            [], POLICY, "BadConfiguration", 3, 78, id="the pod is gone, the Job controller still knows"
        ),
        pytest.param(
            [pod(1, 137, 1), pod(1, 137, 700, exit_reason="OOMKilled")],
            ConditionView("True", "MaxFailedIndexesExceeded", "Job has exceeded the specified number", START),
            "OutOfMemory",
            1,
            137,
            id="the last of the failures that spent the budget",
        ),
        pytest.param(
            [pod(0, 75, 1)],
            ConditionView(
                "True", "BackoffLimitExceeded", "Job has reached the specified backoff limit", START
            ),
            "BackoffLimitExceeded",
            None,
            None,
            id="nothing but the Job's own word",
        ),
        pytest.param(
            [],
            ConditionView("True", "DeadlineExceeded", "Job was active too long", START),
            "DeadlineExceeded",
            None,
            None,
            id="a deadline that somebody has set on the Job",
        ),
        pytest.param(
            [], ConditionView("True", "", ""), "Failed", None, None, id="a Job that does not say why"
        ),
    ],
)
def test_what_ended_the_job(pods, condition, reason, worker, code):
    found = failures.decisive(pods, condition)
    assert (found.reason, found.worker, found.exit_code) == (reason, worker, code)
    assert found.message
