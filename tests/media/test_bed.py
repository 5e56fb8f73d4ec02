"""Music under the film: where it is heard, how loud, that parts join, and what the whole film measures."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from hpcwise.core.errors import StoreError
from hpcwise.media.bed import PAUSE_S, RAISED_DB, RATE_HZ, Place, gain, music, pauses
from hpcwise.media.film import make_film
from hpcwise.media.hls import finish_live, publish_segment
from hpcwise.media.meter import loudness, loudness_of
from hpcwise.media.sound import Soundtrack, blocks_total
from hpcwise.media.timeline import Bed, Timeline

from .making import make_timeline, sine, tree, write_wav
from .test_hls import SHOTS, publish_all, sound_packets

PAD = Bed()


def db(ratio: float) -> float:
    return float(20 * np.log10(ratio))


def level_lufs(folder: Path, samples: np.ndarray) -> float:
    """By FFmpeg's meter, played on two channels as in a film."""
    mono = write_wav(folder / "level.wav", np.clip(samples, -1, 1), rate_hz=RATE_HZ)
    # The meter hears one channel of a mono file; two of them are 3 dB louder.
    found = loudness(Path(mono)).integrated_lufs + 10 * float(np.log10(2))
    assert found == pytest.approx(loudness_of(samples, RATE_HZ), abs=0.1)
    return found


@pytest.mark.parametrize("below_db", [12.0, 22.0])
def test_the_pad_is_as_far_below_the_speech_as_was_asked(tmp_path: Path, below_db: float) -> None:
    whole = music(Bed(level_db=below_db), 0, 36 * RATE_HZ)
    assert level_lufs(tmp_path, whole) == pytest.approx(-16 - below_db, abs=0.5)


def test_any_part_of_the_music_is_that_part_of_the_whole(tmp_path: Path) -> None:
    song = write_wav(tmp_path / "song.wav", sine(5.0, hz=300), rate_hz=24_000)
    for bed in (PAD, Bed(path=song)):
        whole = music(bed, 0, 40 * RATE_HZ)
        for first, end in ((0, 1), (RATE_HZ, 3 * RATE_HZ), (17 * RATE_HZ - 5, 40 * RATE_HZ)):
            assert np.array_equal(music(bed, first, end), whole[first:end])


def test_the_music_never_jumps_where_a_chord_or_the_file_begins_again(tmp_path: Path) -> None:
    song = write_wav(tmp_path / "song.wav", sine(5.0, hz=300), rate_hz=24_000)
    for bed in (PAD, Bed(path=song)):
        steps = np.abs(np.diff(music(bed, 0, 80 * RATE_HZ)))
        assert steps.max() < 6 * np.quantile(steps, 0.9)


def test_a_persons_own_music_is_brought_to_the_level_however_loud_it_was(tmp_path: Path) -> None:
    for amplitude in (0.02, 0.9):
        song = write_wav(tmp_path / f"{amplitude}.wav", amplitude * 2 * sine(6.0, hz=500), rate_hz=24_000)
        heard = music(Bed(path=song, level_db=20), 0, 20 * RATE_HZ)
        assert level_lufs(tmp_path, heard) == pytest.approx(-36, abs=1.2)


def test_music_that_cannot_be_played_is_named(tmp_path: Path) -> None:
    torn = tmp_path / "torn.mp3"
    torn.write_bytes(b"no music")
    silent = write_wav(tmp_path / "silent.wav", np.zeros(48_000))
    with pytest.raises(StoreError, match=r"torn.mp3: not a media file"):
        music(Bed(path=str(torn)), 0, 100)
    with pytest.raises(StoreError, match=r"silent.wav: is silent: name another file as music"):
        music(Bed(path=silent), 0, 100)


