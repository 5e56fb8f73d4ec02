"""`hpcwise`: the command line. One file a noun; each is imported when its command is used.

Exit codes: 0 done; 1 the work failed; 2 the input is wrong or something needed is missing; 130 stopped
by Ctrl-C.
"""

from __future__ import annotations

import errno
import importlib
import io
import os
import sys
from collections.abc import Sequence
from typing import Any, Final

import click

from hpcwise import __version__
from hpcwise.cli.group import Group
from hpcwise.core.errors import HeadExists, HpcwiseError, ModelMissing, NotOwner, UsageError

#: Command -> module and its one-line help; the help is here so that `--help` imports none of them.
COMMANDS: Final[dict[str, tuple[str, str]]] = {
    "generate": ("generate", "Make a film in the foreground; Ctrl-C stops, the same command resumes."),
    "script": ("script", "Write the screenplay alone, to be read and edited before anything is filmed."),
    "serve": ("serve", "A page to hand films in, watch them while they are made, and keep them."),
    "head": ("head", "Start, stop or look at the process that plans."),
    "submit": ("submit", "Hand a job in, whether or not a head runs."),
    "ls": ("requests", "List requests."),
    "show": ("requests", "One request, its stages and shots."),
    "watch": ("requests", "Follow a request until it ends."),
    "logs": ("logs", "Output of a request's or of one worker's processes."),
    "cancel": ("requests", "Stop a request; returns when its work has stopped."),
    "explain": ("requests", "Why a request waits, where it runs, why its quality was lowered."),
    "cluster": ("cluster", "A Slurm site: discover it, learn its queues, check its file."),
    "report": ("report", "What a request took and cost, what was preempted and recovered: one page."),
    "plan": ("plan", "Which replicas on which hardware make a job best, and what more would cost."),
    "simulate": ("simulate", "When a job would be ready and what it would cost, without making it."),
    "replay": ("replay", "A request's timeline as Perfetto trace and Gantt picture; check its decisions."),
    "models": ("models", "The models, where they come from and whether they are whole."),
    "profile": ("profile", "Measure how long a model takes here, and fit its profile."),
    "env": ("env", "Pack the environment into one file that workers unpack on their node."),
    "gc": ("gc", "Free space; keeps what live requests need."),
    "testbed": ("testbed", "A real Slurm with several hosts on this machine, to try and to break."),
    "doctor": ("doctor", "Say what this machine lacks, and the fix."),
    "spec": ("spec", "Check a job spec, print its JSON Schema."),
    "completion": ("completion", "Print shell completion for bash, zsh or fish."),
}


#: Errors of the operating system that another path would not have.
_PATH_ERRORS: Final = frozenset({
    errno.EACCES, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.ENOENT, errno.ENOTDIR, errno.EPERM,
    errno.EROFS,
})  # fmt: skip


class Commands(Group):
    """Imports a command's module when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        module = importlib.import_module(f"hpcwise.cli.{entry[0]}")
        command: click.Command = getattr(module, f"{cmd_name}_command")
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        import difflib

        name = args[0] if args else ""
        if name not in COMMANDS and not name.startswith("-"):
            close = difflib.get_close_matches(name, COMMANDS, n=1)
            hint = f"did you mean {close[0]}?" if close else "see hpcwise --help"
            raise click.UsageError(f"command: {name!r} is not known; {hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry[1]) for name, entry in COMMANDS.items()])


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="hpcwise")
def hpcwise() -> None:
    """Turns a document into a narrated film on machines that you already own.

    Start with: hpcwise generate paper.pdf

    Exit codes: 0 done; 1 the work failed; 2 the input is wrong or something needed is missing;
    130 stopped by Ctrl-C.
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its code."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal that knows no ✓ shows a question mark; that is no reason to fail.
        if isinstance(stream, io.TextIOWrapper) and stream.encoding.lower().replace("-", "") != "utf8":
            stream.reconfigure(errors="replace")
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Run a command line; returns its exit code. Errors are one line each on standard error."""
    try:
        result: Any = hpcwise.main(
            args=None if arguments is None else list(arguments), prog_name="hpcwise", standalone_mode=False
        )
        return result if isinstance(result, int) else 0
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("", err=True)
        return 130
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return 2
    except click.ClickException as error:
        _complain(_usage(error))
        return 2
    except (UsageError, NotOwner, ModelMissing, HeadExists) as error:
        _complain(str(error))
        return 2
    except HpcwiseError as error:
        _complain(str(error))
        return 1
    except BrokenPipeError:
        # The reader (head, less) has gone; nothing is left to say, not even at interpreter exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        wrong_path = error.errno in _PATH_ERRORS
        fix = "check the path, and whose it is" if wrong_path else "mend that, then give the command again"
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            fix = "free space or raise the quota, then give the command again"
        _complain(f"{error.filename or 'operating system'}: {error.strerror or error}; {fix}")
        return 2 if wrong_path else 1
    except RuntimeError as error:
        if "home directory" not in str(error):
            raise
        _complain("HOME: is not set, and this machine knows no home of yours; export HOME=FOLDER")
        return 2


def _usage(error: click.ClickException) -> str:
    """What click says of an option or argument, as hpcwise says it: the name, then what is wrong."""
    if not isinstance(error, click.BadParameter) or error.param is None:
        return error.format_message()
    option = isinstance(error.param, click.Option)
    name = max(error.param.opts, key=len) if option else error.param.human_readable_name.strip("[]")
    if isinstance(error, click.MissingParameter):
        return f"{name}: is missing; --help says what it is"
    return f"{name}: {error.message.rstrip('.')}"


def _complain(message: str) -> None:
    for line in message.strip().splitlines() or ["failed"]:
        shown = "".join(c if c.isprintable() else "?" for c in line)
        click.echo(f"hpcwise: {shown}", err=True)
