"""What the processes agree on: names, ports, exit codes and the environment of a trainer pod."""

import json
from enum import IntEnum, StrEnum

CONTRACT_VERSION = 1
GROUP = "finetune.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
KIND = "FineTuneJob"

GPU = "nvidia.com/gpu"
"""Resource and taint of the devices that the trainer uses."""
TENSORFLOW_PORT = 2222
RENDEZVOUS_PORT = 2223
HTTP_PORT = 9090
TERMINATION_LIMIT = 4096
"""Kubernetes keeps this many bytes of a container's termination message."""
TERMINATION_FILE = "/dev/termination-log"
"""Where Kubernetes reads it from unless the pod says otherwise."""
CONTAINER = "trainer"
"""Name of the supervisor's container in its pod."""
MANAGER = "finetune-operator"
"""Value of Label.MANAGED_BY on everything the operator makes."""
CONTROLLER = f"{GROUP}/finetune-operator"
"""The operator, as `spec.managedBy` of a job calls it."""


class Env(StrEnum):
    """Environment of a supervisor; on a cluster the pod sets it, locally `finetune run` does."""

    JOB = "FINETUNE_JOB"  # path of job.json
    INDEX = "FINETUNE_WORKER_INDEX"  # this worker's number, 0 is the chief
    ADDRESSES = "FINETUNE_ADDRESSES"  # host:port of each worker's TensorFlow server, comma-separated
    RENDEZVOUS = "FINETUNE_RENDEZVOUS"  # host:port of supervisor 0's rendezvous
    HTTP = "FINETUNE_HTTP"  # host:port to serve /metrics, /progress, /healthz and /ready on
    TOKEN = "FINETUNE_TOKEN"  # random per job; a peer without it is turned away
    SCRATCH = "FINETUNE_SCRATCH"  # local folder for checkpoints in the making, feature cache, export
    TERMINATION = "FINETUNE_TERMINATION_FILE"  # where the TrainerReport goes
    CREDENTIALS = "FINETUNE_CREDENTIALS"  # folder with storage credentials, or unset
    SECRET = "FINETUNE_SECRET"  # name of the secret behind CREDENTIALS, for messages; unset without one
    CA = "FINETUNE_CA"  # name of the ConfigMap behind CREDENTIALS' ca.crt, for messages; unset without one
    CLOSED = "FINETUNE_CLOSED_ADDRESSES"  # CIDRs, comma-separated, where no storage and no proxy may be; unset: none
    THREADS = "FINETUNE_THREADS"  # processor threads for this worker's TensorFlow


class Label(StrEnum):
    """Labels of the operator's objects and of the trainer pods."""

    MANAGED_BY = "app.kubernetes.io/managed-by"  # always MANAGER
    NAME = "app.kubernetes.io/name"  # always finetune-trainer
    JOB_NAME = f"{GROUP}/job-name"  # the FineTuneJob's name
    JOB_UID = f"{GROUP}/job-uid"  # its uid: pods of a namesake that was deleted a moment ago are not ours
    QUEUE = "kueue.x-k8s.io/queue-name"  # Kueue's, on the Job
    INDEX = "batch.kubernetes.io/job-completion-index"  # the Job controller's, on pods; an annotation too


class Annotation(StrEnum):
    """Annotations of the operator's objects."""

    CONTRACT = f"{GROUP}/contract-version"  # CONTRACT_VERSION that Job and job.json were made by
    DIGEST = f"{GROUP}/job-digest"  # SHA-256 of job.json
    STOP_REASON = f"{GROUP}/stop-reason"  # why the operator ended the Job, in the patch that ends it
    STOP_MESSAGE = f"{GROUP}/stop-message"
    RELEASES = f"{GROUP}/releases"  # how often what an incomplete gang held was released
    RESUME_AT = f"{GROUP}/resume-at"  # when a released gang tries again, RFC 3339


class ExitCode(IntEnum):
    """A supervisor's verdict as its exit status; the Job's podFailurePolicy and `finetune run` act on it."""

    OK = 0
    INTERNAL = 70
    BAD_JOB = 64
    BAD_DATA = 65
    MISSING_INPUT = 66
    GAVE_UP = 69
    TRY_AGAIN = 75
    DENIED = 77
    BAD_CONFIGURATION = 78
    KILLED = 137
    STOPPED = 143


PERMANENT = frozenset(
    {
        ExitCode.BAD_JOB,
        ExitCode.BAD_DATA,
        ExitCode.MISSING_INPUT,
        ExitCode.GAVE_UP,
        ExitCode.DENIED,
        ExitCode.BAD_CONFIGURATION,
    }
)
"""Ends the whole job: starting again cannot help."""

IGNORED = frozenset({ExitCode.TRY_AGAIN, ExitCode.STOPPED})
"""The worker is replaced and nothing is counted."""


def tf_config(addresses: list[str], index: int) -> str:
    """The TF_CONFIG of worker `index` in a gang whose TensorFlow servers are at `addresses` (host:port)."""
    return json.dumps({"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}})
