"""`python -m finetune_cli` is the `finetune` command."""

from finetune_cli.main import main

main(prog_name="finetune")
