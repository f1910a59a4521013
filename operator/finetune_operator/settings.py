"""How this operator is set up: one YAML file, read once, refused as a whole when something in it is unknown."""

import hashlib
import hmac
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import BaseModel, Field, PrivateAttr, ValidationError
from pydantic_core import ErrorDetails

from finetune_api import messages, yaml_loader
from finetune_api.errors import BadConfiguration, BadJob
from finetune_operator.knobs import (
    Client,
    Gangs,
    Group,
    Http,
    Lease,
    NetworkPolicy,
    References,
    Seconds,
    Timings,
    Trainer,
    WorkloadIdentity,
)

POD_NAMESPACE = "POD_NAMESPACE"
POD_NAME = "POD_NAME"


class Settings(Group):
    """Everything about this operator that a file or the environment decides."""

    namespaces: list[str] = Field(default=[])
    """Namespaces to watch. Empty: all."""
    lease: Lease = Lease()
    http: Http = Http()
    trainer: Trainer = Trainer()
    ttl_seconds_after_finished: Annotated[int, Field(ge=0)] | None = None
    """For jobs that do not say. None: they stay."""
    references: References = References()
    gangs: Gangs = Gangs()
    dead_nodes: bool = True
    """Whether to free workers from unreachable nodes; needs to read nodes."""
    network_policy: NetworkPolicy = NetworkPolicy()
    workload_identity: WorkloadIdentity = WorkloadIdentity()
    progress_interval_seconds: Seconds = 15.0
    """Shortest time between two patches of one job's progress."""
    client: Client = Client()
    workers: Annotated[int, Field(ge=1)] = 16
    """Jobs that are worked on at the same time."""
    timings: Timings = Timings()
    cluster_domain: str = "cluster.local"
    """What the names of Services end with."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """The least that is logged; JSON, one line each, without secrets."""
    pod_namespace: str = ""
    """Where this operator runs: POD_NAMESPACE; empty outside a cluster."""
    pod_name: str = ""
    """Which replica this is: POD_NAME."""

    _key: bytes = PrivateAttr(default_factory=lambda: secrets.token_bytes(32))

    @staticmethod
    def read(path: Path | None, environment: Mapping[str, str]) -> "Settings":
        """From the file, where there is one, and POD_NAMESPACE and POD_NAME.

        Raises:
            BadConfiguration: the file cannot be read or has settings that are unknown or wrong; all are named.
        """
        own = {"podNamespace": environment.get(POD_NAMESPACE), "podName": environment.get(POD_NAME)}
        document = {} if path is None else _load(path)
        try:
            return Settings.model_validate({key: value for key, value in own.items() if value} | document)
        except ValidationError as error:
            found = "\n  ".join(_explain(error))
            raise _bad(f"{path} is not what the operator can be set up with:\n  {found}") from None

    def token(self, uid: str) -> str:
        """The secret that the supervisors of the job `uid` know one another by; nobody else can work it out."""
        return hmac.new(self._key, uid.encode(), hashlib.sha256).hexdigest()


def _load(path: Path) -> dict[str, object]:
    try:
        return yaml_loader.load(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise _bad(f"{path} cannot be read: {error}") from None
    except BadJob as error:
        raise _bad(error.happened) from None


def _bad(happened: str) -> BadConfiguration:
    return BadConfiguration("BadSettings", happened)


def _explain(error: ValidationError) -> Iterator[str]:
    for details in error.errors(include_url=False):
        yield f"{messages.spell(details['loc'])}: {_problem(details)}"


def _problem(details: ErrorDetails) -> str:
    if details["type"] != "extra_forbidden":
        return f"{details['msg']}, got {details['input']!r}"
    *parents, name = details["loc"]
    known = _names_in([str(part) for part in parents])
    near = messages.nearest(str(name), known)
    return (
        f"unknown setting; did you mean {near}?" if near else f"unknown setting; known are {', '.join(known)}"
    )


def _names_in(parents: list[str]) -> list[str]:
    """Settings that the group at `parents` has."""
    group: type[BaseModel] = Settings
    for parent in parents:
        by_name = {field.alias: field.annotation for field in group.model_fields.values()}
        found = [kind for kind in (by_name[parent], *get_args(by_name[parent])) if isinstance(kind, type)]
        group = next(kind for kind in found if issubclass(kind, BaseModel))
    return sorted(str(field.alias) for field in group.model_fields.values())
