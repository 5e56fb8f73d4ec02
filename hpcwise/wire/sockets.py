"""CURVE sockets: the head's ROUTER, a peer's DEALER, and how a peer finds the head.

The head binds one port and advertises every address at which it might be reached: on a cluster the right
one depends on who asks. A peer asks all of them at once and keeps the first that answers with the
expected epoch; a wrong or stale address costs nothing but a closed socket.

Nothing here blocks on a dead peer: sends are non-blocking and say when a peer is gone or does not read.
"""

from __future__ import annotations

import contextlib
import fcntl
import ipaddress
import secrets
import socket
import struct
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import zmq
import zmq.auth.thread

from hpcwise.core.errors import StaleEpoch, UsageError, WireError, WrongVersion
from hpcwise.wire.messages import MAX_FRAME, Here, Probe, Up, decode_down, encode

#: Frames that may wait for one peer in each direction before it counts as not reading.
HIGH_WATER: Final = 20_000
_SIOCGIFADDR: Final = 0x8915
#: After so much silence of the transport a host is taken for gone, seconds.
LOST_S: Final = 15.0


@dataclass(frozen=True, slots=True)
class CurveKeys:
    """A CURVE key pair in Z85, and the public key of the other side (server: the only client allowed)."""

    public: bytes
    secret: bytes
    peer_public: bytes


@dataclass(frozen=True, slots=True)
class _OnlyClient:
    """ZAP credentials provider: the run directory's client key opens the door, nothing else does."""

    allowed: bytes

    def callback(self, domain: str, key: bytes) -> bool:
        return secrets.compare_digest(key, self.allowed)


class ServerSocket:
    """The head's ROUTER. Its file descriptor is edge-triggered: `receive` until it is empty, and look
    again after sending."""

    def __init__(
        self, keys: CurveKeys, interface: str = "127.0.0.1", lost_s: float = LOST_S, handover: bool = True
    ) -> None:
        """interface: an address or name of a network interface to bind, "*" for all of them. handover:
        whether a new connection may take a name that is in use.

        Raises UsageError for an interface that does not exist.
        """
        host = interface if interface == "*" else address_of(interface)
        self._context = zmq.Context()
        self._auth = zmq.auth.thread.ThreadAuthenticator(self._context)
        self._auth.start()
        self._auth.configure_curve_callback("*", credentials_provider=_OnlyClient(keys.peer_public))
        sock = self._context.socket(zmq.ROUTER)
        self._socket = sock
        sock.curve_server = True
        sock.curve_publickey, sock.curve_secretkey = keys.public, keys.secret
        sock.setsockopt(zmq.ROUTER_MANDATORY, 1)
        # A worker that reconnects before its old connection is seen to be dead keeps its name.
        sock.setsockopt(zmq.ROUTER_HANDOVER, int(handover))
        _common(sock, lost_s)
        try:
            sock.bind(f"tcp://{host}:*")
        except zmq.ZMQError as error:
            self.close()
            raise UsageError(f"interface {interface!r}: cannot listen ({error}); name another") from error
        endpoint = str(sock.getsockopt_string(zmq.LAST_ENDPOINT))
        self.port = int(endpoint.rsplit(":", 1)[1])
        hosts = candidate_hosts() if interface == "*" else [host]
        #: What to advertise, likeliest first.
        self.addresses = tuple(f"tcp://{h}:{self.port}" for h in hosts)

    @property
    def raw(self) -> zmq.Socket[bytes]:
        """For pollers and monitors."""
        return self._socket

    @property
    def fd(self) -> int:
        """Readable when `pending` may have become true."""
        return int(self._socket.getsockopt(zmq.FD))

    @property
    def pending(self) -> bool:
        """Whether a frame waits."""
        return bool(int(self._socket.getsockopt(zmq.EVENTS)) & zmq.POLLIN)

    def receive(self, limit: int) -> Iterator[tuple[bytes, bytes]]:
        """(peer, frame) pairs that wait, at most `limit`; messages of another shape are skipped."""
        for _ in range(limit):
            try:
                parts = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            if len(parts) == 2:
                yield parts[0], parts[1]
            else:
                yield parts[0], b""

    def send(self, peer: bytes, frame: bytes) -> bool:
        """Hand `frame` over. False: no such peer, or it does not read; nothing was sent."""
        try:
            self._socket.send_multipart((peer, frame), zmq.NOBLOCK)
        except zmq.Again:
            return False
        except zmq.ZMQError as error:
            if error.errno == zmq.EHOSTUNREACH:
                return False
            raise
        return True

    def close(self) -> None:
        """Close, giving last frames 200 ms to leave."""
        sock = getattr(self, "_socket", None)
        if sock is not None:
            sock.close(linger=200)
        self._auth.stop()
        self._context.term()


