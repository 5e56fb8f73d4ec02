"""The live film: fMP4 HLS (RFC 8216bis) whose playlist grows while shots are still being made.

Nothing is kept between calls, in memory or on disk beside the outputs themselves: each call works from
the timeline. So a head that was killed publishes the last segment again and gets the same bytes.

The sound of a segment ends up to 0.1 s before its picture: the packets across the seam need samples of
what comes next, and travel with it. Decode times are absolute, so players put them where they belong.
The last segment of a `complete` timeline holds all. (A closing segment of sound alone would be simpler
for a head, but stalls hls.js.)

Smaller renditions have segments, playlist and initialisation of their own, cut where the film's are, with the
same sound. They are there before the film's own playlist lists a segment.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import av
import msgspec

from hpcwise.core.errors import StoreError, UsageError
from hpcwise.media.boxes import Run, Sample, box, fragment, walk
from hpcwise.media.captions import Caption, vtt
from hpcwise.media.files import read_whole, write_whole
from hpcwise.media.renditions import scaled
from hpcwise.media.sound import (
    BLOCK,
    SAMPLE_RATE_HZ,
    Soundtrack,
    block_samples,
    blocks_known,
    blocks_total,
    encoder,
)
from hpcwise.media.timeline import Timeline
from hpcwise.media.video import Coded, codec_name, coded_of, open_input, timescale

_VIDEO, _AUDIO = 1, 2


@dataclass(frozen=True, slots=True)
class _Variant:
    """The film in one size. mark: in the names of its files, empty for the film's own size."""

    width: int
    height: int
    mark: str = ""

    @property
    def playlist(self) -> str:
        return f"index{self.mark}.m3u8"

    @property
    def init(self) -> str:
        return f"init{self.mark}.mp4"

    def segment(self, index: int) -> str:
        return f"seg{self.mark}-{index:05d}.m4s"

    def opened(self, timeline: Timeline, index: int) -> Any:
        """The coded video of a segment, open for reading; the smaller ones are made for it."""
        if not self.mark:
            return open_input(Path(timeline.segments[index].video))
        return av.open(io.BytesIO(scaled(timeline, index, (self.width, self.height))))

    def coded(self, timeline: Timeline, index: int, video: Any) -> Coded:
        name = f"{timeline.segments[index].video}{f' as {self.mark[1:]}' if self.mark else ''}"
        return coded_of(video, timeline, index, (self.width, self.height), name)


#: Names of the film's own files, which do not tell its size.
_OWN: Final = _Variant(0, 0)


def _variants(timeline: Timeline) -> tuple[_Variant, ...]:
    """The film's own size first."""
    smaller = (_Variant(width, height, f"-{width}x{height}") for width, height in timeline.renditions)
    return (_Variant(timeline.width, timeline.height), *smaller)


class PublishedFiles(msgspec.Struct, frozen=True, kw_only=True):
    """Where a live film lies. `listed`: segments that the playlist offers, counted from the first."""

    playlist: Path
    master: Path
    init: Path
    segment: Path
    listed: int
    subtitles: Path | None = None


def publish_segment(
    out_dir: Path, timeline: Timeline, index: int, captions: Sequence[Caption] | None = None
) -> PublishedFiles:
    """Write segment `index` to `out_dir`/live and list it, and all that lie behind it without a gap.

    timeline: the film up to `index` at least; what comes later changes nothing. Doing it twice, or an
    older segment once more after a crash, leaves the same files; a playlist never becomes shorter.
    captions: of the film as far as known, film times; None makes a film without a subtitle track.
    Raises UsageError for a bad index, StoreError for files that are missing or do not fit.
    """
    if not 0 <= index < len(timeline.segments):
        raise UsageError(f"publish: index is {index}: the timeline has {len(timeline.segments)} segments")
    live = out_dir / "live"
    ended = _ended_at(live)
    if ended is not None:
        if index >= ended or not (live / _OWN.segment(index)).exists():
            raise StoreError(f"{live}: the film ended after {ended} segments: publish to another directory")
        return _files(live, index, ended)
    sound = _sound(timeline, index)
    for variant in _variants(timeline):
        with variant.opened(timeline, index) as video:
            coded = variant.coded(timeline, index, video)
            _init(live / variant.init, timeline, variant, coded, None if index else video)
        write_whole(live / variant.segment(index), _segment(timeline, index, coded, sound))
    if captions is not None:
        write_whole(live / _subtitle_name(index), _subtitles(timeline, index, captions))
    return _files(live, index, _playlists(live, timeline, ended=False))


