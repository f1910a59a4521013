"""What the API server can say about a job and its backbone: `schedule.resolve`'s refusals once more, as CEL.

So `kubectl apply` refuses them at once. Names of layers are too many for a CRD; the operator checks those.
"""

from finetune_api import backbones
from finetune_api.v1alpha1.schema import Rule

_ALL = [backbones.get(name) for name in backbones.NAMES]
_SMALLEST_SIZE = 32
"""What imageSize may be for any backbone."""


def _table(facts: dict[str, int]) -> str:
    return "{" + ", ".join(f"'{name}': {fact}" for name, fact in facts.items()) + "}[self.model.backbone]"


def _too_small(size: int) -> Rule:
    names = [backbone.name for backbone in _ALL if backbone.min_size == size]
    return Rule(
        f"is too small for {' and '.join(names)}: at least {size}",
        None,
        f"!has(self.imageSize) || self.imageSize >= {size} || !(self.backbone in {names})",
        "imageSize",
    )


def _known_alphas(backbone: backbones.Backbone) -> Rule:
    alphas = [float(alpha) for alpha in backbone.alphas]
    return Rule(
        f"there are ImageNet weights of {backbone.name} for {', '.join(f'{alpha:g}' for alpha in alphas)} only:"
        " choose one of these, or set weights to none",
        None,
        f"self.backbone != '{backbone.name}' || self.weights != 'imagenet' || self.alpha in {alphas}",
        "alpha",
    )


def _has_imagenet() -> Rule:
    names = [backbone.name for backbone in _ALL if not backbone.imagenet]
    return Rule(
        f"there are no ImageNet weights of {' and '.join(names)}: set it to none or the URI of a *.weights.h5",
        None,
        f"self.weights != 'imagenet' || !(self.backbone in {names})",
        "weights",
    )


def _one_width() -> Rule:
    names = [backbone.name for backbone in _ALL if backbone.alphas]
    return Rule(
        f"this backbone has one width only: remove alpha, or choose one of {', '.join(names)}",
        None,
        f"self.alpha == 1.0 || self.backbone in {names}",
        "alpha",
    )


def _stages_reach(field: str, limit: str, message: str) -> Rule:
    return Rule(
        message,
        None,
        f"!has(self.stages) || self.stages.all(s, !has(s.unfreeze.{field}) || s.unfreeze.{field} {limit})",
        "stages",
    )


_BLOCKS = _table({backbone.name: backbone.num_blocks for backbone in _ALL})
_LAYERS = _table({backbone.name: backbone.num_layers for backbone in _ALL})
_NEVER_CHOOSES = (
    "has(s.epochs) && s.epochs > 1 && (has(s.optimizer) ? s.optimizer.name == 'LBFGS'"
    " : has(s.unfreeze.blocks) && s.unfreeze.blocks == 0 && !has(s.learningRate) && !has(s.lrSchedule)"
    " && !has(s.loss.focalGamma) && self.model.head.hidden.size() == 0)"
)

OF_MODEL = (
    *(_too_small(size) for size in sorted({b.min_size for b in _ALL}) if size > _SMALLEST_SIZE),
    _has_imagenet(),
    _one_width(),
    *(_known_alphas(backbone) for backbone in _ALL if backbone.alphas),
)
"""Rules of `spec.model`."""
OF_SPEC = (
    _stages_reach(
        "blocks",
        f"<= {_BLOCKS}",
        "unfreeze.blocks is more than the backbone has, which `finetune backbones NAME` shows: lower it, or write"
        " `unfreeze: {all: true}` to train everything",
    ),
    _stages_reach(
        "fromLayerIndex",
        f"< {_LAYERS}",
        "unfreeze.fromLayerIndex is more than the backbone has, which `finetune backbones NAME` shows: lower it,"
        " or write `unfreeze: {blocks: 0}` to train the head alone",
    ),
    Rule(
        "LBFGS chooses among strengths of regularisation by validation: without it remove epochs",
        None,
        f"!has(self.data.validation.none) || !has(self.stages) || !self.stages.exists(s, {_NEVER_CHOOSES})",
        "stages",
    ),
)
"""Rules of `spec`."""
