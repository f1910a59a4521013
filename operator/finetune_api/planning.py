"""The second resolution, pure: a resolved job and what only data and machine can say become the plan."""

from math import ceil

from finetune_api.errors import BadJob
from finetune_api.plan import CacheDtype, Facts, Plan, PlannedStage, ResolvedJob, ResolvedStage


def plan(resolved: ResolvedJob, facts: Facts) -> Plan:
    """The run with nothing left to choose; made once, then adopted by every generation and worker.

    Raises:
        BadJob: featureCache.mode is Enabled and the cache is larger than maxBytes.
    """
    views = _views(resolved)
    return Plan(
        resolved=resolved,
        classes=facts.classes,
        class_counts=facts.class_counts,
        num_train=facts.num_train,
        num_validation=facts.num_validation,
        dataset_digest=facts.dataset_digest,
        steps_per_epoch=ceil(facts.num_train / resolved.global_batch_size),
        views=views,
        precision="Float32",
        stages=_planned_stages(resolved, facts, views),
        threads=facts.threads,
    )


def _views(resolved: ResolvedJob) -> int:
    """Epoch e of a stage sees view e mod views; a solved head sees all of them at once."""
    if not resolved.transforms or resolved.smoke_steps is not None:
        return 1
    longest = max(stage.epochs for stage in resolved.stages)
    if resolved.views == 0:
        return longest
    is_solved = any(stage.optimizer == "LBFGS" for stage in resolved.stages)
    return resolved.views if is_solved else min(resolved.views, longest)


def _planned_stages(resolved: ResolvedJob, facts: Facts, views: int) -> list[PlannedStage]:
    cut_bytes = _bytes_by_cut(resolved, facts)
    images = facts.num_train * views + facts.num_validation
    dtypes = _cached_cuts(resolved, cut_bytes, images)
    planned = []
    for stage in resolved.stages:
        dtype = dtypes.get(stage.first_trainable) if _gains_from_cache(resolved, stage) else None
        planned.append(
            PlannedStage(
                name=stage.name,
                epochs=stage.epochs if resolved.smoke_steps is None else 1,
                first_trainable=stage.first_trainable,
                cached=dtype is not None,
                cache_dtype=dtype or "native",
                cache_bytes=images * _row_bytes(cut_bytes[stage.first_trainable], dtype) if dtype else 0,
            )
        )
    return planned


def _bytes_by_cut(resolved: ResolvedJob, facts: Facts) -> dict[int, int]:
    """Stages that train from the same layer share one cut, and so one cache."""
    return {stage.first_trainable: size for stage, size in zip(resolved.stages, facts.cut_bytes, strict=True)}


def _gains_from_cache(resolved: ResolvedJob, stage: ResolvedStage) -> bool:
    if resolved.cache_mode != "Auto":
        return resolved.cache_mode == "Enabled"
    # A solver reads everything at each of its many steps; one epoch of steps reads everything once.
    return resolved.smoke_steps is None and (stage.optimizer == "LBFGS" or stage.epochs > 1)


def _cached_cuts(resolved: ResolvedJob, cut_bytes: dict[int, int], images: int) -> dict[int, CacheDtype]:
    """Which cuts are cached and how exactly: the smallest first, as they save the most work per byte."""
    wanted = {stage.first_trainable for stage in resolved.stages if _gains_from_cache(resolved, stage)}
    free = resolved.cache_max_bytes
    cached: dict[int, CacheDtype] = {}
    for cut in sorted(wanted, key=lambda cut: (cut_bytes[cut], -cut)):
        dtype = next(
            (d for d in _dtypes(resolved, cut) if images * _row_bytes(cut_bytes[cut], d) <= free), None
        )
        if dtype is not None:
            cached[cut] = dtype
            free -= images * _row_bytes(cut_bytes[cut], dtype)
        elif resolved.cache_mode == "Enabled":
            raise _too_large(resolved, images * cut_bytes[cut], free)
    return cached


def _dtypes(resolved: ResolvedJob, cut: int) -> tuple[CacheDtype, ...]:
    """From best to smallest. Pixels (cut 0) are bytes already; `deterministic` forbids rounding."""
    return ("native",) if cut == 0 or resolved.deterministic else ("native", "float16")


def _row_bytes(native: int, dtype: CacheDtype) -> int:
    return native if dtype == "native" else ceil(native / 2)


def _too_large(resolved: ResolvedJob, needed: int, free: int) -> BadJob:
    return BadJob(
        "FeatureCacheTooLarge",
        f"spec.featureCache is Enabled, but a stage needs {needed:,} bytes and {free:,} are left",
        f"at most {resolved.cache_max_bytes:,} for all stages",
        fix="raise maxBytes, lower data.augmentation.views, or set mode to Auto",
    )
