"""The `finetune` command, installed as `kubectl-finetune` too. Commands are imported when they are called."""

import importlib
from dataclasses import dataclass

import click


@dataclass(frozen=True)
class _Lazy:
    where: str
    """module:attribute"""
    help: str


COMMANDS = {
    "run": _Lazy("finetune_cli.run:run", "Run a job on this machine, with real workers."),
    "validate": _Lazy("finetune_cli.validate:validate", "Check a job file."),
    "plan": _Lazy("finetune_cli.plan_view:plan", "Show what a job would do: stages, steps, cache."),
    "backbones": _Lazy("finetune_cli.backbones_view:backbones", "List the backbones, or the blocks of one."),
    "crd": _Lazy("finetune_cli.crd_cmd:crd", "Print the CustomResourceDefinition."),
}
"""The short help is repeated here so that `finetune --help` imports none of them; a test compares it."""


class _LazyGroup(click.Group):
    """Imports a command's module when the command is used: `--help` must not wait for all of them."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        lazy = COMMANDS.get(cmd_name)
        if lazy is None:
            return None
        module, attribute = lazy.where.split(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([(name, lazy.help) for name, lazy in COMMANDS.items()])


@click.command(
    cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(package_name="finetune-operator")
def main() -> None:
    """Fine-tune a pretrained image model in stages: on this machine now, on a cluster with the same file."""
