"""The plan of a run: made once by the chief from facts that only data and graph can tell, then adopted."""

import json
import math
from pathlib import Path
from typing import Any

import tensorflow as tf

from finetune_api import schedule
from finetune_api.events import PlanEvent
from finetune_api.plan import Facts, Plan, ResolvedJob, ResolvedStage
from finetune_api.schedule_view import head_parameters
from finetune_trainer import graph
from finetune_trainer.corpus import Corpus
from finetune_trainer.graph import Cut
from finetune_trainer.run_context import RunContext

FLOAT_BYTES = 4


def cuts_below(job: ResolvedJob) -> list[int]:
    """For each stage the layer its features are cut below.

    A stage that unfreezes less than one before it keeps that one's cut: what lies above may have been trained.
    """
    lowest = [stage.first_trainable for stage in job.stages]
    return [min(lowest[: index + 1]) for index in range(len(lowest))]


def cut_of(job: ResolvedJob, index: int) -> Cut:
    """Where the features of stage `index` are cut."""
    return graph.find_cut(graph.skeleton(job.backbone, job.image_size, job.alpha), cuts_below(job)[index])


def adopt(context: RunContext, images: Corpus) -> Plan:
    """The run's plan, made by the chief if there is none yet. Call it after the gang is formed."""
    if context.is_chief:
        text = context.run.adopt_plan(
            lambda: schedule.plan(context.job, _facts(context, images)).model_dump_json()
        )
    else:
        text = context.await_chief("plan.json").decode()
    plan = Plan.model_validate(json.loads(text))
    # What may change between two starts of one run is taken from the job as it is now.
    return plan.model_copy(
        update={"resolved": context.job.model_copy(update={"stages": plan.resolved.stages})}
    )


def describe(plan: Plan) -> PlanEvent:
    """What the supervisor needs of a plan, for progress and metrics."""
    job = plan.resolved
    skeleton = graph.skeleton(job.backbone, job.image_size, job.alpha)
    width = int(skeleton.output.shape[-1])
    head = head_parameters(width, job.hidden, len(plan.classes))
    trained = [trained_layers(skeleton, stage) for stage in job.stages]
    return PlanEvent(
        stages=[stage.name for stage in plan.stages],
        epochs=[stage.epochs for stage in plan.stages],
        steps_per_epoch=min(plan.steps_per_epoch, job.smoke_steps or plan.steps_per_epoch),
        global_batch_size=job.global_batch_size,
        trainable_parameters=[head + sum(map(_parameters, layers)) for layers in trained],
        unfrozen_from=[layers[0].name if layers else None for layers in trained],
    )


def trained_layers(skeleton: Any, stage: ResolvedStage) -> list[Any]:
    """Layers of the backbone whose weights `stage` changes, from the input up."""
    frozen = "BatchNormalization" if stage.batch_norm == "Frozen" else None
    above = skeleton.layers[stage.first_trainable :]
    return [layer for layer in above if layer.trainable_weights and type(layer).__name__ != frozen]


def _parameters(layer: Any) -> int:
    return sum(math.prod(weight.shape) for weight in layer.trainable_weights)


def _facts(context: RunContext, images: Corpus) -> Facts:
    return Facts(
        num_train=len(images.train),
        num_validation=len(images.validation),
        classes=images.classes,
        class_counts=images.class_counts,
        dataset_digest=images.digest,
        input_bytes=images.bytes,
        cut_bytes=[_cut_bytes(context.job, index) for index in range(len(context.job.stages))],
        device="GPU" if tf.config.list_physical_devices("GPU") else "CPU",
        memory_bytes=_memory_limit(),
        threads=context.request.threads,
    )


def _cut_bytes(job: ResolvedJob, index: int) -> int:
    """One image, one view, at the cut of stage `index`: float32; pixels are bytes; a head's features are pooled."""
    skeleton = graph.skeleton(job.backbone, job.image_size, job.alpha)
    if cuts_below(job)[index] >= len(skeleton.layers):
        return int(skeleton.output.shape[-1]) * FLOAT_BYTES
    cut = cut_of(job, index)
    if cut.at_pixels:
        return job.image_size**2 * 3
    return sum(math.prod(shape) for shape in cut.shapes) * FLOAT_BYTES


def _memory_limit() -> int | None:
    limit = Path("/sys/fs/cgroup/memory.max")
    text = limit.read_text().strip() if limit.exists() else "max"
    return int(text) if text.isdigit() else None
