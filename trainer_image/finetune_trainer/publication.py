"""From trained weights to a published version: the two roles of worker 0 after training, each in a fresh process.

Export writes a SavedModel to local disk and, beside it, what the evaluation said of some images. Publish, in a
process that has never seen the training model, loads it, asks it about those images, uploads and commits.
"""

import csv
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from finetune_api.dataset import Example
from finetune_api.errors import FineTuneError, GaveUp, TryAgain
from finetune_api.events import EpochEvent, Phase, ResultEvent, WarningEvent
from finetune_api.plan import Plan
from finetune_store import publish, retention
from finetune_store.checkpoint_index import CheckpointDamagedError
from finetune_store.run_folder import RunFolder
from finetune_trainer import corpus, decode, export, model_card, stage_model, verify, weights
from finetune_trainer.base import Base
from finetune_trainer.corpus import Corpus
from finetune_trainer.run_context import RunContext
from finetune_trainer.state import RunState
from finetune_trainer.train import open_checkpoints

MOST_VERIFIED = 256
"""Images asked about before a model is published."""
TOLERANCE_EXACT = 1e-4
TOLERANCE_ROUNDED = 2e-2
"""Of a probability, where features were kept as float16, or devices multiply in reduced precision."""


def export_model(context: RunContext) -> ResultEvent:
    """Write the SavedModel and what to verify it by to this machine's scratch."""
    run, channel = context.run, context.channel
    channel.phase(Phase.EXPORT)
    trained = _trained(run)
    folder = _export_folder(context)
    plan, state, images = _outcome(context, trained["checkpoint"])
    changed = state.best_weights if plan.resolved.select == "Best" else state.weights
    base = Base(context.job, context.open_store, context.scratch)
    arrays = weights.to_arrays(base.model) | changed
    channel.tick()
    classifier = export.assemble(plan.resolved, arrays, len(plan.classes))
    channel.tick()
    export.export(classifier, plan.classes, folder / "model")
    channel.tick()
    _Questions.of(plan, state, images, classifier).save(folder)
    document = {"weights": weights.digest(arrays), "checkpoint": trained["checkpoint"]}
    (folder / "export.json").write_text(json.dumps(document))
    return ResultEvent(result="Exported")


def publish_model(context: RunContext) -> ResultEvent:
    """Verify the export of this machine, upload it and commit its version. Safe to repeat at any point."""
    run, channel = context.run, context.channel
    trained = _trained(run)
    folder = _export_folder(context)
    facts = _facts(folder, trained)
    plan, state, images = _outcome(context, trained["checkpoint"])
    channel.phase(Phase.VERIFY)
    verified = _verify(context, folder, plan, images)
    channel.phase(Phase.UPLOAD)
    rows = [EpochEvent.model_validate(row) for row in state.history]
    details = _details(context, plan, trained, facts, verified)
    published = publish.publish(
        run,
        publish.identity(run.run_id, plan.model_dump_json(), trained["checkpoint"], facts["weights"]),
        context.request.generation,
        publish.Export(folder / "model", details, _documents(plan, rows, details)),
        channel.tick,
    )
    if not context.job.checkpoint_retain:
        open_checkpoints(context).clear()
    _remove_old_versions(context, published.version)
    return ResultEvent(
        result="Published",
        model_uri=published.uri,
        version=published.version,
        metrics=trained["metrics"],
        best_stage=trained["best_stage"],
        best_epoch=trained["best_epoch"],
    )


def _remove_old_versions(context: RunContext, published: int) -> None:
    try:
        retention.remove_old_versions(context.run, context.job.keep_versions, published, context.channel.tick)
    except FineTuneError as error:
        # The model is there: what is left over is the next publish's to remove.
        message = f"not all versions beyond keepVersions could be removed: {error}"
        context.channel.emit(WarningEvent(reason="OldVersionsStay", message=message))


@dataclass(frozen=True)
class _Questions:
    """Images, and what the trained model says of them."""

    validation: bool
    """Whether they are of the validation split, else of the training images."""
    examples: NDArray[np.int64]
    probabilities: NDArray[np.float32]

    @classmethod
    def of(cls, plan: Plan, state: RunState, images: Corpus, classifier: export.Classifier) -> "_Questions":
        """The evaluation's own answers; without a validation split, the model's before it was exported."""
        if images.validation:
            answers = state.predictions["best" if plan.resolved.select == "Best" else "last"]
            judged = np.flatnonzero(state.predictions["judged"])
            chosen = judged[np.linspace(0, len(judged) - 1, min(len(judged), MOST_VERIFIED)).astype(np.int64)]
            return cls(True, chosen, answers[chosen])
        chosen = np.linspace(0, len(images.train) - 1, min(len(images.train), MOST_VERIFIED)).astype(np.int64)
        kept, answers = _answers(classifier, [images.train_store.get(images.train[i].id) for i in chosen])
        return cls(False, chosen[kept], answers)

    def save(self, folder: Path) -> None:
        np.savez(
            folder / "questions.npz",
            validation=self.validation,
            examples=self.examples,
            probabilities=self.probabilities,
        )

    @classmethod
    def load(cls, folder: Path) -> "_Questions":
        with np.load(folder / "questions.npz") as kept:
            return cls(bool(kept["validation"]), kept["examples"], kept["probabilities"])