def finish_live(out_dir: Path, timeline: Timeline) -> PublishedFiles:
    """End the playlist. The files are then those of a timeline that was `complete` from the start.

    A last segment published before it was known to be the last is written again with the rest of its
    sound; who has fetched it by then misses at most 0.11 s. Raises StoreError when a segment of the
    timeline has not been published. Doing it twice is harmless.
    """
    live = out_dir / "live"
    count = len(timeline.segments)
    if not count:
        raise UsageError("finish: the timeline has no segments")
    for index in range(count):
        if not _there(live, timeline, index):
            raise StoreError(f"{live}: segment {index} is not published: publish it before the end")
    if _ended_at(live) is None:
        whole = msgspec.structs.replace(timeline, complete=True)
        sound = _sound(whole, count - 1)
        for variant in _variants(whole):
            with variant.opened(whole, count - 1) as video:
                data = _segment(whole, count - 1, variant.coded(whole, count - 1, video), sound)
            if read_whole(live / variant.segment(count - 1)) != data:
                write_whole(live / variant.segment(count - 1), data)
        _playlists(live, whole, ended=True)
    return _files(live, count - 1, count)


def _there(live: Path, timeline: Timeline, index: int) -> bool:
    return all((live / variant.segment(index)).exists() for variant in _variants(timeline))


def _subtitle_name(index: int) -> str:
    return f"subs-{index:05d}.vtt"


def _files(live: Path, index: int, listed: int) -> PublishedFiles:
    subtitles = live / "subs.m3u8"
    return PublishedFiles(
        playlist=live / "index.m3u8",
        master=live / "master.m3u8",
        init=live / "init.mp4",
        segment=live / _OWN.segment(index),
        listed=listed,
        subtitles=subtitles if subtitles.exists() else None,
    )


def _ended_at(live: Path) -> int | None:
    """How many segments the ended playlist lists; None while it may still grow."""
    playlist = live / "index.m3u8"
    if not playlist.exists():
        return None
    lines = read_whole(playlist).decode().splitlines()
    if lines[-1:] != ["#EXT-X-ENDLIST"]:
        return None
    return sum(line.startswith("seg-") for line in lines)


def _init(path: Path, timeline: Timeline, variant: _Variant, coded: Coded, first: Any) -> None:
    """Write an initialisation segment once; StoreError if `coded` needs another one. first: the film's first
    segment where it is open already."""
    if path.exists():
        if box(b"avcC", coded.avcc) not in read_whole(path):
            raise StoreError(
                f"{path}: a segment was encoded with another SPS or PPS: use one size, preset and crf "
                "(or x264's stitchable=1) for the whole film"
            )
        return
    # The template is the first segment: the muxer copies size, colours and configuration from it.
    if first is not None:
        header = _header(timeline, first)
    else:
        with variant.opened(timeline, 0) as video:
            header = _header(timeline, video)
    boxes = [box(kind, data) for kind, data in walk(header) if kind in (b"ftyp", b"moov")]
    if box(b"avcC", coded.avcc) not in boxes[-1]:
        name = timeline.segments[0].video
        raise StoreError(f"{name}: SPS or PPS differs from a later segment's: encode all alike")
    write_whole(path, b"".join(boxes))


def _header(timeline: Timeline, video: Any) -> bytes:
    buffer = io.BytesIO()
    options = {
        "movflags": "empty_moov+default_base_moof+frag_custom",
        "video_track_timescale": str(timescale(timeline.rate)[0]),
        "fflags": "+bitexact",
    }
    with av.open(buffer, "w", format="mp4", options=options) as output:
        output.add_stream_from_template(video.streams.video[0])
        sound = output.add_stream("aac", rate=SAMPLE_RATE_HZ, layout="stereo")
        sound.codec_context.options = dict(encoder().options)
        output.start_encoding()
        return buffer.getvalue()


