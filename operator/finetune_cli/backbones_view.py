"""`finetune backbones`: what there is to fine-tune, and where each can be cut."""

import click

from finetune_api.backbones import Backbone
from finetune_api.errors import FineTuneError
from finetune_cli import complaint, wording


@click.command()
@click.argument("name", required=False, metavar="[NAME]")
def backbones(name: str | None) -> None:
    """List the backbones, or the blocks of one.

    With NAME: what `unfreeze: {blocks: n}` means there, and how much is trained.
    """
    from finetune_api import backbones as facts

    if name is None:
        _print(_listing([facts.get(each) for each in facts.NAMES]))
        return
    try:
        backbone = facts.get(name)
    except FineTuneError as error:
        complaint.exit_with(error)
        return
    for line in headline(backbone):
        complaint.say(line)
    _print(_blocks(backbone))


def headline(backbone: Backbone) -> list[str]:
    """What is worth knowing about one backbone."""
    alphas = f"; alpha {', '.join(f'{alpha:g}' for alpha in backbone.alphas)}" if backbone.alphas else ""
    accuracy = "not published" if backbone.top1 is None else f"{backbone.top1:g} %"
    return [
        f"{backbone.name}: {wording.count(backbone.params)} parameters, {backbone.num_layers} layers, "
        f"{backbone.num_blocks} blocks, {backbone.feature_width} features{alphas}",
        f"image size {backbone.default_size}, at least {backbone.min_size}; preprocessing "
        f"{backbone.preprocessing}; ImageNet top-1 {accuracy}; licence of the weights: "
        f"{backbone.license or 'not stated'}",
    ]


def _listing(all_of_them: list[Backbone]) -> list[list[str]]:
    rows = [
        ["NAME", "PARAMETERS", "IMAGE SIZE", "MINIMUM", "FEATURES", "BLOCKS", "TOP-1 %", "IMAGENET WEIGHTS"]
    ]
    for each in all_of_them:
        top1 = "-" if each.top1 is None else f"{each.top1:g}"
        sizes = [str(each.default_size), str(each.min_size), str(each.feature_width), str(each.num_blocks)]
        rows.append([each.name, wording.count(each.params), *sizes, top1, "yes" if each.imagenet else "no"])
    return rows


def _blocks(backbone: Backbone) -> list[list[str]]:
    """One row per `unfreeze.blocks`, from the head alone to the last boundary."""
    rows = [["UNFREEZE", "TRAINS LAYERS FROM", "PARAMETERS", "CUT AFTER", "SHAPE THERE", "BATCH NORMS BELOW"]]
    width, norms = str(backbone.feature_width), str(backbone.batch_norms)
    rows.append(["blocks: 0", "-", "head alone", "the whole backbone", width, norms])
    for blocks, boundary in enumerate(reversed(backbone.boundaries), start=1):
        shapes = " + ".join("x".join(map(str, shape)) for shape in boundary.shapes)
        trained = wording.count(backbone.trainable_parameters(boundary.index + 1))
        below = " + ".join(boundary.layers) or "-"
        rows.append(
            [f"blocks: {blocks}", str(boundary.index + 1), trained, below, shapes, str(boundary.bn_below)]
        )
    everything = wording.count(backbone.trainable_parameters(0))
    return [*rows, ["all: true", "0", everything, "the pixels", "-", "0"]]


def _print(rows: list[list[str]]) -> None:
    for line in wording.columns(rows):
        complaint.say(line)
