"""The model card: what a model is, how to ask it, what it was trained on and how well it did. Markdown, pure."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from finetune_api import backbones
from finetune_api.events import EpochEvent
from finetune_api.plan import Plan, ResolvedJob, ResolvedStage

CLASSES_NAMED = 50

_USE = """\
```python
import tensorflow as tf

model = tf.saved_model.load("model/VERSION")  # latest.json names the newest
answer = model.signatures["serving_default"](image_bytes=tf.constant([open("image.jpg", "rb").read()]))
print(answer["label"][0].numpy().decode(), float(answer["score"][0]))
```

| signature | takes | gives |
|---|---|---|
| `serving_default` | `image_bytes`: string [N] | `probabilities` and `labels` [N, C], `label` and `score` [N] |
| `predict_pixels` | `images`: uint8 [N, H, W, 3], RGB, any H and W | the same |
| `extract_features` | `image_bytes`: string [N] | `features` [N, width] |

The model decodes, resizes and scales by itself, with the very operations it was trained with: give it JPEG
(CMYK too), PNG, GIF (first frame), BMP or still WebP files as they are, and do not normalise anything.
Transparency of PNG and WebP shows white. EXIF rotation is **not** applied, as it was not in training.
"""

_TFLITE = """```python
from ai_edge_litert.interpreter import Interpreter

model = Interpreter("model/VERSION/{file}").get_signature_runner()
probabilities = model(image=pixels)["probabilities"]  # uint8 [1, {size}, {size}, 3] -> float32 [1, C]
```

`pixels` is the decoded RGB image, stretched to {size} x {size} (averaging areas where it shrinks), 0 to 255 and **not**
normalised: that is in the file. `tflite/labels.txt` names the classes in order.
"""

_LIMITS = """\
- It answers with one of its classes for any image, also for one that shows none of them.
- The accuracy is that of the validation images; on images from another camera, place or time it may be lower.
- Who is pictured, and in which proportion, was decided by the training images; look at mistakes by group before
  anything depends on them.
