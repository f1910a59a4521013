"""When a stage ends early, and which epoch is the best: pure rules."""

from finetune_api.plan import ResolvedStage
from finetune_trainer.state import Best, RunState

SMALLER_IS_BETTER = frozenset({"loss", "val_loss"})


def is_better(figures: dict[str, float], best: Best | None) -> bool:
    """Whether an epoch beats the best so far: by validation accuracy, then by validation loss.

    Without a validation split by training accuracy and loss.
    """
    return best is None or _rank(figures) > _rank(best.metrics)


def after_epoch(stage: ResolvedStage, state: RunState) -> str | None:
    """Why the stage ends after the epoch just recorded, or None; keeps count in `state`."""
    figures = state.history[-1]
    if stage.stop_when is not None and figures.get(stage.stop_when.metric) is not None:
        value = float(figures[stage.stop_when.metric])
        above, below = stage.stop_when.above, stage.stop_when.below
        if (above is not None and value > above) or (below is not None and value < below):
            return "StopWhen"
    rule = stage.early_stopping
    if rule is None or figures.get(rule.metric) is None:
        return None
    value = float(figures[rule.metric])
    state.stage_best, state.waited = next_wait(
        rule.metric, value, state.stage_best, state.waited, rule.min_delta
    )
    return "EarlyStopped" if state.waited >= rule.patience else None


def next_wait(
    metric: str, value: float, best: float | None, waited: int, min_delta: float = 0.0
) -> tuple[float, int]:
    """The best value so far and the epochs since it, after one more epoch."""
    if best is None or _gain(metric, value, best) > min_delta:
        return value, 0
    return best, waited + 1


def _gain(metric: str, value: float, best: float) -> float:
    return best - value if metric in SMALLER_IS_BETTER else value - best


def _rank(figures: dict[str, float]) -> tuple[float, float]:
    if "val_accuracy" in figures:
        return figures["val_accuracy"], -figures["val_loss"]
    return figures["accuracy"], -figures["loss"]
