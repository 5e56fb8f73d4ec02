"""The HTTP server under the page: uvicorn, ended in order also while pages listen for events."""

from __future__ import annotations

import socket
import types

import uvicorn

from hpcwise.cli.run import Run
from hpcwise.cli.serving.app import make_app
from hpcwise.cli.serving.feed import Feed
from hpcwise.cli.serving.guard import Doors, Guard, socket_owner


class _Server(uvicorn.Server):
    """Tells the pages that listen before it waits for their connections to end."""

    def __init__(self, config: uvicorn.Config, feed: Feed) -> None:
        super().__init__(config)
        self._feed = feed

    def handle_exit(self, sig: int, frame: types.FrameType | None) -> None:
        self._feed.send_off()
        super().handle_exit(sig, frame)


def serve(run: Run, doors: Doors, workers: int | None, listening: socket.socket) -> None:
    """Serve the page on a listening socket until SIGINT or SIGTERM.

    uvicorn raises the signal again once it has ended in order, so SIGINT ends in KeyboardInterrupt.
    """
    feed = Feed(run, workers)
    config = uvicorn.Config(
        Guard(make_app(run, doors, feed), doors, socket_owner),
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        h11_max_incomplete_event_size=64 << 10,
        limit_concurrency=256,
        timeout_graceful_shutdown=5,
        ws="none",
        lifespan="on",
    )
    _Server(config, feed).run(sockets=[listening])
