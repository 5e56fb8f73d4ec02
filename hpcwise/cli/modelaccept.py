"""A person takes a model's licence, once."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from hpcwise.core.errors import UsageError
from hpcwise.models import licences
from hpcwise.models.sources import ModelCard


def accept_licence(card: ModelCard, *, yes: bool) -> dict[str, str]:
    """Ask unless `yes`, note it; what is noted. Raises UsageError where nothing is asked for, or refused."""
    if not card.accept:
        raise UsageError(f"model {card.name}: its licence ({card.licence}) asks for nothing; use it")
    if not licences.is_accepted(card):
        asked = f"{card.name}: {card.licence}. Have you read this licence, and do you accept it?"
        if not yes and not click.confirm(asked, err=True):
            raise UsageError(f"model {card.name}: its licence was not accepted; nothing was noted")
        licences.accept(card, datetime.now(UTC).isoformat(timespec="seconds"))
    return {"model": card.name, **licences.accepted()[card.name]}
