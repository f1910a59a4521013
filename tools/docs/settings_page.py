"""The reference of the operator's settings, from the model that reads them."""

from collections.abc import Iterator
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from finetune_operator.knobs import Names
from finetune_operator.settings import POD_NAME, POD_NAMESPACE, Settings
from tools.docs import markdown

_INTRODUCTION = f"""The operator reads one YAML file, `--config FILE`. An unknown or wrong setting is named and the
operator does not start. Times are in seconds.

In the [Helm chart](../../charts/finetune-operator/README.md) the value `config:` is that file:
`trainer.resources.memory` below is `config.trainer.resources.memory` there. What has a value of its own in the
chart (`watch.namespaces`,
`trainer.images`, pull secrets, `workloadIdentity`, `monitoring`) is not repeated below `config`.

```yaml
# operator.yaml
trainer:
  images: {{cpu: registry.example.com/finetune-trainer:0.1.0-cpu, gpu: registry.example.com/finetune-trainer:0.1.0-gpu}}
  resources: {{cpu: "4", memory: 8Gi}}
gangs: {{kueue: {{enabled: true}}}}
```

`podNamespace` and `podName` come from the environment ({POD_NAMESPACE}, {POD_NAME}) where the file does not say."""


def page() -> str:
    """The whole page."""
    return markdown.page("Settings of the operator", _INTRODUCTION, *_sections("", Settings))


def _sections(path: str, model: type[BaseModel], text: str | None = None) -> Iterator[str]:
    own = {name: field for name, field in model.model_fields.items() if _group(field) is None}
    yield f"## {path}" if path else "## At the top"
    if path:
        yield markdown.plain(" ".join((text or model.__doc__ or "").split()))
    if own:
        yield markdown.table(
            ("Setting", "Type", "Default", "Meaning"), (_row(path, field) for field in own.values())
        )
    for field in model.model_fields.values():
        group = _group(field)
        if group is not None:
            yield from _sections(_join(path, field), group, field.description)


def _row(path: str, field: FieldInfo) -> tuple[str, ...]:
    text = " ".join((field.description or "").split())
    return (
        f"{markdown.anchor(_join(path, field))}`{field.alias}`",
        _type(field.annotation, field),
        _default(field),
        " ".join(filter(None, [markdown.plain(text), *_bounds(field)])),
    )


def _join(path: str, field: FieldInfo) -> str:
    return f"{path}.{field.alias}" if path else str(field.alias)


def _group(field: FieldInfo) -> type[BaseModel] | None:
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def _type(kind: Any, field: FieldInfo) -> str:
    simple = {str: "text", int: "whole number", float: "number", bool: "true or false"}
    if kind in simple:
        return _amount(field) or simple[kind]
    inner = [one for one in get_args(kind) if one is not type(None)]
    if str(kind).startswith("typing.Literal"):
        return ", ".join(markdown.code(value) for value in inner)
    if str(kind).startswith("list["):
        return f"list of {_type(inner[0], field)}"
    if kind == Names:
        return "lists of names by namespace"
    if str(kind).startswith("dict["):
        return f"map of {_type(inner[1], field)}"
    return _type(inner[0], field) if inner else "text"


def _amount(field: FieldInfo) -> str:
    return "amount, such as `4Gi`" if "anyOf" in _shown(field) else ""


def _shown(field: FieldInfo) -> str:
    return str(field.metadata) + str(field.annotation)


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True)
    return "none" if value is None else markdown.code(value)


def _bounds(field: FieldInfo) -> Iterator[str]:
    for bound, word in (("ge", "At least"), ("gt", "Above"), ("le", "At most")):
        for rule in field.metadata:
            limit = getattr(rule, bound, None)
            if limit is not None and not (bound == "ge" and limit == 0):
                yield f"{word} {limit:,}."