def test_the_music_comes_up_in_long_pauses_only_and_is_down_at_every_seam() -> None:
    rate_hz, spoken = 24_000, sine(2.0)
    pcm = np.concatenate([np.zeros(9600), spoken, np.zeros(96_000), spoken, np.zeros(12_000)])
    pcm = pcm.astype(np.float32)
    length_s = pcm.size / rate_hz
    assert pauses(pcm, rate_hz, length_s) == [pytest.approx((2.4, 6.4), abs=0.021)]
    place = Place(start=10 * RATE_HZ, length=round(length_s * RATE_HZ))
    heard = gain(pcm, rate_hz, place, place.start, place.start + place.length)
    found = [db(float(heard[round(at_s * RATE_HZ)])) for at_s in (0.0, 1.0, 4.4, 7.0, length_s - 0.01)]
    assert found == pytest.approx([0, 0, RAISED_DB, 0, 0], abs=0.01)
    assert np.abs(np.diff(heard)).max() < 1e-3
    short = np.concatenate([spoken, np.zeros(round((PAUSE_S - 0.1) * rate_hz)), spoken])
    assert pauses(short.astype(np.float32), rate_hz, short.size / rate_hz) == []


def test_the_film_fades_in_and_out_with_its_music() -> None:
    pcm = sine(6.0).astype(np.float32)
    whole = Place(start=0, length=6 * RATE_HZ, closes=True)
    heard = gain(pcm, 24_000, whole, 0, 6 * RATE_HZ)
    assert heard[0] == 0 and heard[-1] < 1e-3
    assert heard[3 * RATE_HZ] == 1
    later = msgspec.structs.replace(whole, start=RATE_HZ, closes=False)
    assert gain(pcm, 24_000, later, RATE_HZ, 7 * RATE_HZ).min() == 1


@pytest.mark.parametrize("own", [False, True])
def test_with_music_the_sound_published_in_parts_is_one_continuous_encode(tmp_path: Path, own: bool) -> None:
    path = write_wav(tmp_path / "song.wav", sine(4.5, hz=250)) if own else ""
    bed = Bed(path=path, level_db=6)
    timeline = make_timeline(tmp_path, SHOTS, bed=bed, last_shot=len(SHOTS) - 1)
    # A head learns which shot is the last with that shot's scene, after earlier ones were published.
    first = msgspec.structs.replace(timeline, last_shot=-1)
    out = tmp_path / "out"
    for count in range(1, len(timeline.segments) + 1):
        known = first if timeline.segments[count - 1].shot < len(SHOTS) - 1 else timeline
        publish_segment(out, msgspec.structs.replace(known, segments=timeline.segments[:count]), count - 1)
    finish_live(out, timeline)
    whole = list(Soundtrack(timeline).packets(0, blocks_total(timeline)))
    assert sound_packets(out / "live") == whole
    # Once more, as after a crash: the same bytes.
    before = tree(out / "live")
    publish_all(tmp_path / "again", timeline)
    assert tree(tmp_path / "again" / "live") == before


def test_a_film_of_levelled_speech_with_music_measures_what_was_promised(tmp_path: Path) -> None:
    timeline = _speechlike(tmp_path)
    film = make_film(tmp_path / "out", timeline)
    heard = loudness(film.film)
    assert heard.integrated_lufs == pytest.approx(-16.0, abs=0.5)
    assert heard.true_peak_dbtp <= -1.0


def _speechlike(folder: Path) -> Timeline:
    """Shots whose sound has the ups and downs of speech and was levelled as the voices are."""
    from hpcwise.models.kokoro.loudness import TARGET_LUFS, limited, loudness_lufs

    timeline = make_timeline(folder, [[84, 84], [84, 60]], bed=PAD, last_shot=1)
    for shot in (0, 1):
        path = Path(timeline.segments[2 * shot].audio)
        at_s = np.arange(24_000 * (7 - shot)) / 24_000
        turns = np.cumsum(115 * (1 + 0.1 * np.sin(2 * np.pi * 1.3 * at_s))) / 24_000
        tones = np.stack([np.sin(2 * np.pi * h * turns + h * h) / h for h in range(1, 30)])
        breath = 0.2 * np.random.default_rng(shot).standard_normal(at_s.size)
        syllables = np.clip(np.sin(2 * np.pi * 2.1 * at_s) + 0.4, 0, 1)
        voice = ((tones.sum(axis=0) + breath) * syllables).astype(np.float32)
        at = 10 ** ((TARGET_LUFS - loudness_lufs(voice, 24_000)) / 20)
        write_wav(path, limited(voice, at))
    return timeline
