"""Why workers are not there: from pods and from the Events that alone say it."""

from datetime import timedelta

import pytest

from finetune_operator import waiting
from finetune_operator.observed import EventView, PodView
from pretend_objects import START

QUOTA = 'pods "ft-flowers-0-x" is forbidden: exceeded quota: gpus, requested: gpu=1, used: 4, limited: 4'
SECURITY = 'pods "x" is forbidden: violates PodSecurity "restricted:latest": runAsNonRoot != true'


def pod(**changes):
    return PodView("ns", "ft-flowers-0-x", "uid", "job", 0, START, "Pending", **changes)


def event(reason, message, kind="Pod", name="ft-flowers-0-x", after=0):
    return EventView(kind, name, reason, message, START + timedelta(seconds=after))


def of_job(message):
    return event("FailedCreate", message, "Job", "ft-flowers")


def tale(sentence, pods, events, reason):
    return pytest.param(pods, events, reason, id=sentence)


@pytest.mark.parametrize(
    ("pods", "events", "reason"),
    [
        tale("the quota is used up", [], [of_job(QUOTA)], "QuotaExceeded"),
        tale(
            "the quota wants limits",
            [],
            [of_job("failed quota: q: must specify limits.cpu")],
            "QuotaExceeded",
        ),
        tale("Pod Security refuses", [], [of_job(SECURITY)], "PodRejected"),
        tale(
            "a webhook refuses", [], [of_job('admission webhook "x" denied the request: no')], "PodRejected"
        ),
        tale("the API refuses for a reason unheard of", [], [of_job("Internal error")], "PodRejected"),
        tale("no node fits", [pod(unschedulable="0/5 nodes are available")], None, "Unschedulable"),
        tale(
            "no volume fits",
            [pod(unschedulable="pod has unbound immediate PersistentVolumeClaims")],
            None,
            "VolumeUnbound",
        ),
        tale(
            "no claim", [pod(unschedulable='persistentvolumeclaim "data" not found')], None, "VolumeUnbound"
        ),
        tale(
            "no image", [pod(waiting_reason="ErrImagePull", waiting_message="not found")], None, "ImagePull"
        ),
        tale("still no image", [pod(waiting_reason="ImagePullBackOff")], None, "ImagePull"),
        tale("no such image name", [pod(waiting_reason="InvalidImageName")], None, "ImagePull"),
        tale(
            "a secret as a variable",
            [pod(waiting_reason="CreateContainerConfigError", waiting_message='secret "s3" not found')],
            None,
            "SecretMissing",
        ),
        tale(
            "a container that cannot start",
            [pod(waiting_reason="RunContainerError")],
            None,
            "ContainerNotStarted",
        ),
        tale(
            "the secret cannot be mounted",
            [pod()],
            [
                event(
                    "FailedMount", 'MountVolume.SetUp failed for volume "credentials" : secret "s3" not found'
                )
            ],
            "SecretMissing",
        ),
        tale(
            "a volume cannot be mounted",
            [pod()],
            [event("FailedMount", "timed out waiting")],
            "VolumeUnbound",
        ),
        tale(
            "a volume cannot be attached", [pod()], [event("FailedAttachVolume", "in use")], "VolumeUnbound"
        ),
        tale("the image, by its Event", [pod()], [event("Failed", "Failed to pull image")], "ImagePull"),
        tale("no network", [pod()], [event("FailedCreatePodSandBox", "cni")], "NodeNotReady"),
        tale("no node, by its Event", [pod()], [event("FailedScheduling", "0/3 nodes")], "Unschedulable"),
        tale(
            "of two the newest",
            [pod()],
            [event("FailedScheduling", "0/3", after=1), event("Failed", "image", after=2)],
            "ImagePull",
        ),
        tale("nothing is known", [pod()], None, None),
        tale("nothing is said", [pod()], [], None),
        tale("an Event of another pod", [pod()], [event("FailedMount", "x", name="ft-flowers-0-old")], None),
        tale("an Event that says nothing about it", [pod()], [event("Unhealthy", "probe failed")], None),
    ],
)
def test_the_reason(pods, events, reason):
    found = waiting.of_pods(pods, missing=not pods, events=events)
    assert (found.reason if found else None) == reason


def test_a_refusal_that_is_over_is_not_told():
    assert waiting.of_pods([pod()], missing=False, events=[of_job(QUOTA)]) is None


def test_a_waiting_worker_is_told_by_message_and_hint():
    found = waiting.of_pods([], missing=True, events=[of_job(QUOTA)])
    assert "limited: 4" in found.message
    assert "ResourceQuota" in found.hint


def test_what_the_scheduler_says_about_preemption_is_left_out():
    said = "0/4 nodes are available: 4 Insufficient nvidia.com/gpu. no new claims to deallocate, preemption: 0/4 no."
    kept = "0/4 nodes are available: 4 Insufficient nvidia.com/gpu."
    for text in (said, said.replace("no new claims to deallocate, ", "")):
        assert waiting.of_pods([pod(unschedulable=text)], missing=False, events=None).message == kept
        told = waiting.of_pods([pod()], missing=False, events=[event("FailedScheduling", text)])
        assert told.message == kept
