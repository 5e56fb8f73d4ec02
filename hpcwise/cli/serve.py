"""`hpcwise serve`: a page in the browser to hand films in, watch them while they are made, and keep them."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import re
import secrets
import socket
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from hpcwise.cli.run import Run, run_dir_option
from hpcwise.cli.values import printable
from hpcwise.core.errors import ModelMissing, UsageError

if TYPE_CHECKING:
    from hpcwise.cli.serving.guard import Doors

#: `--token` without a file: one is made.
_MADE: Final = ""
_SHORTEST: Final = 20
_NAME: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")


@click.command("serve")
@click.option("--port", type=click.IntRange(0, 65535), default=8765, show_default=True,
              help="Port; 0 takes a free one.")
@click.option("--host", default="127.0.0.1", show_default=True, metavar="ADDRESS",
              help="Address to listen on. Beyond this machine only with --token.")
@click.option("--token", is_flag=False, flag_value=_MADE, default=None, metavar="[FILE]",
              help="Ask every browser for a token: the one in FILE (0600), or without FILE a new one, "
                   "which is printed once.")
@click.option("--allow-host", "names", multiple=True, metavar="NAME",
              help="A further name that this server is called by, such as a proxy's. Repeatable.")
@click.option(
    "--workers", type=click.IntRange(1, 1024), metavar="N",
    help="Workers at most of a head that the page starts; default one a core.",
)
@run_dir_option
def serve_command(
    port: int, host: str, token: str | None, names: tuple[str, ...], workers: int | None, run: Run
) -> None:
    """Show a page where films are handed in, watched while they are made, and kept.

    Without --token only your own processes on this machine are served, so also a tunnel of yours:
    `ssh -L 8765:localhost:8765 HOST`. A head that the page starts ends with this command; films go on
    when it is started again. Ctrl-C ends it.
    """
    secret = _token(token)
    address = _address(host, bool(secret))
    doors = _doors(host, address, names, secret)
    try:
        from hpcwise.cli.serving.server import serve
    except ImportError as error:
        raise ModelMissing(f"serve: {error}; install hpcwise[serve]") from error
    from hpcwise.cli.serving.jobs import forget_uploads

    if run.paths.root.exists():
        run.paths.check_usable()
        forget_uploads(run)
    with _listen(address, port) as listening:
        _say(listening.getsockname()[1], host, run, secret if token == _MADE else "")
        with contextlib.suppress(KeyboardInterrupt):  # how this command ends
            serve(run, doors, workers, listening)


def _say(port: int, host: str, run: Run, made: str) -> None:
    shown = socket.gethostname() if host in ("0.0.0.0", "::") else f"[{host}]" if ":" in host else host
    # Behind the # a browser sends nothing: the token stays out of logs and histories of proxies.
    click.echo(f"serving {run.results} at http://{shown}:{port}/" + (f"#token={made}" if made else ""))
    if made:
        click.echo("this address holds the token and is shown once; Ctrl-C ends the server", err=True)
    else:
        click.echo("Ctrl-C ends the server", err=True)


def _token(given: str | None) -> str:
    """The token, empty for none. Raises UsageError for a file that others can read, or a weak token."""
    if given is None:
        return ""
    if given == _MADE:
        return secrets.token_urlsafe(32)
    path = Path(given).expanduser()
    shown = printable(given)
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise UsageError(f"--token: {shown} is no file; name one, or write --token alone")
            if status.st_mode & 0o077 or status.st_uid not in (os.geteuid(), 0):
                raise UsageError(f"--token: others can read or own {shown}; chmod 600 it")
            text = file.read(4096).decode("utf-8", "replace").strip()
    except OSError as error:
        raise UsageError(f"--token: {shown}: {error.strerror}; name a file that holds the token") from error
    if not (len(text) >= _SHORTEST and text.isascii() and text.isprintable() and " " not in text):
        raise UsageError(
            f"--token: {shown} holds no token of {_SHORTEST} or more letters and digits; "
            "`openssl rand -hex 32` makes one"
        )
    return text


def _address(host: str, guarded: bool) -> str:
    """The numeric address to listen on. Raises UsageError where it is none, or open without a token."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0][4][0]
        address = ipaddress.ip_address(str(found).partition("%")[0])
    except (OSError, ValueError, UnicodeError, IndexError):
        raise UsageError(
            f"--host: {printable(repr(host))} is no address of this machine; leave it out"
        ) from None
    if not address.is_loopback and not guarded:
        raise UsageError(
            f"--host: {printable(host)} can be reached from other machines; add --token, or leave --host out"
        )
    return str(address)


def _doors(host: str, address: str, names: tuple[str, ...], secret: str) -> Doors:
    from hpcwise.cli.serving.guard import LOOPBACK_NAMES, Doors

    for name in names:
        if not _NAME.fullmatch(name):
            raise UsageError(
                f"--allow-host: {printable(repr(name))} is no host name; write it without port or path"
            )
    known = [*LOOPBACK_NAMES, *(name.lower() for name in names)]
    if not ipaddress.ip_address(address).is_loopback:
        known += [host.lower(), address, socket.gethostname().lower(), socket.getfqdn().lower()]
    return Doors(
        names=tuple(dict.fromkeys(known)),
        token=secret,
        any_address=ipaddress.ip_address(address).is_unspecified,
    )


def _listen(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((address, port))
        listening.listen(128)
    except OSError as error:
        listening.close()
        raise UsageError(
            f"--port: {port} of {address} cannot be used ({error.strerror}); --port 0 takes a free one"
        ) from None
    return listening
