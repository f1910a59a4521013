"""The reference of the FineTuneJob: what can be written, and what comes back."""

from collections.abc import Iterator
from typing import Any, get_args

from finetune_api import backbones, crd, not_built
from finetune_api.contract import API_VERSION
from finetune_api.v1alpha1.job import CHANGEABLE
from finetune_api.v1alpha1.status import ConditionType, JobPhase
from tools.docs import fields, markdown
from tools.docs.reasons import Reasons
from tools.docs.source import PASSED_ON, PHASE

TROUBLE = "../troubleshooting.md"
_PHASES: dict[JobPhase, str] = {
    "Pending": "Something stands in the way: see the reason in `kubectl get ftj -o wide`.",
    "Queued": "A queue decides when it may start.",
    "Starting": "The pods are being made and started.",
    "Running": "All workers are up.",
    "Restarting": "A worker is missing and is being replaced; training goes on from the newest checkpoint.",
    "Suspended": "`spec.suspend` is true: no pods, everything kept.",
    "Exporting": "Trained; the model is being written, verified and published.",
    "Complete": "The model is there. Final.",
    "Failed": "It came to nothing. Final.",
}
_CONDITIONS: dict[ConditionType, str] = {
    "Validated": "The spec can be run.",
    "Admitted": "The workers may start: no queue, or the queue has let them.",
    "WorkersReady": "All workers are up. If not: why.",
    "Training": "The run makes progress through its stages.",
    "CheckpointHealthy": "There is a checkpoint to go on from.",
    "ModelExported": "The model was published.",
    "Complete": "The job has ended well.",
    "Failed": "The job has failed; the message says why and what to do.",
    "Finished": "The job has ended, either way: what to wait for.",
    "ProgressAvailable": "Worker 0 tells the operator how far it is.",
}
_INTRODUCTION = f"""Everything that can be written into a FineTuneJob (`{API_VERSION}`), and everything that comes back
in its status. `kubectl explain finetunejob.spec` says the same. Objects lead to their own table; each field has an
address, such as `finetunejob.md#spec.stages.learningRate`.

```yaml
apiVersion: {API_VERSION}
kind: FineTuneJob
metadata: {{name: flowers, namespace: team-a}}
spec:
  workers: 2
  model: {{backbone: EfficientNetB0}}
  data: {{train: s3://team-a/flowers/train}}
  stages:
  - {{name: head, unfreeze: {{blocks: 0}}, optimizer: {{name: LBFGS}}}}
  - {{name: finetune, unfreeze: {{blocks: 2}}, epochs: 10, learningRate: 0.0001}}
  output: {{uri: s3://team-a/models}}
  storage: {{secretName: s3-credentials}}
```

A field that is `null` counts as absent. Unknown fields are refused. **The spec is fixed when the job is
created**, but for {", ".join(f"[`{name}`](#spec.{name})" for name in CHANGEABLE)}:
to try something else, make another FineTuneJob.
Fields that are not built yet say so; a job that uses one is refused by name ([NotBuilt]({TROUBLE}#NotBuilt)).
The name has at most 63 lower-case letters, digits and dashes."""


def page(reasons: Reasons) -> str:
    """The whole page."""
    job = crd.crd()["spec"]["versions"][0]
    properties = job["schema"]["openAPIV3Schema"]["properties"]
    spec, status = properties["spec"], properties["status"]
    return markdown.page(
        "FineTuneJob",
        _INTRODUCTION,
        "\n".join(
            ["Contents:", "", *fields.contents("spec", spec), *fields.contents("status", status), *_MORE]
        ),
        *fields.sections("spec", spec, fields.Style(_remark, CHANGEABLE)),
        *_backbones(),
        *fields.sections("status", status, fields.Style(lambda _: "", defaults=False)),
        *_phases(),
        *_conditions(reasons),
        *_events(reasons),
        *_columns(job, status),
    )


_MORE = [
    f"- [{title}](#{markdown.slug(title)})"
    for title in ("Backbones", "Phases", "Conditions", "Events", "Columns")
]


def _remark(path: str) -> str:
    return not_built.remark(path.removeprefix("spec.").removesuffix("[]"))


def _backbones() -> Iterator[str]:
    yield "## Backbones"
    yield "`finetune backbones` shows size, accuracy and licence of each; `finetune backbones NAME` its blocks."
    yield ", ".join(f"`{name}`" for name in backbones.NAMES)


def _phases() -> Iterator[str]:
    yield "## Phases"
    yield markdown.table(
        ("Phase", "Meaning"), ((f"`{phase}`", _PHASES[phase]) for phase in get_args(JobPhase))
    )


def _conditions(reasons: Reasons) -> Iterator[str]:
    yield "## Conditions"
    yield (
        "All ten are there from the first second, each with the generation of the spec that it is about:"
        " `kubectl wait --for=condition=Finished ftj/flowers` returns on either end."
    )
    rows = (
        (
            f"{markdown.anchor(f'condition-{kind}')}`{kind}`",
            _CONDITIONS[kind],
            _listed(reasons.conditions[kind]),
        )
        for kind in get_args(ConditionType)
    )
    yield markdown.table(("Type", "True means", "Reasons"), rows)


def _events(reasons: Reasons) -> Iterator[str]:
    yield "## Events"
    yield "`kubectl events --for ftj/flowers`. Few: each is a write to the API server."
    rows = ((kind, _listed(found, linked=False)) for kind, found in sorted(reasons.events.items()))
    yield markdown.table(("Type", "Reasons"), rows)


def _listed(found: set[str], *, linked: bool = True) -> str:
    words = sorted(found - {PASSED_ON, PHASE})
    shown = [f"[`{word}`]({TROUBLE}#{word})" if linked else f"`{word}`" for word in words]
    more = {PHASE: "the job's phase", PASSED_ON: f"that of [the cause]({TROUBLE})"}
    return ", ".join([*shown, *(text for mark, text in more.items() if mark in found)])


def _columns(job: dict[str, Any], status: dict[str, Any]) -> Iterator[str]:
    yield "## Columns"
    yield "What `kubectl get ftj` prints; with `-o wide` all of them."
    rows = (
        (
            column["name"],
            "" if column.get("priority") else "yes",
            f"`{column['jsonPath'].removeprefix('.')}`",
            _described(status, column["jsonPath"]),
        )
        for column in job["additionalPrinterColumns"]
    )
    yield markdown.table(("Column", "Without `-o wide`", "From", "Meaning"), rows)
    chosen = ", ".join(f"`{one['jsonPath'].removeprefix('.')}`" for one in job["selectableFields"])
    yield f"`kubectl get ftj --field-selector` can choose by {chosen}."


def _described(status: dict[str, Any], path: str) -> str:
    found = status
    first, *rest = path.removeprefix(".").split(".")
    if first != "status":
        return ""
    for name in rest:
        found = found["properties"][name]
    return str(found.get("description", ""))
