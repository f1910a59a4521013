"""The story of a run, from images to trained weights. One worker's part of one generation."""

from finetune_api.errors import BadJob
from finetune_api.events import CheckpointEvent, Phase, ResultEvent, StageEvent
from finetune_api.plan import Plan, ResolvedStage
from finetune_store.checkpoint import CheckpointStore
from finetune_store.checkpoint_index import CheckpointInfo, global_step_of
from finetune_trainer import corpus, distribution, plan_of, run_data, solve
from finetune_trainer.base import Base
from finetune_trainer.keeper import Keeper
from finetune_trainer.run_context import RunContext
from finetune_trainer.stage import StageRun
from finetune_trainer.state import RunState

CHECKPOINTS = "checkpoints"


def train(context: RunContext) -> ResultEvent:
    """Train every stage that is left; the chief marks the run as trained. Raises LeaveError when asked to leave."""
    request, channel, job = context.request, context.channel, context.job
    channel.phase(Phase.DATA if context.is_chief else Phase.BARRIER)
    images = corpus.open_corpus(context)
    channel.phase(Phase.START)
    gang = distribution.create(request.addresses, request.index, request.threads, job.deterministic)
    distribution.lanes_per_replica(job.global_batch_size, gang.num_replicas)
    plan = plan_of.adopt(context, images)
    channel.emit(plan_of.describe(plan))

    checkpoints = open_checkpoints(context)
    state = (
        RunState.from_checkpoint(*checkpoints.load(request.checkpoint)) if request.checkpoint else RunState()
    )
    keeper = Keeper(
        channel, checkpoints if gang.is_chief else None, job.checkpoint_interval, request.generation
    )
    base = Base(job, context.open_store, context.scratch)
    data = run_data.prepare(plan, images, base, gang, channel, context.scratch)

    while state.stage < len(plan.stages):
        stage = _stage(plan, state.stage)
        run = StageRun(
            plan=plan,
            stage=stage,
            cut_at=plan_of.cuts_below(job)[stage.index],
            gang=gang,
            channel=channel,
            keeper=keeper,
            data=data.stage(stage.index),
            generation=request.generation,
            initial=base.arrays,
        )
        reason = solve.solve(run, state) if stage.optimizer == "LBFGS" else run.train(state)
        channel.emit(StageEvent(stage=stage.index, stage_name=stage.name, reason=reason))
        _end_stage(plan, state)
        keeper.save(state)
    keeper.finish()
    return _trained(context, plan, state)


def open_checkpoints(context: RunContext) -> CheckpointStore:
    """The run's checkpoints; the supervisor hears of each that has arrived in the run folder."""

    def stored(info: CheckpointInfo, seconds: float) -> None:
        step = global_step_of(info.id)
        context.channel.emit(CheckpointEvent(id=info.id, global_step=step, bytes=info.bytes, seconds=seconds))

    return CheckpointStore(context.run, context.scratch / CHECKPOINTS, context.job.checkpoint_keep, stored)


def _stage(plan: Plan, index: int) -> ResolvedStage:
    """Stage `index` with the plan's number of epochs."""
    stage = plan.resolved.stages[index]
    if stage.optimizer == "LBFGS" and plan_of.cuts_below(plan.resolved)[index] < stage.first_trainable:
        raise BadJob(
            "SolvedHeadAfterFineTune",
            f"stage {stage.name} solves the head, but an earlier stage has trained the backbone",
            "LBFGS only before any block is unfrozen",
            "give the stage another optimizer, or move it to the front",
        )
    return stage.model_copy(update={"epochs": plan.stages[index].epochs})


def _end_stage(plan: Plan, state: RunState) -> None:
    """The next stage starts from the best weights so far, when there is a validation split to judge by."""
    if plan.resolved.select == "Best" and plan.resolved.has_validation:
        state.weights = dict(state.best_weights)
    state.stage += 1
    state.begin_stage()


def _trained(context: RunContext, plan: Plan, state: RunState) -> ResultEvent:
    """The outcome, which the chief also writes to the run folder: from now on nothing is trained again."""
    assert state.best is not None
    is_best = plan.resolved.select == "Best"
    last = state.history[-1]
    chosen = state.best.metrics if is_best else {k: v for k, v in last.items() if k in state.best.metrics}
    result = ResultEvent(
        result="Trained",
        metrics=chosen,
        best_stage=state.best.stage_name if is_best else last["stage_name"],
        best_epoch=state.best.epoch if is_best else last["epoch"],
    )
    if context.is_chief:
        newest = CheckpointStore(
            context.run, context.scratch / CHECKPOINTS, plan.resolved.checkpoint_keep
        ).newest()
        assert newest is not None
        context.run.mark_trained(
            {"checkpoint": newest.id, **result.model_dump(mode="json", exclude={"event"})}
        )
    return result
