"""Features for every stage of a run: from caches that one pass writes, or computed on the way."""

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from finetune_api.events import CacheEvent, Phase
from finetune_api.plan import Plan
from finetune_trainer import backbone, corpus, evaluate, features, graph
from finetune_trainer.base import Base
from finetune_trainer.batches import EpochOrder
from finetune_trainer.cache_files import Recipe
from finetune_trainer.channel import Channel
from finetune_trainer.corpus import Corpus
from finetune_trainer.distribution import Gang
from finetune_trainer.images import CorruptImage, ImageFiles, ImageOptions, Images
from finetune_trainer.lanes import Lanes
from finetune_trainer.plan_of import cut_of, cuts_below
from finetune_trainer.stage import StageData
from finetune_trainer.trunk import FeatureCut, FrozenBackbone, Trunk


@dataclass
class RunData:
    """This worker's share of the data, for all stages."""

    plan: Plan
    gang: Gang
    lanes: Lanes
    labels: NDArray[np.int64]
    validation_labels: NDArray[np.int64]
    """-1 for an image that does not decode: it judges nothing."""
    corrupt: NDArray[np.bool_]
    """Training examples that do not decode: they weigh nothing."""
    own_validation: NDArray[np.int64]
    sources: list[features.FeatureSource]

    def stage(self, index: int) -> StageData:
        """What stage `index` reads."""
        source = self.sources[index]
        planned = self.plan.stages
        before = sum(stage.epochs for stage in planned[:index])
        owned = self.lanes.owned(self.gang.index, self.gang.num_workers)
        count = len(self.validation_labels)
        split = evaluate.Split(
            count=count,
            own=self.own_validation,
            most=-(-count // self.lanes.global_batch) * (owned.stop - owned.start),
            rows=lambda examples: source.rows(features.VALIDATION, examples),
        )
        return StageData(
            rows=source.rows,
            order=lambda epoch: self._order(before + epoch),
            owned=owned,
            validation=split if count else None,
            validation_labels=self.validation_labels,
            steps_per_epoch=self._steps(),
        )

    def _steps(self) -> int:
        return min(self.plan.steps_per_epoch, self.plan.resolved.smoke_steps or self.plan.steps_per_epoch)

    def _order(self, epoch: int) -> EpochOrder:
        examples, weights = self.lanes.epoch(epoch)
        steps = slice(self._steps())
        examples, weights = examples[steps], weights[steps] * ~self.corrupt[examples[steps]]
        return EpochOrder(examples, weights.astype(np.float32), self.labels[examples].astype(np.int32))


def prepare(
    plan: Plan, images_of: Corpus, base: Base, gang: Gang, channel: Channel, scratch: Path
) -> RunData:
    """Find or write this worker's caches in one pass, and agree with the others on which images are corrupt."""
    job = plan.resolved
    channel.phase(Phase.FEATURES)
    lanes = Lanes([example.id for example in images_of.train], job.global_batch_size, job.seed)
    own_validation = evaluate.own_positions(
        len(images_of.validation), lanes.owned(gang.index, gang.num_workers), job.global_batch_size
    )
    options = ImageOptions(job.image_size, job.max_pixels, job.transforms, job.seed, plan.threads)
    images = Images(
        ImageFiles([example.id for example in images_of.train], images_of.train_store.get),
        ImageFiles([example.id for example in images_of.validation], images_of.validation_store.get),
        options,
    )
    recipe = Recipe(
        backbone=f"{job.backbone} {job.alpha}",
        weights=base.identity,
        data=plan.dataset_digest,
        options=options,
        views=plan.views,
        train=lanes.examples(gang.index, gang.num_workers),
        validation=own_validation,
    )
    frozen = FrozenBackbone(lambda: base.model, backbone.preprocess(job.backbone))
    sources, corrupt = _sources(plan, recipe, images, frozen, scratch / "features", channel)
    flags = _agree(gang, corrupt, len(images_of.train), len(images_of.validation))
    _refuse(plan, images_of, flags, corrupt)
    bad_train, bad_validation = np.split(flags, [len(images_of.train)])
    return RunData(
        plan=plan,
        gang=gang,
        lanes=lanes,
        labels=corpus.labels(images_of.train),
        validation_labels=np.where(bad_validation, -1, corpus.labels(images_of.validation)),
        corrupt=bad_train,
        own_validation=own_validation,
        sources=sources,
    )


def _sources(
    plan: Plan,
    recipe: Recipe,
    images: Images,
    frozen: FrozenBackbone,
    folder: Path,
    channel: Channel,
) -> tuple[list[features.FeatureSource], list[CorruptImage]]:
    """A source for each stage; stages with the same cut share one."""
    began = time.monotonic()
    cuts = [_feature_cut(plan, index) for index in range(len(plan.stages))]
    cached = list(dict.fromkeys(cut for cut, stage in zip(cuts, plan.stages, strict=True) if stage.cached))
    caches = features.build_caches(recipe, cached, images, folder, frozen, channel.tick)
    seconds = time.monotonic() - began
    channel.emit(CacheEvent(hit=caches.hit, bytes=caches.bytes, seconds=seconds))
    made: dict[FeatureCut, features.FeatureSource] = dict(zip(cached, caches.sources, strict=True))
    for cut in cuts:
        if cut not in made:
            made[cut] = features.LiveSource(images, Trunk(frozen, [cut], images.options.size))
    return [made[cut] for cut in cuts], caches.corrupt


def _feature_cut(plan: Plan, index: int) -> FeatureCut:
    job = plan.resolved
    skeleton = graph.skeleton(job.backbone, job.image_size, job.alpha)
    below = cuts_below(job)[index]
    is_head = below >= len(skeleton.layers)
    return FeatureCut(
        cut_of(job, index),
        pooling=job.pooling if is_head else None,
        dtype=plan.stages[index].cache_dtype if plan.stages[index].cached else "native",
    )


def _agree(gang: Gang, corrupt: list[CorruptImage], num_train: int, num_validation: int) -> NDArray[np.bool_]:
    """Which images do not decode, on any worker: [train, then validation]."""
    flags = np.zeros(num_train + num_validation)
    for image in corrupt:
        flags[image.example + (num_train if image.validation else 0)] = 1.0
    return gang.all_reduce(flags) > 0


def _refuse(plan: Plan, images_of: Corpus, flags: NDArray[np.bool_], own: list[CorruptImage]) -> None:
    """Too many, over all workers: every worker raises the same error; reasons are known for its own."""
    why = {(image.validation, image.example): image.why for image in own}
    num_train = len(images_of.train)
    found = []
    for place in np.flatnonzero(flags):
        validation = bool(place >= num_train)
        example = int(place) - (num_train if validation else 0)
        examples = images_of.validation if validation else images_of.train
        reason = why.get((validation, example), "it does not decode")
        found.append(CorruptImage(validation, example, examples[example].id, reason))
    features.refuse_corrupt(found, len(flags), plan.resolved.max_corrupt_fraction)
