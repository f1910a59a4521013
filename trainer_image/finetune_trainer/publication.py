"""From trained weights to a published version: the two roles of worker 0 after training, each in a fresh process.

Export writes a SavedModel to local disk and, beside it, what the evaluation said of some images. Publish, in a
process that has never seen the training model, loads it, asks it about those images, uploads and commits.
"""

import csv
import io
import json
import shutil
from pathlib import Path
from typing import Any

import tensorflow as tf

from finetune_api.errors import FineTuneError, GaveUp, TryAgain
from finetune_api.events import EpochEvent, Phase, ResultEvent, WarningEvent
from finetune_api.plan import Plan
from finetune_store import publish, retention
from finetune_store.checkpoint_index import CheckpointDamagedError
from finetune_store.run_folder import RunFolder
from finetune_trainer import corpus, export, formats, model_card, verify, weights
from finetune_trainer.base import Base
from finetune_trainer.corpus import Corpus
from finetune_trainer.questions import Questions
from finetune_trainer.run_context import RunContext
from finetune_trainer.state import RunState
from finetune_trainer.train import open_checkpoints

TOLERANCE_EXACT = 1e-4
TOLERANCE_ROUNDED = 2e-2
"""Of a probability, where features were kept as float16, or devices multiply in reduced precision."""


def export_model(context: RunContext) -> ResultEvent:
    """Write the SavedModel and what to verify it by to this machine's scratch."""
    run, channel = context.run, context.channel
    channel.phase(Phase.EXPORT)
    trained = _trained(run)
    folder = _export_folder(context)
    # An earlier attempt may have written a form that this one refuses.
    shutil.rmtree(folder / "model", ignore_errors=True)
    plan, state, images = _outcome(context, trained["checkpoint"])
    changed = state.best_weights if plan.resolved.select == "Best" else state.weights
    base = Base(context.job, context.open_store, context.scratch)
    arrays = weights.to_arrays(base.model) | changed
    channel.tick()
    classifier = export.assemble(plan.resolved, arrays, len(plan.classes))
    channel.tick()
    export.export(classifier, plan.classes, folder / "model")
    channel.tick()
    questions = Questions.of(plan, state, images, classifier, channel.tick)
    questions.save(folder)
    document = {
        "weights": weights.digest(arrays),
        "checkpoint": trained["checkpoint"],
        "formats": formats.write(classifier, plan, images, questions, folder / "model", channel),
    }
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
    questions = Questions.load(folder)
    asked, store = questions.asked(images)

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
        "formats": [{"kind": "SavedModel"}, *facts["formats"]],
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