def _sound(timeline: Timeline, index: int) -> Run:
    """What is heard in segment `index`."""
    last = timeline.complete and index + 1 == len(timeline.segments)
    first = blocks_known(timeline, index)
    stop = blocks_total(timeline) if last else blocks_known(timeline, index + 1)
    packets = Soundtrack(timeline).packets(first, stop)
    samples = [
        Sample(data, block_samples(timeline, block) if block + 1 == blocks_total(timeline) else BLOCK)
        for block, data in enumerate(packets, first)
    ]
    return Run(_AUDIO, first * BLOCK, samples)


def _segment(timeline: Timeline, index: int, coded: Coded, sound: Run) -> bytes:
    decode_ticks = timeline.first_frame(index) * timescale(timeline.rate)[1]
    return fragment(index + 1, [Run(_VIDEO, decode_ticks, coded.frames), sound])


def _subtitles(timeline: Timeline, index: int, captions: Sequence[Caption]) -> bytes:
    """The cues that touch segment `index`; one across a seam stands in both, as HLS wants it."""
    start_s, end_s = timeline.start_s(index), timeline.start_s(index + 1)
    cues = [cue for cue in captions if cue.start_s < end_s and cue.end_s > start_s]
    return vtt(cues, header="X-TIMESTAMP-MAP=MPEGTS:0,LOCAL:00:00:00.000\n").encode()


def _entry(duration_s: float, name: str) -> str:
    return f"#EXTINF:{duration_s:.6f},\n{name}\n"


def _playlists(live: Path, timeline: Timeline, *, ended: bool) -> int:
    """Write the playlists over what is there; returns how many segments they list."""
    count = 0
    while count < len(timeline.segments) and _there(live, timeline, count):
        count += 1
    lengths_s = [float(segment.frames / timeline.rate) for segment in timeline.segments[:count]]
    # The promised length may not change while the playlist grows. Players round to whole seconds.
    promised_s = max(1, int(timeline.longest_segment_s + 0.5))
    head = f"#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:{promised_s}\n#EXT-X-MEDIA-SEQUENCE:0\n"
    head += "#EXT-X-PLAYLIST-TYPE:EVENT\n#EXT-X-INDEPENDENT-SEGMENTS\n"
    end = "#EXT-X-ENDLIST\n" if ended else ""
    # Start at the first frame: a viewer who comes late has not seen the beginning.
    head_of_film = head + "#EXT-X-START:TIME-OFFSET=0,PRECISE=YES\n"
    subtitled = 0
    while subtitled < count and (live / _subtitle_name(subtitled)).exists():
        subtitled += 1
    if subtitled:
        body = "".join(_entry(lengths_s[index], _subtitle_name(index)) for index in range(subtitled))
        write_whole(live / "subs.m3u8", (head + body + end).encode())
    if count:
        write_whole(live / "master.m3u8", _master(live, timeline, lengths_s, subtitled > 0).encode())
    # The film's own last, since it is what makes the new segment visible.
    for variant in reversed(_variants(timeline)):
        body = "".join(_entry(length_s, variant.segment(index)) for index, length_s in enumerate(lengths_s))
        text = f'{head_of_film}#EXT-X-MAP:URI="{variant.init}"\n{body}{end}'
        write_whole(live / variant.playlist, text.encode())
    return count


def _master(live: Path, timeline: Timeline, lengths_s: Sequence[float], subtitled: bool) -> str:
    text = "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-INDEPENDENT-SEGMENTS\n"
    if subtitled:
        text += '#EXT-X-MEDIA:TYPE=SUBTITLES,GROUP-ID="subs",NAME="English",LANGUAGE="en",'
        text += 'DEFAULT=NO,AUTOSELECT=YES,FORCED=NO,URI="subs.m3u8"\n'
    for variant in _variants(timeline):
        bits = [8 * (live / variant.segment(index)).stat().st_size for index in range(len(lengths_s))]
        peak = max(round(size / length_s) for size, length_s in zip(bits, lengths_s, strict=True))
        with_codec = read_whole(live / variant.init)
        avcc = with_codec[with_codec.index(b"avcC") + 4 :]
        text += (
            f"#EXT-X-STREAM-INF:BANDWIDTH={peak},AVERAGE-BANDWIDTH={round(sum(bits) / sum(lengths_s))},"
            f'CODECS="{codec_name(avcc)},mp4a.40.2",RESOLUTION={variant.width}x{variant.height},'
            f"FRAME-RATE={float(timeline.rate):.3f}"
        )
        text += ',SUBTITLES="subs"' if subtitled else ""
        text += f"\n{variant.playlist}\n"
    return text
