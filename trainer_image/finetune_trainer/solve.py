"""The stage that solves a linear head: one point of the regularisation path is one epoch."""

import time

import numpy as np
from numpy.typing import NDArray

from finetune_api.events import FirstStepEvent, Phase
from finetune_trainer import evaluate, heads, losses, solver, stage, stopping
from finetune_trainer.state import RunState

SOLUTION = "solution"
"""Where the standardised solution is kept in the state, to warm-start the next point after a restart."""


def solve(run: stage.StageRun, state: RunState) -> str:
    """Bring `state` to the end of the path. The best point is judged on the validation split."""
    run.channel.phase(Phase.BUILD, run.stage.index, run.stage.name)
    walk = solver.Solver(_problem(run), start=state.optimizer.get(SOLUTION))
    if not run.first_step_done:
        run.first_step_done = True
        run.channel.emit(FirstStepEvent(seconds=time.monotonic() - run.channel.started))
    for strength in solver.strengths(run.stage.epochs)[state.epoch :]:
        began = time.monotonic()
        run.channel.phase(Phase.STEP, run.stage.index, run.stage.name)
        head, loss = walk.solve(strength)
        assert walk.start is not None
        state.weights |= {heads.KERNEL: head.kernel, heads.BIAS: head.bias}
        state.optimizer = {SOLUTION: walk.start}
        training = {"loss": loss, "accuracy": _training_accuracy(run, walk.problem, head)}
        state.global_step += run.data.steps_per_epoch
        stage.finish_epoch(run, state, _validate(run, head), training, 0.0, time.monotonic() - began)
        run.keeper.after_chunk(run.gang.all_reduce(run.keeper.control(0.0)), lambda: state)
        if stopping.after_epoch(run.stage, state):
            return "EarlyStopped"
    return "Completed"


def _problem(run: stage.StageRun) -> solver.Problem:
    """All views of this worker's examples; a view is only another example here."""
    order = run.data.order(0)
    owned = run.data.owned
    real = order.weights[:, owned] > 0
    examples, labels = order.examples[:, owned][real], order.labels[:, owned][real]
    views = [run.data.rows(view, examples)[0] for view in range(run.plan.views)]
    weights = losses.class_weights(run.plan)
    return solver.Problem(
        features=np.concatenate([view.astype(np.float32) for view in views]),
        labels=np.tile(labels.astype(np.int64), len(views)),
        weights=np.tile(np.ones(len(labels), np.float32) if weights is None else weights[labels], len(views)),
        num_classes=len(run.plan.classes),
        label_smoothing=run.stage.label_smoothing,
        reduce=run.gang.all_reduce,
        tick=run.channel.tick,
    )


def _probabilities(features: NDArray[np.float32], head: solver.Head) -> NDArray[np.float32]:
    logits = features.astype(np.float64) @ head.kernel.astype(np.float64) + head.bias
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities: NDArray[np.float32] = (exponents / exponents.sum(axis=1, keepdims=True)).astype(np.float32)
    return probabilities


def _training_accuracy(run: stage.StageRun, problem: solver.Problem, head: solver.Head) -> float:
    hits = _probabilities(problem.features, head).argmax(axis=1) == problem.labels
    right, total = run.gang.all_reduce(np.array([np.sum(hits), len(hits)], np.float64))
    return float(right / total)


def _validate(run: stage.StageRun, head: solver.Head) -> NDArray[np.float32] | None:
    if run.data.validation is None:
        return None
    return evaluate.probabilities(
        run.gang,
        lambda features: _probabilities(features[0], head),
        run.data.validation,
        len(run.plan.classes),
    )
