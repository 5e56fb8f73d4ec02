"""The live film: fMP4 HLS (RFC 8216bis) whose playlist grows while shots are still being made.

Nothing is kept between calls, in memory or on disk beside the outputs themselves: each call works from
the timeline. So a head that was killed publishes the last segment again and gets the same bytes.

The sound of a segment ends up to 0.1 s before its picture: the packets across the seam need samples of
what comes next, and travel with it. Decode times are absolute, so players put them where they belong.
The last segment of a `complete` timeline holds all. (A closing segment of sound alone would be simpler
for a head, but stalls hls.js.)
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import av
import msgspec

from hpcwise.core.errors import StoreError, UsageError
from hpcwise.media.boxes import Run, Sample, box, fragment, walk
from hpcwise.media.captions import Caption, vtt
from hpcwise.media.files import read_whole, write_whole
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
from hpcwise.media.video import Coded, codec_name, open_input, read_segment, timescale

_VIDEO, _AUDIO = 1, 2


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
        if index >= ended or not (live / _name(index)).exists():
            raise StoreError(f"{live}: the film ended after {ended} segments: publish to another directory")
        return _files(live, index, ended)
    coded = read_segment(timeline, index)
    _init(live, timeline, coded)
    write_whole(live / _name(index), _segment(timeline, index, coded))
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
        if not (live / _name(index)).exists():
            raise StoreError(f"{live}: segment {index} is not published: publish it before the end")
    if _ended_at(live) is None:
        whole = msgspec.structs.replace(timeline, complete=True)
        data = _segment(whole, count - 1, read_segment(whole, count - 1))
        if read_whole(live / _name(count - 1)) != data:
            write_whole(live / _name(count - 1), data)
        _playlists(live, whole, ended=True)
    return _files(live, count - 1, count)


def _name(index: int) -> str:
    return f"seg-{index:05d}.m4s"


def _subtitle_name(index: int) -> str:
    return f"subs-{index:05d}.vtt"


def _files(live: Path, index: int, listed: int) -> PublishedFiles:
    subtitles = live / "subs.m3u8"
    return PublishedFiles(
        playlist=live / "index.m3u8",
        master=live / "master.m3u8",
        init=live / "init.mp4",
        segment=live / _name(index),
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


def _init(live: Path, timeline: Timeline, coded: Coded) -> None:
    """Write the initialisation segment once; StoreError if `coded` needs another one."""
    path = live / "init.mp4"
    if path.exists():
        if box(b"avcC", coded.avcc) not in read_whole(path):
            raise StoreError(
                f"{path}: a segment was encoded with another SPS or PPS: use one size, preset and crf "
                "(or x264's stitchable=1) for the whole film"
            )
        return
    buffer = io.BytesIO()
    options = {
        "movflags": "empty_moov+default_base_moof+frag_custom",
        "video_track_timescale": str(timescale(timeline.rate)[0]),
        "fflags": "+bitexact",
    }
    # The template is the first segment: the muxer copies size, colours and configuration from it.
    first = Path(timeline.segments[0].video)
    with open_input(first) as source, av.open(buffer, "w", format="mp4", options=options) as output:
        output.add_stream_from_template(source.streams.video[0])
        sound = output.add_stream("aac", rate=SAMPLE_RATE_HZ, layout="stereo")
        sound.codec_context.options = dict(encoder().options)
        output.start_encoding()
        header = buffer.getvalue()
    boxes = [box(kind, data) for kind, data in walk(header) if kind in (b"ftyp", b"moov")]
    if box(b"avcC", coded.avcc) not in boxes[-1]:
        raise StoreError(f"{first}: SPS or PPS differs from a later segment's: encode all alike")
    write_whole(path, b"".join(boxes))


def _sound(timeline: Timeline, first: int, stop: int) -> Run:
    packets = Soundtrack(timeline).packets(first, stop)
    samples = [
        Sample(data, block_samples(timeline, block) if block + 1 == blocks_total(timeline) else BLOCK)
        for block, data in enumerate(packets, first)
    ]
    return Run(_AUDIO, first * BLOCK, samples)


def _segment(timeline: Timeline, index: int, coded: Coded) -> bytes:
    decode_ticks = timeline.first_frame(index) * timescale(timeline.rate)[1]
    last = timeline.complete and index + 1 == len(timeline.segments)
    stop = blocks_total(timeline) if last else blocks_known(timeline, index + 1)
    sound = _sound(timeline, blocks_known(timeline, index), stop)
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
    while count < len(timeline.segments) and (live / _name(count)).exists():
        count += 1
    lengths_s = [float(segment.frames / timeline.rate) for segment in timeline.segments[:count]]
    # The promised length may not change while the playlist grows. Players round to whole seconds.
    promised_s = max(1, int(timeline.longest_segment_s + 0.5))
    head = f"#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:{promised_s}\n#EXT-X-MEDIA-SEQUENCE:0\n"
    head += "#EXT-X-PLAYLIST-TYPE:EVENT\n#EXT-X-INDEPENDENT-SEGMENTS\n"
    end = "#EXT-X-ENDLIST\n" if ended else ""
    # Start at the first frame: a viewer who comes late has not seen the beginning.
    main = head + '#EXT-X-START:TIME-OFFSET=0,PRECISE=YES\n#EXT-X-MAP:URI="init.mp4"\n'
    main += "".join(_entry(length_s, _name(index)) for index, length_s in enumerate(lengths_s))
    subtitled = 0
    while subtitled < count and (live / _subtitle_name(subtitled)).exists():
        subtitled += 1
    if subtitled:
        body = "".join(_entry(lengths_s[index], _subtitle_name(index)) for index in range(subtitled))
        write_whole(live / "subs.m3u8", (head + body + end).encode())
    if count:
        write_whole(live / "master.m3u8", _master(live, timeline, lengths_s, subtitled > 0).encode())
    # Last, since it is what makes the new segment visible.
    write_whole(live / "index.m3u8", (main + end).encode())
    return count


def _master(live: Path, timeline: Timeline, lengths_s: Sequence[float], subtitled: bool) -> str:
    bits = [8 * (live / _name(index)).stat().st_size for index in range(len(lengths_s))]
    peak = max(round(size / length_s) for size, length_s in zip(bits, lengths_s, strict=True))
    with_codec = read_whole(live / "init.mp4")
    avcc = with_codec[with_codec.index(b"avcC") + 4 :]
    stream = (
        f"#EXT-X-STREAM-INF:BANDWIDTH={peak},AVERAGE-BANDWIDTH={round(sum(bits) / sum(lengths_s))},"
        f'CODECS="{codec_name(avcc)},mp4a.40.2",RESOLUTION={timeline.width}x{timeline.height},'
        f"FRAME-RATE={float(timeline.rate):.3f}"
    )
    text = "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-INDEPENDENT-SEGMENTS\n"
    if subtitled:
        text += '#EXT-X-MEDIA:TYPE=SUBTITLES,GROUP-ID="subs",NAME="English",LANGUAGE="en",'
        text += 'DEFAULT=NO,AUTOSELECT=YES,FORCED=NO,URI="subs.m3u8"\n'
        stream += ',SUBTITLES="subs"'
    return f"{text}{stream}\nindex.m3u8\n"