def _answers(
    classifier: export.Classifier, contents: list[bytes]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Probabilities of the encoded images that decode, and which those are."""
    kept, answers = [], []
    for place, content in enumerate(contents):
        try:
            pixels = decode.image(tf.constant(content), classifier.image_size, classifier.max_pixels)
        except tf.errors.InvalidArgumentError:
            continue
        prepared = classifier.preprocess(tf.cast(pixels[tf.newaxis], tf.float32))
        features = stage_model.pool(classifier.backbone(prepared, training=False), classifier.pooling)
        answers.append(tf.nn.softmax(classifier.head(features, training=False)).numpy()[0])
        kept.append(place)
    return np.array(kept, np.int64), np.array(answers, np.float32)


def _outcome(context: RunContext, checkpoint: str) -> tuple[Plan, RunState, Corpus]:
    plan = Plan.model_validate_json(context.run.adopt_plan(_no_plan))
    try:
        state = RunState.from_checkpoint(*open_checkpoints(context).load(checkpoint))
    except CheckpointDamagedError:
        # The run goes on from the checkpoint before it, and is trained again when that is done.
        context.run.forget_trained()
        raise
    return plan, state, corpus.open_corpus(context)


def _no_plan() -> str:
    raise GaveUp(
        "RunFolderDamaged",
        "the run was trained but its plan.json is gone",
        fix="run again with --new-version",
    )


def _trained(run: RunFolder) -> dict[str, Any]:
    trained = run.trained()
    if trained is None:
        raise TryAgain("NotTrained", "there is nothing to export yet")
    return trained


def _export_folder(context: RunContext) -> Path:
    folder = context.scratch / "export"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _facts(folder: Path, trained: dict[str, Any]) -> dict[str, Any]:
    try:
        facts: dict[str, Any] = json.loads((folder / "export.json").read_text())
    except FileNotFoundError:
        facts = {}
    if facts.get("checkpoint") != trained["checkpoint"]:
        raise TryAgain("ExportMissing", "the model has not been exported on this machine")
    return facts


def _verify(context: RunContext, folder: Path, plan: Plan, images: Corpus) -> verify.Verified:
    questions = _Questions.load(folder)
    examples: list[Example] = images.validation if questions.validation else images.train
    store = images.validation_store if questions.validation else images.train_store
    asked = [examples[i] for i in questions.examples]

    def files() -> Any:
        for done, example in enumerate(asked):
            context.channel.tick(done, len(asked))
            yield example.id, store.get(example.id)

    expected = verify.Expected(plan.classes, questions.probabilities, corpus.labels(asked))
    return verify.verify(folder / "model", files(), expected, _tolerance(plan))


def _tolerance(plan: Plan) -> float:
    rounded = any(stage.cached and stage.cache_dtype == "float16" for stage in plan.stages)
    return TOLERANCE_ROUNDED if rounded or tf.config.list_physical_devices("GPU") else TOLERANCE_EXACT


def _details(
    context: RunContext, plan: Plan, trained: dict[str, Any], facts: dict[str, Any], verified: verify.Verified
) -> dict[str, Any]:
    """What manifest.json says beside its files."""
    job = plan.resolved
    return {
        "name": context.job_file.name,
        "namespace": context.job_file.namespace,
        "backbone": job.backbone,
        "imageSize": job.image_size,
        "classes": plan.classes,
        "metrics": trained["metrics"],
        "bestStage": trained["best_stage"],
        "bestEpoch": trained["best_epoch"],
        "weightsSha256": facts["weights"],
        "datasetDigest": plan.dataset_digest,
        "verifiedImages": verified.images,
        "tensorflow": tf.__version__,
    }


def _documents(plan: Plan, rows: list[EpochEvent], details: dict[str, Any]) -> dict[str, bytes]:
    history = [row.model_dump(mode="json", by_alias=True, exclude={"event"}) for row in rows]
    return {
        "metrics.csv": metrics_csv(rows).encode(),
        "history.json": (json.dumps(history, indent=2) + "\n").encode(),
        "README.md": model_card.render(plan, rows, details).encode(),
    }


def metrics_csv(rows: list[EpochEvent]) -> str:
    """One line per epoch over all stages, as Keras' CSVLogger writes them; empty where there is no validation."""
    columns = [name for name in EpochEvent.model_fields if name != "event"]
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({key: "" if value is None else value for key, value in row.model_dump().items()})
    return text.getvalue()
