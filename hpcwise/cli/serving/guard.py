"""Who may ask the page's server: checked before anything else looks at a request.

Three doors, each closed by default:
- Host. A name that is not ours means that somebody's DNS points at us (rebinding): refused.
- Peer. Without a token only this user's own processes on this machine are served. On a login node others
  can reach the loopback interface too; the kernel says whose socket a connection comes from.
- Origin. What changes something carries a header that other sites' pages cannot send.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ipaddress
import os
import re
import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from typing import Any, Final

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
App = Callable[[Any, Receive, Send], Awaitable[None]]

#: Sent by the page with whatever changes something; a foreign page would need our leave to send it.
HEADER: Final = "x-hpcwise"
LOOPBACK_NAMES: Final = ("localhost", "127.0.0.1", "::1")
#: Served without a token: the way in, and what it is drawn with.
_OPEN: Final = re.compile(r"/|/login|/page/[a-zA-Z0-9.-]+")
_HOST: Final = re.compile(r"(?:\[(?P<six>[0-9a-fA-F:.]+)\]|(?P<name>[^\[\]:/@?#\s]+))(?::[0-9]{1,5})?")
#: A wrong token is answered after this time, so that guessing is slow, seconds.
_SLOW_S: Final = 0.5

HEADERS: Final = (
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; "
        b"media-src 'self' blob: data:; connect-src 'self'; form-action 'self'; base-uri 'none'; "
        b"frame-ancestors 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), microphone=(), geolocation=()"),
)


@dataclass(frozen=True, slots=True)
class Doors:
    """What is let in. names: host names that this server is called by; token: empty for none, then only
    this user's own processes are served; any_address: also any IP address, which no DNS can point here."""

    names: tuple[str, ...]
    token: str = ""
    any_address: bool = False

    def host_ok(self, host: str) -> bool:
        """Whether a Host header names this server."""
        match = _HOST.fullmatch(host.strip().lower())
        if match is None:
            return False
        name = (match["six"] or match["name"]).rstrip(".")
        if name in self.names:
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        return self.any_address or (bool(match["six"] or "." in name) and str(address) in self.names)

    @property
    def cookie(self) -> tuple[str, str]:
        """Name and value of what a browser keeps instead of the token itself. Browsers do not tell ports
        apart, so the name differs from server to server."""
        made = hmac.new(self.token.encode(), b"hpcwise page", hashlib.sha256).hexdigest()
        return f"hpcwise-{made[:8]}", made[8:]

    def token_ok(self, given: str) -> bool:
        """Whether this is the token, in constant time."""
        return hmac.compare_digest(_digest(given), _digest(self.token))

    def known(self, headers: Mapping[str, str]) -> bool:
        """Whether a request carries the token (`Authorization: Bearer`) or the cookie made of it."""
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self.token_ok(given.strip()):
            return True
        try:
            jar = SimpleCookie(headers.get("cookie", ""))
        except CookieError:
            return False
        name, value = self.cookie
        return name in jar and hmac.compare_digest(_digest(jar[name].value), _digest(value))


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()


class Guard:
    """ASGI middleware. peer: user ids that a connection may come from, by (address, port) of both ends."""

    def __init__(
        self, app: App, doors: Doors, owner: Callable[[tuple[str, int], tuple[str, int]], int | None]
    ) -> None:
        self._app = app
        self._doors = doors
        self._owner = owner

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        refusal = self._refusal(scope, headers)
        if refusal is not None:
            if refusal[0] == 401 and ("authorization" in headers or "cookie" in headers):
                await asyncio.sleep(_SLOW_S)
            await _refuse(send, *refusal)
            return

        async def guarded(message: Any) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), *HEADERS]}
            await send(message)

        await self._app(scope, receive, guarded)

    def _refusal(self, scope: Scope, headers: Mapping[str, str]) -> tuple[int, str] | None:
        doors = self._doors
        hosts = [value for name, value in scope["headers"] if name == b"host"]
        if len(hosts) != 1 or not doors.host_ok(headers["host"]):
            return 421, "this server is not known by that name; start it with --allow-host NAME"
        if doors.token:
            if not doors.known(headers) and not _OPEN.fullmatch(scope["path"]):
                return 401, "a token is needed: open the address that `hpcwise serve` printed"
        elif not self._own(scope):
            return 403, "only processes of the user who started this server are served; use --token"
        if scope["method"] not in ("GET", "HEAD"):
            origin = headers.get("origin", "")
            if headers.get(HEADER) != "1" or (origin and origin.partition("://")[2] != headers["host"]):
                return 403, "this came from another page; use the page that this server shows"
        return None

    def _own(self, scope: Scope) -> bool:
        if not scope.get("client") or not scope.get("server"):
            return False
        return self._owner(tuple(scope["client"]), tuple(scope["server"])) in (os.geteuid(), 0)


async def _refuse(send: Send, status: int, reason: str) -> None:
    body = (reason + "\n").encode()
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"), *HEADERS,
    ]  # fmt: skip
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def socket_owner(client: tuple[str, int], server: tuple[str, int]) -> int | None:
    """User id of the process at the other end of a connection within this machine, by the kernel's tables.

    None where that cannot be told: the peer is on another machine, or in another network namespace.
    """
    for name in ("tcp", "tcp6"):
        try:
            lines = Path(f"/proc/net/{name}").read_text("ascii").splitlines()[1:]
        except OSError:
            continue
        if (uid := owner_in(lines, client, server)) is not None:
            return uid
    return None


def owner_in(lines: Iterable[str], client: tuple[str, int], server: tuple[str, int]) -> int | None:
    """As socket_owner, from the lines of a table: local, remote and uid are columns 2, 3 and 8."""
    local = {f"{address}:{client[1]:04X}" for address in _as_kernel(client[0])}
    remote = {f"{address}:{server[1]:04X}" for address in _as_kernel(server[0])}
    for line in lines:
        columns = line.split()
        if len(columns) > 7 and columns[1] in local and columns[2] in remote and columns[3] == "01":
            return int(columns[7])
    return None


def _as_kernel(text: str) -> tuple[str, ...]:
    """An address as the kernel's tables write it: words of 32 bits in the machine's byte order."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return ()
    forms = [address.packed]
    if isinstance(address, ipaddress.IPv4Address):
        forms.append(bytes(10) + b"\xff\xff" + address.packed)
    elif address.ipv4_mapped is not None:
        forms.append(address.ipv4_mapped.packed)

    def word(four: bytes) -> str:
        return f"{int.from_bytes(four, sys.byteorder):08X}"

    return tuple("".join(word(form[i : i + 4]) for i in range(0, len(form), 4)) for form in forms)
