"""Values about admission policies."""

from pydantic import Field

from finetune_operator.knobs import Group


class RequesterPolicy(Group):
    """For whoever creates FineTuneJobs: a job may name only what its author could use without it. Asks for the rights
    `get` on secrets and ConfigMaps, `impersonate` or `use` on service accounts, `update` or `use` on
    PersistentVolumeClaims, `use` on PriorityClasses; and refuses at once what config.references does not list."""

    enabled: bool = False
    """Whether to have it."""
    hosts: list[str] = Field(default=[])
    """Where jobs may have their storage endpoint and proxies: host names, or .example.com for everything below. Empty:
    everywhere but at addresses that hand out credentials."""


class OperatorPolicy(Group):
    """For the operator itself: whoever has stolen its token can touch its own objects only, and run no pod that is not
    a trainer's."""

    enabled: bool = False
    """Whether to have it."""
    closed_namespaces: list[str] = Field(default=["kube-system", "kube-public", "kube-node-lease"])
    """Where it may make nothing at all; with watch.namespaces also everywhere else."""


class Admission(Group):
    """ValidatingAdmissionPolicies, checked by the API server itself: nothing to run, nothing to time out."""

    requester: RequesterPolicy = RequesterPolicy()
    operator: OperatorPolicy = OperatorPolicy()
