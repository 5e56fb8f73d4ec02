"""`hpcwise completion`: shell completion, and completion of the names of requests, workers, models, sites,
testbeds and their nodes. All from names of files: completion must not wait for anything."""

from __future__ import annotations

import getpass
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem, get_completion_class

from hpcwise.cli.run import DEFAULT, Run
from hpcwise.core.errors import HpcwiseError

Completer = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]

_USE = {
    "bash": 'eval "$(hpcwise completion bash)"  # in ~/.bashrc',
    "zsh": 'eval "$(hpcwise completion zsh)"  # in ~/.zshrc',
    "fish": "hpcwise completion fish > ~/.config/fish/completions/hpcwise.fish",
}
#: A .zshrc of one's own may not have begun completion yet.
_ZSH_FIRST = "(( $+functions[compdef] )) || { autoload -U compinit && compinit; }"


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
    text = script.source_template % script.source_vars()
    click.echo(f"{_ZSH_FIRST}\n{text}" if shell == "zsh" else text)


def _completer(names: Callable[[dict[str, Any]], Iterable[str]]) -> Completer:
    """names: of the parameters typed so far. What cannot be looked up completes to nothing."""

    def complete(ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
        try:
            found = dict.fromkeys(name for name in names(ctx.params) if name.startswith(incomplete))
        except (OSError, KeyError, HpcwiseError):
            return []
        return [CompletionItem(name) for name in found]

    return complete


def _run(params: dict[str, Any]) -> Run:
    run = params.get("run")
    return run if isinstance(run, Run) else Run.at(str(run or DEFAULT))


def _requests(params: dict[str, Any]) -> list[str]:
    paths = _run(params).paths
    return [job.stem for folder in (paths.inbox, paths.done) for job in sorted(folder.glob("*.job"))]


def _logs(params: dict[str, Any]) -> list[str]:
    workers = sorted(path.name for path in _run(params).paths.workers.glob("*"))
    return ["head", *_requests(params), *workers]


def _configured(*patterns: str) -> Callable[[dict[str, Any]], list[str]]:
    def names(_params: dict[str, Any]) -> list[str]:
        from hpcwise.head.settings import find_configs

        return sorted(path.stem for pattern in patterns for path in find_configs().glob(pattern))

    return names


def _pools(params: dict[str, Any]) -> list[str]:
    from hpcwise.head.settings import find_configs

    site = find_configs() / "clusters" / f"{Path(params.get('cluster') or '').name}.yaml"
    found = re.findall(r"""^\s*-?\s*pool: *["']?([\w.-]+)""", site.read_text("utf-8"), re.MULTILINE)
    return [f"{pool}=" for pool in found]


def _testbeds(_params: dict[str, Any]) -> list[str]:
    from hpcwise.testbed.record import known

    return [record.name for record in known()]


def _nodes(params: dict[str, Any]) -> list[str]:
    from hpcwise.testbed.record import known

    name = params.get("name") or getpass.getuser()
    return [node.name for record in known() if record.name == name for node in record.shape.nodes()]


request_ids: Completer = _completer(_requests)
log_names: Completer = _completer(_logs)
models: Completer = _completer(_configured("models/*.yaml"))
planned_models: Completer = _completer(_configured("models/*.yaml", "models/catalogue/*.yaml"))
model_sets: Completer = _completer(_configured("model-sets/*.yaml"))
profile_sets: Completer = _completer(_configured("profiles/*.yaml"))
sites: Completer = _completer(_configured("clusters/*.yaml"))
pools: Completer = _completer(_pools)
testbeds: Completer = _completer(_testbeds)
nodes: Completer = _completer(_nodes)
