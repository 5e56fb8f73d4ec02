"""Playlists of a film that is still being made, handed out as low-latency HLS has it (RFC 8216bis, 6.2.5.2).

A player that says which segment it lacks (`_HLS_msn`) gets its answer when that is there: no polling, and no
segment is found late. Segments are published whole, so there are no parts of them to announce earlier.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from hpcwise.core.errors import UsageError

#: A request is held for so long at most: less than what hls.js waits for an answer (10 s).
HELD_S: Final = 8.0
#: What is on a shared disk cannot wake us: how often a playlist is looked at, seconds.
_LOOK_S: Final = 0.05
#: A player may ask for the next segment and the one after it, no further.
_AHEAD: Final = 2
_END: Final = b"#EXT-X-ENDLIST"
_BEFORE: Final = b"#EXT-X-MEDIA-SEQUENCE"


async def playlist(path: Path, wanted: str, ending: Callable[[], bool]) -> bytes:
    """The playlist, once it lists segment `wanted` ("" for as it is), has ended, HELD_S are over or the
    server is `ending`.

    Raises UsageError where `wanted` is no number, or far beyond what there is.
    """
    data = path.read_bytes()
    if wanted:
        if not (wanted.isascii() and wanted.isdigit() and len(wanted) < 7):
            raise UsageError(f"_HLS_msn: {wanted[:20]!r} is no number of a segment")
        number, until_s = int(wanted), time.monotonic() + HELD_S
        if _END not in data and number >= _listed(data) + _AHEAD:
            raise UsageError(f"_HLS_msn: {number} is too far ahead; there are {_listed(data)} segments")
        while _END not in data and _listed(data) <= number and time.monotonic() < until_s and not ending():
            await asyncio.sleep(_LOOK_S)
            data = path.read_bytes()
    if _END in data or _BEFORE not in data:
        return data
    return data.replace(_BEFORE, b"#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES\n" + _BEFORE, 1)


def _listed(data: bytes) -> int:
    return data.count(b"#EXTINF:")
