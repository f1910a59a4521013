"""The templates that are made from code: the rights of the operator, and the CustomResourceDefinition."""

import textwrap
from collections.abc import Iterator
from typing import Any

import yaml

from finetune_api import crd
from finetune_api.contract import MANAGER
from finetune_operator import rbac
from finetune_operator.settings import Settings

_HEADING = "{{/* Made by `make generate` from tools/chart. */ -}}"
_SWITCHES: dict[str, tuple[str, ...]] = {
    "network-policy": ("networkPolicy", "enabled"),
    "dead-nodes": ("deadNodes",),
    "kueue": ("gangs", "kueue", "enabled"),
    "coscheduling": ("gangs", "coscheduling", "enabled"),
    "pod-group": ("gangs", "podGroup", "enabled"),
}
"""By the end of a role's name, the setting that asks for it."""


def rules() -> str:
    """Named templates: rules of the operator where its jobs are, those of the whole cluster, those at home."""
    names = {f"{MANAGER}-{flag}": path for flag, path in _SWITCHES.items()}
    roles = {role["metadata"]["name"]: role["rules"] for role in rbac.roles()}
    lease = roles.pop(f"{MANAGER}-lease")
    core = roles.pop(MANAGER)
    here = [_yaml(core)]
    everywhere: list[str] = []
    for name, found in roles.items():
        here += _switched(names[name], [rule for rule in found if not _is_of_the_cluster(rule)])
        everywhere += _switched(names[name], [rule for rule in found if _is_of_the_cluster(rule)])
    parts = {"rules": "\n".join(here), "clusterRules": "\n".join(everywhere), "leaseRules": _yaml(lease)}
    return "\n".join([_HEADING, *(_define(name, text) for name, text in parts.items())])


def custom_resource() -> str:
    """The CustomResourceDefinition, to be left where it is by `helm uninstall`."""
    whole = crd.crd()
    metadata = {"metadata": {"name": whole["metadata"]["name"]}}
    head = {"apiVersion": whole["apiVersion"], "kind": whole["kind"]}
    written = crd.crd_yaml()
    body = written[written.index("\nspec:\n") + 1 :]
    return "\n".join(
        [
            _HEADING,
            "{{- if .Values.crds.install }}",
            _yaml(head),
            _yaml(metadata),
            "  labels:",
            '    {{- include "finetune-operator.labels" . | nindent 4 }}',
            "  {{- if .Values.crds.keep }}",
            "  annotations:",
            "    helm.sh/resource-policy: keep",
            "  {{- end }}",
            body.replace("{{", "{{ `{{` }}").rstrip("\n"),
            "{{- end }}\n",
        ]
    )


def _is_of_the_cluster(rule: dict[str, Any]) -> bool:
    return bool(rule["resources"] == ["nodes"])


def _switched(path: tuple[str, ...], found: list[dict[str, Any]]) -> Iterator[str]:
    if found:
        default: Any = Settings().model_dump(by_alias=True)
        for key in path:
            default = default[key]
        keys = " ".join(f'"{key}"' for key in path)
        yield f"{{{{- if dig {keys} {str(default).lower()} .Values.config }}}}"
        yield _yaml(found)
        yield "{{- end }}"


def _define(name: str, text: str) -> str:
    return f'{{{{- define "finetune-operator.{name}" -}}}}\n{text}\n{{{{- end }}}}\n'


def _yaml(body: Any) -> str:
    return textwrap.dedent(yaml.safe_dump(body, sort_keys=False)).rstrip("\n")
