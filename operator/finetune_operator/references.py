"""What a job of a namespace may name: whoever may write FineTuneJobs there shall not reach further than the
platform wants."""

from collections.abc import Iterator

from finetune_api.v1alpha1 import FineTuneJob
from finetune_operator.knobs import Names
from finetune_operator.settings import Settings

_ALL = "*"


def refused_references(job: FineTuneJob, namespace: str, settings: Settings) -> list[str]:
    """One sentence for each name in the job that its namespace may not use; empty when all is well."""
    spec, lists = job.spec, settings.references
    wanted = (
        ("storage.secretName", spec.storage.secret_name, lists.secrets),
        ("storage.caConfigMap", spec.storage.ca_config_map, lists.config_maps),
        ("serviceAccountName", spec.service_account_name, lists.service_accounts),
        ("scheduling.priorityClassName", spec.scheduling.priority_class_name, lists.priority_classes),
        ("image", spec.image, lists.images),
    )
    return [text for field, name, allowed in wanted for text in _refused(field, name, namespace, allowed)]


def _refused(field: str, name: str | None, namespace: str, lists: Names) -> Iterator[str]:
    allowed = lists.get(namespace, lists.get(_ALL))
    if name is not None and allowed is not None and not any(_fits(name, one) for one in allowed):
        known = ", ".join(allowed) or "none"
        yield f"spec.{field}: {name} may not be used in namespace {namespace}; allowed: {known}"


def _fits(name: str, listed: str) -> bool:
    # No name has a * in it.
    return name.startswith(listed[:-1]) if listed.endswith(_ALL) else name == listed