class PeerSocket:
    """A DEALER to the head: of a worker, of its heartbeat thread, or of a client."""

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        keys: CurveKeys,
        identity: bytes = b"",
        lost_s: float = LOST_S,
    ) -> None:
        self._socket = context.socket(zmq.DEALER)
        sock = self._socket
        if identity:
            sock.setsockopt(zmq.ROUTING_ID, identity)
        sock.curve_publickey, sock.curve_secretkey = keys.public, keys.secret
        sock.curve_serverkey = keys.peer_public
        sock.setsockopt(zmq.RECONNECT_IVL, 50)
        sock.setsockopt(zmq.RECONNECT_IVL_MAX, 2000)
        _common(sock, lost_s)
        self._timeout_ms = -2

    def connect(self, address: str) -> None:
        """Raises WireError when `address` has no usable form."""
        try:
            self._socket.connect(address)
        except zmq.ZMQError as error:
            raise WireError(f"address {address!r}: {error}") from error

    @property
    def raw(self) -> zmq.Socket[bytes]:
        """For pollers."""
        return self._socket

    def receive(self, timeout_s: float = 0.0) -> bytes | None:
        """The next frame, None when none came in time. A signal's handler runs while this waits."""
        try:
            if timeout_s <= 0:
                return self._socket.recv(zmq.NOBLOCK)
            timeout_ms = max(1, int(timeout_s * 1000))
            if timeout_ms != self._timeout_ms:
                self._socket.setsockopt(zmq.RCVTIMEO, timeout_ms)
                self._timeout_ms = timeout_ms
            return self._socket.recv()
        except zmq.Again:
            return None

    def send(self, frame: bytes) -> bool:
        """Hand `frame` over; False when the head has not read for long (or was never connected)."""
        try:
            self._socket.send(frame, zmq.NOBLOCK)
        except zmq.Again:
            return False
        return True

    def close(self, linger_ms: int = 0) -> None:
        self._socket.close(linger=linger_ms)


def find_head(
    context: zmq.Context[zmq.Socket[bytes]],
    keys: CurveKeys,
    addresses: Sequence[str],
    epoch: int,
    timeout_s: float,
) -> str:
    """The address at which the head of `epoch` (or a newer one) answers first.

    Raises WrongVersion when a head of another protocol answers, StaleEpoch when only older heads do, and
    WireError when nobody does within `timeout_s`.
    """
    poller = zmq.Poller()
    peers: dict[zmq.Socket[bytes], tuple[str, PeerSocket]] = {}
    unusable: list[str] = []
    stale = 0
    frame = encode(Up(epoch, (Probe(),)))
    try:
        for address in dict.fromkeys(addresses):
            peer = PeerSocket(context, keys)
            peers[peer.raw] = (address, peer)
            try:
                peer.connect(address)
            except WireError as error:
                unusable.append(str(error))
                continue
            peer.send(frame)
            poller.register(peer.raw, zmq.POLLIN)
        end = time.monotonic() + timeout_s
        while (left := end - time.monotonic()) > 0:
            for sock, _ in poller.poll(max(1, int(left * 1000))):
                address, peer = peers[sock]
                answer = peer.receive()
                poller.unregister(sock)
                try:
                    found = _answer_epoch(answer)
                except WrongVersion:
                    raise
                except WireError:
                    continue  # something else listens there
                if found >= epoch:
                    return address
                stale = max(stale, found)
        tried = ", ".join(addresses) or "no address"
        if stale:
            raise StaleEpoch(f"{tried}: a head of epoch {stale} answered, epoch {epoch} was expected")
        raise WireError("; ".join([f"no head answered within {timeout_s:g} s at {tried}", *unusable]))
    finally:
        for _, peer in peers.values():
            peer.close()


def _answer_epoch(frame: bytes | None) -> int:
    if frame is None:
        return -1
    parcel = decode_down(frame)
    return parcel.epoch if any(isinstance(note, Here) for note in parcel.messages) else -1


def candidate_hosts() -> list[str]:
    """Addresses of all interfaces of this host, loopback last, so that remote peers try real ones first."""
    found: list[str] = []
    for _, name in socket.if_nameindex():
        with contextlib.suppress(UsageError):
            found.append(address_of(name))
    with contextlib.suppress(OSError):
        found.append(socket.gethostbyname(socket.gethostname()))
    unique = list(dict.fromkeys(found))
    return sorted(unique, key=lambda host: ipaddress.ip_address(host).is_loopback) or ["127.0.0.1"]


def address_of(interface: str) -> str:
    """IPv4 address of an interface given by name or by address. Raises UsageError when there is none."""
    try:
        return str(ipaddress.IPv4Address(interface))
    except ValueError:
        pass
    name = interface.encode()
    if 0 < len(name) <= 15:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock, contextlib.suppress(OSError):
            reply = fcntl.ioctl(sock.fileno(), _SIOCGIFADDR, struct.pack("256s", name))
            return socket.inet_ntoa(reply[20:24])
    raise UsageError(f"interface {interface!r}: no such interface here; name one that has an IPv4 address")


def interface_towards(host: str) -> str:
    """Name of the interface of this machine through which `host` (an IPv4 address) is reached; empty where
    that cannot be told."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock, contextlib.suppress(OSError):
        sock.connect((host, 9))
        own = sock.getsockname()[0]
        for _, name in socket.if_nameindex():
            with contextlib.suppress(UsageError):
                if address_of(name) == own:
                    return name
    return ""


def _common(sock: zmq.Socket[bytes], lost_s: float) -> None:
    sock.setsockopt(zmq.SNDHWM, HIGH_WATER)
    sock.setsockopt(zmq.RCVHWM, HIGH_WATER)
    sock.setsockopt(zmq.MAXMSGSIZE, MAX_FRAME)
    sock.setsockopt(zmq.LINGER, 0)
    # A host that vanishes without a word is noticed by the transport.
    sock.setsockopt(zmq.HEARTBEAT_IVL, int(lost_s * 1000 / 3))
    sock.setsockopt(zmq.HEARTBEAT_TIMEOUT, int(lost_s * 1000))
