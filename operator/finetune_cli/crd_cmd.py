"""`finetune crd`: the CustomResourceDefinition, generated from the same models."""

import click


@click.command()
def crd() -> None:
    """Print the CustomResourceDefinition.

    finetune crd | kubectl apply --server-side -f -
    """
    from finetune_api import crd as definition

    click.echo(definition.crd_yaml(), nl=False)
