"""Publishing in a process of its own: stitching takes a moment, and its libraries stay out of the head.

The functions here run there. They are stateless and idempotent: whatever a crash interrupts is simply
asked for again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from hpcwise.core.errors import DiskFull, HpcwiseError, StoreError, TornArtifact
from hpcwise.core.film import FilmPlan
from hpcwise.core.screenplay import Speech
from hpcwise.core.state import FilmSegment
from hpcwise.core.units import SEGMENT_S, Key
from hpcwise.store.artifacts import Artifact, Store
from hpcwise.store.paths import RunPaths, translate_oserror, write_beside

if TYPE_CHECKING:
    from hpcwise.media.captions import Caption
    from hpcwise.media.timeline import Timeline


#: The hashes of a live film's files, beside them.
SUMS: Final = "SHA256SUMS"
_BESIDE: Final = ("poster.png", "screenplay.json", "document.txt")


class PublishJob(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to publish. what: `segment` index `index`, the `end` of the playlist, or the `film`."""

    what: Literal["segment", "end", "film"]
    run_dir: str
    out_dir: str
    plan: FilmPlan
    index: int = 0


class PublishResult(msgspec.Struct, frozen=True, kw_only=True):
    """error: empty where it worked. torn: key of the artifact that is to be made again. full: for want
    of space. hashes: SHA-256 of the film's files by name."""

    error: str = ""
    torn: Key = ""
    full: bool = False
    hashes: dict[str, str] = {}


class _Torn(TornArtifact):
    def __init__(self, key: Key, error: TornArtifact) -> None:
        super().__init__(str(error))
        self.key = key


def warm() -> None:
    """Import what publishing needs: it takes a second, which a film's first segment should not wait for."""
    import hpcwise.media.film
    import hpcwise.media.hls  # noqa: F401
    from hpcwise.media.bed import warm_pad

    warm_pad()


def publish(encoded: bytes) -> bytes:
    """Do a PublishJob; both it and the PublishResult travel as msgpack. Never raises an HpcwiseError."""
    job = msgspec.msgpack.decode(encoded, type=PublishJob)
    try:
        result = PublishResult(hashes=_publish(job))
    except _Torn as error:
        result = PublishResult(error=str(error), torn=error.key)
    except HpcwiseError as error:
        result = PublishResult(error=str(error), full=isinstance(error, DiskFull))
    except OSError as error:
        meant = translate_oserror(error, Path(error.filename or job.out_dir))
        result = PublishResult(error=str(meant), full=isinstance(meant, DiskFull))
    return msgspec.msgpack.encode(result)


@lru_cache(maxsize=1)
def _store(run_dir: str) -> Store:
    """One store a process: it remembers which files it has checked."""
    return Store(RunPaths(Path(run_dir)))


def _publish(job: PublishJob) -> dict[str, str]:
    """Do the job; hashes of the files that a person keeps, when there are any."""
    from hpcwise.media.film import make_film
    from hpcwise.media.hls import finish_live, publish_segment

    store = _store(job.run_dir)
    out = Path(job.out_dir)
    out.mkdir(parents=True, exist_ok=True)
    plan = job.plan
    if job.what == "segment":
        # What comes later changes nothing, so nothing later is read and checked.
        timeline = _timeline(store, plan, plan.segments[: job.index + 1], complete=False)
        captions = _captions(store, plan, timeline) if plan.subtitles else None
        publish_segment(out, timeline, job.index, captions)
        return {}
    timeline = _timeline(store, plan, plan.segments, complete=True)
    if job.what == "end":
        finish_live(out, timeline)
        return {}
    captions = _captions(store, plan, timeline)
    make_film(out, timeline, captions, title=plan.title, poster_segment=plan.poster_segment)
    for kind in ("srt", "vtt"):
        if kind not in plan.subtitles:
            (out / f"film.{kind}").unlink(missing_ok=True)
    if "poster" not in plan.outputs:
        (out / "poster.png").unlink(missing_ok=True)
    if plan.screenplay is not None:
        told = msgspec.json.format(msgspec.json.encode(plan.screenplay), indent=1)
        write_beside(out / "screenplay.json", told)
    if plan.document_key:
        text = _artifact(store, plan.document_key, 0).path / "document.txt"
        if text.is_file():
            write_beside(out / "document.txt", text.read_bytes())
    kept = sorted(p for p in out.iterdir() if p.name in _BESIDE or p.stem == "film")
    hashes = {path.name: _sha256(path) for path in kept}
    if (out / "live" / "index.m3u8").is_file():
        hashes[f"live/{SUMS}"] = _sum_up(out / "live")
    return hashes


