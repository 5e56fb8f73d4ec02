"""`hpcwise models accept`: a person takes a model's licence, once."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from hpcwise.cli.output import print_json
from hpcwise.cli.run import json_option
from hpcwise.core.errors import UsageError


@click.command("accept")
@click.argument("name")
@click.option("--yes", is_flag=True, help="Accept without being asked.")
@json_option
def accept(name: str, yes: bool, as_json: bool) -> None:
    """Accept the licence of model NAME, once; kept in your configuration and named in receipts."""
    from hpcwise.cli.models import registry
    from hpcwise.models import licences

    card = registry().card(name)
    if not card.accept:
        raise UsageError(f"model {name}: its licence ({card.licence}) asks for nothing; use it")
    if not licences.is_accepted(card):
        asked = f"{name}: {card.licence}. Have you read this licence, and do you accept it?"
        if not yes and not click.confirm(asked, err=True):
            raise UsageError(f"model {name}: its licence was not accepted; nothing was noted")
        licences.accept(card, datetime.now(UTC).isoformat(timespec="seconds"))
    noted = {"model": name, **licences.accepted()[name]}
    if as_json:
        print_json(noted)
    else:
        click.echo(f"{name}: {noted['licence']}, accepted {noted['when']}")