"""


def render(plan: Plan, rows: Sequence[EpochEvent], details: Mapping[str, Any]) -> str:
    """The card of the model that `plan` made, from its epochs and what manifest.json says of it."""
    sections = {
        "Use": _USE,
        **_other_formats(plan, details),
        "Result": _result(details),
        "Classes": _classes(plan),
        "Data": _data(plan, details),
        "Training": _training(plan, rows),
        "Origin": _origin(plan.resolved, details),
        "Limits": _LIMITS,
    }
    what = f"Tells {len(plan.classes)} classes of images apart. Fine-tuned from {plan.resolved.backbone}."
    title = f"# {details['name']}\n\n{what}\n"
    return "\n".join([title, *(f"## {name}\n\n{text.strip()}\n" for name, text in sections.items())])


def _other_formats(plan: Plan, details: Mapping[str, Any]) -> dict[str, str]:
    """The section on TFLite files, when some were asked for."""
    forms = [form for form in details["formats"] if form["kind"] == "TFLite"]
    if not forms:
        return {}
    heading = ["TFLite", "file", "bytes", "accuracy", "below the model's by"]
    table = _table(heading, [_form(form) for form in forms])
    written = [form["file"] for form in forms if "file" in form]
    use = _TFLITE.format(file=written[-1], size=plan.resolved.image_size) if written else ""
    return {"On phones and boards": f"{table}\n\n{use}"}


def _form(form: Mapping[str, Any]) -> list[str]:
    figures = [f"{form[name]:.4f}" if name in form else "-" for name in ("accuracy", "accuracyDrop")]
    if "refused" in form:
        return [form["quantization"], f"left out: it {form['refused']}", "-", *figures]
    return [form["quantization"], _code(form["file"]), f"{form['bytes']:,}", *figures]


def _result(details: Mapping[str, Any]) -> str:
    metrics = _table(
        ["metric", "value"], [[name, f"{value:.4f}"] for name, value in details["metrics"].items()]
    )
    chosen = (
        f"From stage `{details['bestStage']}`, epoch {details['bestEpoch'] + 1}. "
        if details["bestStage"]
        else ""
    )
    checked = (
        f"Before it was published, the exported model was loaded in a fresh process and asked about "
        f"{details['verifiedImages']} encoded images: it answered what the trained one had answered."
    )
    return f"{metrics}\n\n{chosen}{checked}"


def _classes(plan: Plan) -> str:
    pairs = list(zip(plan.classes, plan.class_counts, strict=True))
    table = _table(
        ["class", "training images"], [[name, f"{count:,}"] for name, count in pairs[:CLASSES_NAMED]]
    )
    more = len(pairs) - CLASSES_NAMED
    return table + (f"\n\nand {more} more; `labels` of the model has them all." if more > 0 else "")


def _data(plan: Plan, details: Mapping[str, Any]) -> str:
    job = plan.resolved
    return _table(
        ["", ""],
        [
            ["training images", f"{plan.num_train:,} from {_code(job.train_uri)}"],
            ["validation images", f"{plan.num_validation:,}{_validation(job)}"],
            ["augmentation", _augmentation(plan)],
            ["digest of both", _code(str(details["datasetDigest"])[:16])],
        ],
    )


def _validation(job: ResolvedJob) -> str:
    if job.validation_uri is not None:
        return f" from {_code(job.validation_uri)}"
    if job.validation_split is not None:
        return f", {job.validation_split:.0%} of each class set aside by hash"
    return ""


def _augmentation(plan: Plan) -> str:
    job = plan.resolved
    if not job.transforms:
        return "none"
    amounts = ", ".join(
        name if name == "Flip" else f"{name} {amount:g}" for name, amount in job.transforms.items()
    )
    return f"{job.augmentation} ({amounts}), {plan.views} different views of each image"


def _training(plan: Plan, rows: Sequence[EpochEvent]) -> str:
    stages = zip(plan.resolved.stages, plan.stages, strict=True)
    lines = [
        _stage(stage, planned.epochs, [row for row in rows if row.stage == stage.index])
        for stage, planned in stages
    ]
    heading = [
        "stage",
        "trained from layer",
        "optimizer",
        "learning rate",
        "loss",
        "epochs",
        "best val_accuracy",
    ]
    job = plan.resolved
    common = f"Batches of {job.global_batch_size}, seed {job.seed}, {plan.precision}, {job.image_size} pixels square."
    layers = ", ".join(map(str, job.hidden))
    common += f" The head has hidden layers of {layers} units." if layers else " The head is linear."
    if job.class_weights == "Balanced":
        common += " Classes weigh by the inverse of their share, so that each counts as much as any other."
    return f"{_table(heading, lines)}\n\n{common} Every epoch is in `metrics.csv`."


def _stage(stage: ResolvedStage, planned: int, rows: Sequence[EpochEvent]) -> list[str]:
    accuracies = [row.val_accuracy for row in rows if row.val_accuracy is not None]
    return [
        stage.name,
        str(stage.first_trainable),
        stage.optimizer,
        f"{stage.learning_rate:g}, {stage.lr_schedule}" if stage.learning_rate else "-",
        _loss(stage),
        f"{len(rows)} of {planned}",
        f"{max(accuracies):.4f}" if accuracies else "-",
    ]


def _loss(stage: ResolvedStage) -> str:
    name = "cross-entropy" if stage.focal_gamma is None else f"focal, gamma {stage.focal_gamma:g}"
    return f"{name}, labels smoothed by {stage.label_smoothing:g}" if stage.label_smoothing else name


def _origin(job: ResolvedJob, details: Mapping[str, Any]) -> str:
    facts = backbones.get(job.backbone)
    known = facts.license if job.weights == "imagenet" else None
    return _table(
        ["", ""],
        [
            ["initial weights", _code(job.weights)],
            ["their licence", known or "not known"],
            ["SHA-256 of the weights", _code(str(details["weightsSha256"]))],
            [
                "made by",
                f"FineTuneJob {details['namespace']}/{details['name']}, TensorFlow {details['tensorflow']}",
            ],
        ],
    )


def _code(text: str) -> str:
    return f"`{text}`"


def _table(heading: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    rows = [heading, ["---"] * len(heading), *lines]
    return "\n".join(f"| {' | '.join(_cell(text) for text in row)} |" for row in rows)


def _cell(text: str) -> str:
    """A class may be called anything; it must not end the cell or the line."""
    return " ".join(text.replace("|", "\\|").split())
