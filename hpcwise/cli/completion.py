"""`hpcwise completion`: shell completion, and completion of request ids."""

from __future__ import annotations

import click
from click.shell_completion import CompletionItem, get_completion_class

from hpcwise.cli.run import DEFAULT, Run

_USE = {
    "bash": 'eval "$(hpcwise completion bash)"  # in ~/.bashrc',
    "zsh": 'eval "$(hpcwise completion zsh)"  # in ~/.zshrc',
    "fish": "hpcwise completion fish > ~/.config/fish/completions/hpcwise.fish",
}


@click.command("completion")
@click.argument("shell", type=click.Choice(sorted(_USE)))
def completion_command(shell: str) -> None:
    """Print the completion script of SHELL.

    \b
    bash: eval "$(hpcwise completion bash)"  in ~/.bashrc
    zsh:  eval "$(hpcwise completion zsh)"   in ~/.zshrc
    fish: hpcwise completion fish > ~/.config/fish/completions/hpcwise.fish
    """
    from hpcwise.cli.main import hpcwise

    found = get_completion_class(shell)
    assert found is not None
    # bash's own check of its version writes to standard error and needs a bash: the script does not.
    script = found(hpcwise, {}, "hpcwise", "_HPCWISE_COMPLETE")
    click.echo(script.source_template % script.source_vars())


def request_ids(ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Ids of this run's requests, from file names alone: completion must not wait for a journal."""
    run = ctx.params.get("run")
    run = run if isinstance(run, Run) else Run.at(str(run or DEFAULT))
    names: dict[str, None] = {}
    for folder in (run.paths.inbox, run.paths.done):
        if folder.is_dir():
            names.update(
                (p.stem, None) for p in sorted(folder.glob("*.job")) if p.stem.startswith(incomplete)
            )
    return [CompletionItem(name) for name in names]
