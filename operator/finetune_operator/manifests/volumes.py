"""The one table of a worker's local volumes, and what is mounted from elsewhere."""

from dataclasses import dataclass
from typing import Any

from finetune_api.v1alpha1.units import parse_quantity
from finetune_operator.manifests.subject import Manifest, Subject

JOB_FOLDER = "/etc/finetune/job"
CREDENTIALS_FOLDER = "/etc/finetune/credentials"
HOME_FOLDER = "/home/finetune"
KERAS_FOLDER = "/var/lib/keras"
SCRATCH_FOLDER = "/scratch"
DATA_FOLDER = "/data"
OUTPUT_FOLDER = "/output"

LOG_BYTES = 1 << 30
"""Room for a worker's log and what else the container runtime keeps for it."""
_CACHE_SPARE_BYTES = 64 << 20
"""Shares differ a little: examples are dealt one by one."""


@dataclass(frozen=True)
class Local:
    """An empty volume that lives as long as its pod."""

    name: str
    path: str
    bytes: int
    in_memory: bool = False


def local_volumes(subject: Subject) -> list[Local]:
    """Every place a worker can write to; its root file system is read-only."""
    sizes = subject.settings.trainer.volumes
    shared = sizes.gpu_shared_memory if subject.has_gpus else sizes.shared_memory
    table = [
        Local("tmp", "/tmp", parse_quantity(sizes.tmp)),
        Local("home", HOME_FOLDER, parse_quantity(sizes.home)),
        Local("shared-memory", "/dev/shm", parse_quantity(shared), in_memory=True),
        Local("scratch", SCRATCH_FOLDER, parse_quantity(sizes.scratch)),
    ]
    if subject.settings.trainer.keras_home is None:
        table.append(Local("keras", KERAS_FOLDER, parse_quantity(sizes.keras)))
    if subject.job.spec.feature_cache.mode != "Disabled":
        table.append(Local("features", f"{SCRATCH_FOLDER}/features", _cache_bytes(subject)))
    return table


def _cache_bytes(subject: Subject) -> int:
    share = -(-parse_quantity(subject.job.spec.feature_cache.max_bytes) // subject.job.spec.workers)
    return share + share // 10 + _CACHE_SPARE_BYTES


def has_credentials(subject: Subject) -> bool:
    """Whether the pods have a folder with them."""
    storage = subject.job.spec.storage
    return bool(storage.secret_name or storage.ca_config_map)


def volumes(subject: Subject) -> list[Manifest]:
    """`spec.volumes` of the pod."""
    return [
        {"name": "job", "configMap": {"name": subject.name}},
        *([_credentials(subject)] if has_credentials(subject) else []),
        *({"name": name, "persistentVolumeClaim": claim} for name, _, claim in _claims(subject)),
        *({"name": local.name, "emptyDir": _empty_dir(local)} for local in local_volumes(subject)),
    ]


def mounts(subject: Subject) -> list[Manifest]:
    """`volumeMounts` of the container."""
    credentials = {"name": "credentials", "mountPath": CREDENTIALS_FOLDER, "readOnly": True}
    return [
        {"name": "job", "mountPath": JOB_FOLDER, "readOnly": True},
        *([credentials] if has_credentials(subject) else []),
        *(
            {"name": name, "mountPath": path, "readOnly": claim["readOnly"]}
            for name, path, claim in _claims(subject)
        ),
        *({"name": local.name, "mountPath": local.path} for local in local_volumes(subject)),
    ]


def _credentials(subject: Subject) -> Manifest:
    # A whole folder, not single files: those would never see a rotated key. Optional: a pod that waits
    # for a secret says nothing, the supervisor does.
    storage = subject.job.spec.storage
    sources: list[Manifest] = []
    if storage.secret_name:
        sources.append({"secret": {"name": storage.secret_name, "optional": True}})
    if storage.ca_config_map:
        items = [{"key": "ca.crt", "path": "ca.crt"}]
        sources.append({"configMap": {"name": storage.ca_config_map, "items": items, "optional": True}})
    return {"name": "credentials", "projected": {"defaultMode": 0o440, "sources": sources}}


def _claims(subject: Subject) -> list[tuple[str, str, dict[str, Any]]]:
    spec = subject.job.spec
    wanted = (
        ("data", DATA_FOLDER, spec.data.volume_claim_name, True),
        ("output", OUTPUT_FOLDER, spec.output.volume_claim_name, False),
    )
    return [
        (name, path, {"claimName": claim, "readOnly": read_only})
        for name, path, claim, read_only in wanted
        if claim
    ]


def _empty_dir(local: Local) -> Manifest:
    medium = {"medium": "Memory"} if local.in_memory else {}
    return {**medium, "sizeLimit": written(local.bytes)}


def written(amount: int) -> str:
    """Bytes as Kubernetes writes them: the largest unit without a fraction."""
    for suffix, scale in (("Gi", 1 << 30), ("Mi", 1 << 20), ("Ki", 1 << 10)):
        if amount and amount % scale == 0:
            return f"{amount // scale}{suffix}"
    return str(amount)
