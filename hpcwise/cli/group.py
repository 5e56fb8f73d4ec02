"""Groups of commands whose help is said in full."""

from __future__ import annotations

from typing import Final

import click

#: No first sentence of a command is as long.
_LONGEST: Final = 200


class Group(click.Group):
    """As click's, which cuts off what a command does to fit into the terminal; here a second line follows."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            found = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
            formatter.write_dl([(name, c.get_short_help_str(_LONGEST)) for name, c in found if c is not None])