def _sum_up(live: Path) -> str:
    """Write the hashes of all live files beside them, as `sha256sum -c` reads them; the list's own hash."""
    files = sorted(p for p in live.iterdir() if p.name != SUMS and not p.name.startswith("."))
    text = "".join(f"{_sha256(path)}  {path.name}\n" for path in files)
    write_beside(live / SUMS, text.encode())
    return hashlib.sha256(text.encode()).hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _timeline(store: Store, plan: FilmPlan, segments: Sequence[FilmSegment], *, complete: bool) -> Timeline:
    from hpcwise.media.timeline import Bed, Segment, Timeline

    laid: list[Segment] = []
    key, last_shot = "", -1
    for segment in segments:
        shot, index = segment.shot, 0
        # Several tasks may make one shot, a segment each: what goes on in the same speech is the same shot.
        if laid and segment.speech_key == key and segment.first_frame == laid[-1].shot_end_frame:
            shot, index = laid[-1].shot, laid[-1].index + 1
        key = segment.speech_key
        if segment.shot == plan.last_shot:
            last_shot = shot
        laid.append(
            Segment(
                shot=shot,
                index=index,
                video=str(_file(store, segment.key, segment.chunk, ".mp4")),
                frames=segment.frames,
                shot_first_frame=segment.first_frame,
                audio=str(_file(store, segment.speech_key, 0, ".wav")),
            )
        )
    return Timeline(
        fps=plan.fps,
        width=plan.width,
        height=plan.height,
        segments=tuple(laid),
        complete=complete,
        longest_segment_s=SEGMENT_S + 0.5,
        bed=Bed(path=plan.music.file.path if plan.music.file else "", level_db=plan.music.level_db)
        if plan.music
        else None,
        last_shot=last_shot,
        renditions=plan.renditions,
    )


def _captions(store: Store, plan: FilmPlan, timeline: Timeline) -> tuple[Caption, ...]:
    from hpcwise.media.captions import cues, joined

    speech_of = {segment.shot: segment.speech_key for segment in plan.segments}
    shots = []
    for span in timeline.spans():
        path = _file(store, speech_of[span.shot], 0, ".json")
        speech = msgspec.json.decode(path.read_bytes(), type=Speech)
        start_s = float(span.first_frame / timeline.rate)
        # Cut at the shot's own end, never at what is published so far: a cue that lies across a seam stands
        # in both segments, and players show it twice unless it has the same times in both.
        shots.append(joined([cues(speech.words, start_s)], start_s + speech.duration_s))
    return joined(shots)


def _file(store: Store, key: Key, chunk: int, suffix: str) -> Path:
    """The one file of a chunk that ends in `suffix`, its hash checked."""
    artifact = _artifact(store, key, chunk)
    names = [entry.name for entry in artifact.manifest.files if entry.name.endswith(suffix)]
    if len(names) != 1:
        raise StoreError(f"artifact {key} chunk {chunk}: {len(names)} files *{suffix}, one is needed")
    return artifact.path / names[0]


def _artifact(store: Store, key: Key, chunk: int) -> Artifact:
    try:
        return store.read(key, chunk)
    except TornArtifact as error:
        raise _Torn(key, error) from error
