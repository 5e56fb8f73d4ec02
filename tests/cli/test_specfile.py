"""Job specs: what is usable, and the one line that answers each mistake."""

# ruff: noqa: E501 - exact lines of output

from __future__ import annotations

import hashlib
from datetime import datetime
from pathlib import Path
from typing import get_args
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hpcwise.cli import specread
from hpcwise.cli.specfields import FIELDS
from hpcwise.cli.specfile import Overrides, load_document, load_job, load_spec, looks_like_spec
from hpcwise.core.errors import HpcwiseError, SpecError, UsageError
from hpcwise.core.screenplay import Character
from hpcwise.core.spec import Batch, By, GraphTask, JobSpec, Live, Music, Output
from hpcwise.core.workflow import Edge
from hpcwise.head.settings import find_configs, read_models
from hpcwise.models.drawn.looks import LOOKS
from hpcwise.models.screenplay import adapter as screenplay
from tests.cli.making import paper

NOW = datetime(2026, 11, 20, 7, 0, tzinfo=ZoneInfo("UTC")).timestamp()


def spec(folder: Path, text: str) -> Path:
    paper(folder)
    path = folder / "job.yaml"
    path.write_text(text, "utf-8")
    return path


def errors(folder: Path, text: str) -> list[str]:
    """Lines of the error, without the folder."""
    path = spec(folder, text)
    with pytest.raises(SpecError) as caught:
        load_spec(path, NOW)
    return [line.removeprefix(f"{path.parent}/") for line in str(caught.value).splitlines()]


def test_a_spec_with_every_field_becomes_exactly_that_job(tmp_path: Path) -> None:
    path = spec(tmp_path, """
workflow: podcast
input: mills.md
name: Tide mills
cast:
  - {id: ada, name: Ada, role: host, voice: bf_emma, look: ada}
  - {id: ken, name: Ken, role: expert, voice: bm_george, look: ken, pace: 0.9}
set: lecture
show: Water
duration: 1m30s
aspect: 16:9
resolution: 854x480
fps: 25
quality: [high, static]
fixed_ladder: true
slo:
  by: "08:00"
  zone: Europe/Madrid
  date: 2026-11-21
budget: 5 usd
seed: 42
outputs: [mp4, receipt]
subtitles: [vtt]
models: {speech: fallback-voice}
music: {level: 30}
""")  # fmt: skip
    assert load_spec(path, NOW) == JobSpec(
        music=Music(level_db=30.0),
        name="Tide mills",
        input_path=str(tmp_path / "mills.md"),
        input_sha256=hashlib.sha256((tmp_path / "mills.md").read_bytes()).hexdigest(),
        cast=(
            Character(id="ada", name="Ada", role="host", voice="bf_emma", look="ada"),
            Character(id="ken", name="Ken", role="expert", voice="bm_george", look="ken", pace=0.9),
        ),
        set_name="lecture",
        show="Water",
        duration_s=90.0,
        width=854,
        height=480,
        fps=25,
        ladder=("high", "static"),
        fixed_ladder=True,
        slo=By(
            wall_s=datetime(2026, 11, 21, 8, 0, tzinfo=ZoneInfo("Europe/Madrid")).timestamp(),
            text="2026-11-21 08:00",
            zone="Europe/Madrid",
        ),
        budget_usd=5.0,
        seed=42,
        outputs=("mp4", "receipt"),
        subtitles=("vtt",),
        models={"speech": "fallback-voice"},
    )


def test_a_live_film_may_be_offered_smaller_too(tmp_path: Path) -> None:
    path = spec(tmp_path, "input: mills.md\nrenditions: [480x300, 320x200]\n")
    assert load_spec(path, NOW).renditions == ((480, 300), (320, 200))
    assert load_spec(spec(tmp_path, "input: mills.md\n"), NOW).renditions == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[big]", "[0]: 'big' is not usable; write width x height in pixels, such as 640x400"),
        ("[321x200]", "[0]: '321x200' is not usable; choose even sides of 64 or more"),
        ("[640x400]", "[0]: '640x400' is not usable; choose one smaller than 640x400, which is there already; "
                      "largest first"),
        ("[320x200, 480x300]", "[1]: '480x300' is not usable; choose one smaller than 320x200, which is there "
                               "already; largest first"),
        ("[320x180]", "[0]: '320x180' is not usable; it has another shape than the film; choose 320x200"),
        ("[320x200]\noutputs: [mp4]", ": ['320x200'] is not usable; they are of the live film; add hls to outputs"),
        ("[560x350, 480x300, 400x250, 320x200, 160x100]",
         ": ['560x350', '480x300', '400x250', '320x200', '160x100'] is not usable; choose 4 at most"),
    ],
)  # fmt: skip
def test_a_size_that_cannot_be_offered_is_named_with_the_fix(tmp_path: Path, text: str, said: str) -> None:
    assert errors(tmp_path, f"input: mills.md\nrenditions: {text}\n") == [f"job.yaml:2: renditions{said}"]


@pytest.mark.parametrize(
    ("aspect", "size"),
    [("16:9", (640, 360)), ("16:10", (640, 400)), ("1:1", (640, 640)), ("9:16", (360, 640))],
)
def test_an_aspect_alone_chooses_the_size(tmp_path: Path, aspect: str, size: tuple[int, int]) -> None:
    job = load_spec(spec(tmp_path, f'input: mills.md\naspect: "{aspect}"\n'), NOW)
    assert (job.width, job.height) == size


def test_frames_a_second_may_be_a_fraction_and_are_whole_where_they_are(tmp_path: Path) -> None:
    for written, fps in (
        ("12", "12"),
        ("24.0", "24"),
        ("23.976", "23.976"),
        ("59.94", "59.94"),
        ("60", "60"),
    ):
        job = load_spec(spec(tmp_path, f"input: mills.md\nfps: {written}\n"), NOW)
        assert repr(job.fps) == fps


def test_a_document_alone_is_filmed_live_with_two_speakers(tmp_path: Path) -> None:
    job = load_document(paper(tmp_path), NOW).job
    assert (job.slo, job.cast, job.width, job.height) == (Live(), specread.DEFAULT_CAST, 640, 400)
    assert load_document(paper(tmp_path), NOW, Overrides(batch=True)).job.slo == Batch()


def test_a_graph_becomes_tasks_with_edges(tmp_path: Path) -> None:
    path = spec(tmp_path, """
workflow: graph
graph:
  - {name: a, stage: emulated, model: emulated, params: {seconds: 0.5}, features: {seconds: 0.5}}
  - {name: b, stage: emulated, model: emulated, inputs: [a, {name: rest, source: a, kind: stream}], deadline: 2m}
""")  # fmt: skip
    assert load_spec(path, NOW).graph == (
        GraphTask(
            name="a", stage="emulated", model="emulated", params={"seconds": 0.5}, features={"seconds": 0.5}
        ),
        GraphTask(
            name="b", stage="emulated", model="emulated", inputs=(Edge("a", "a"), Edge("rest", "a", "stream")),
            deadline_s=120.0,
        ),
    )  # fmt: skip


BAD: list[tuple[str, list[str]]] = [
    ("input: mills.md\nfps: 0\n", ["job.yaml:2: fps: 0 is not usable; choose 1 to 60"]),
    ("input: mills.md\nfps: '24'\n", ["job.yaml:2: fps: '24' is not usable; choose 1 to 60"]),
    ("input: mills.md\nfps: true\n", ["job.yaml:2: fps: true is not usable; choose 1 to 60"]),
    ("input: mills.md\nresolution: 641x400\n",
     ["job.yaml:2: resolution: '641x400' is not usable; choose an even width from 128 to 3840"]),
    ("input: mills.md\nresolution: 640x399\n",
     ["job.yaml:2: resolution: '640x399' is not usable; choose an even height from 128 to 2160"]),
    ("input: mills.md\naspect: 1:1\nresolution: 640x400\n",
     ["job.yaml:3: resolution: '640x400' is not usable; its aspect is not 1:1; choose 640x640"]),
    ("input: mills.md\naspect: 16:0\n",
     ["job.yaml:2: aspect: '16:0' is not usable; write an aspect ratio such as 16:10, 16:9 or 1:1"]),
    ("input: mills.md\nduration: 10h\n", ["job.yaml:2: duration: '10h' is not usable; choose 20s to 1h"]),
    ("input: mills.md\nduration: soon\n",
     ["job.yaml:2: duration: 'soon' is not usable; write 90s, 10m or 1h30m"]),
    ("input: mills.md\nduration: .inf\n",
     ["job.yaml:2: duration: '.inf' is not usable; write 90s, 10m or 1h30m"]),
    ("input: mills.md\nduration: 1e999\n",
     ["job.yaml:2: duration: 1e999 is not usable; write 90s, 10m or 1h30m"]),
    ("input: mills.md\nslo:\n  by: 2026-11-19T08:00\n  zone: UTC\n",
     ["job.yaml:3: slo.by: '2026-11-19T08:00' is not usable; it is past since 23 h; choose a later time"]),
    ("input: mills.md\nslo:\n  by: \"08:00\"\n  zone: Europe/Madird\n",
     ["job.yaml:4: slo.zone: 'Europe/Madird' is not usable; name a time zone such as Europe/Madrid"]),
    ("input: mills.md\nslo:\n  by: \"25:00\"\n",
     ["job.yaml:3: slo.by: '25:00' is not usable; choose a time from 00:00 to 23:59"]),
    ("input: mills.md\nslo:\n  by: \"02:30\"\n  zone: Europe/Madrid\n  date: 2027-03-28\n",
     ["job.yaml:3: slo.by: '02:30' is not usable; the clocks skip that time on 2027-03-28; choose 03:30"]),
    ("input: mills.md\nslo: {live: {ttff: 5s}, by: '08:00'}\n",
     ["job.yaml:2: slo: {'live': {'ttff': '5s'}, 'by': '08:00'} is not usable; has live and by; keep one"]),
    ("input: mills.md\nslo: {}\n", ["job.yaml:2: slo: {} is not usable; state live, by or batch"]),
    ("input: mills.md\nslo: later\n",
     ["job.yaml:2: slo: 'later' is not usable; write live, batch, or by: \"08:00\""]),
    ("input: mills.md\nslo: {live: {ttff: 0}}\n",
     ["job.yaml:2: slo.live.ttff: 0 is not usable; choose 0.1s to 1h"]),
    ("input: mills.md\nslo: {batch: , zone: UTC}\n",
     ["job.yaml:2: slo.zone: 'UTC' is not usable; belongs to `by`, not to batch; remove it"]),
    ("input: nothing.pdf\n", ["job.yaml:1: input: 'nothing.pdf' is not usable; there is no such file; check the path"]),
    ("input: ~root/x.pdf\n",
     ["job.yaml:1: input: '~root/x.pdf' is not usable; write the path in full; only ~/ is understood"]),
    ("input: \"a\\u0000.pdf\"\n",
     ["job.yaml:1: input: 'a\\x00.pdf' is not usable; write one line of 1 to 4096 printable characters"]),
    ("input: \"a\\nb.pdf\"\n",
     ["job.yaml:1: input: 'a\\nb.pdf' is not usable; write one line of 1 to 4096 printable characters"]),
    ("input: /etc/passwd\n",
     ["job.yaml:1: input: '/etc/passwd' is not usable; name a file of type .pdf, .pptx, .md, .markdown, .html, .htm, .epub, .txt, .text"]),
    ("fps: 24\n", ["job.yaml:1: input: is missing; name a document"]),
    ("input: mills.md\nframerate: 24\n", ["job.yaml:2: framerate: there is no such field; did you mean fps?"]),
    ("input: mills.md\ndurtion: 90s\n", ["job.yaml:2: durtion: there is no such field; did you mean duration?"]),
    ("input: mills.md\nfps: 24\nfps: 25\n", ["job.yaml:3: 'fps' is given twice; keep one (line 2)"]),
    ("input: mills.md\nquality: [low, high]\n",
     ["job.yaml:2: quality: ['low', 'high'] is not usable; order from best to worst, each once"]),
    ("input: mills.md\nquality: [hihg]\n", ["job.yaml:2: quality[0]: 'hihg' is not usable; did you mean high?"]),
    ("input: mills.md\nquality: []\n",
     ["job.yaml:2: quality: [] is not usable; choose from high, medium, low, static"]),
    ("input: mills.md\noutputs:\n  - mp4\n  - mp4\n", ["job.yaml:4: outputs[1]: 'mp4' is not usable; name it once"]),
    ("input: mills.md\nbudget: -1\n", ["job.yaml:2: budget: -1 is not usable; write dollars such as 5 usd"]),
    ("input: mills.md\nbudget: 0\n", ["job.yaml:2: budget: 0 is not usable; choose more than 0 dollars"]),
    ("input: mills.md\nseed: -1\n",
     ["job.yaml:2: seed: -1 is not usable; choose 0 to 9223372036854775807"]),
    ("input: mills.md\nset: studoi\n", ["job.yaml:2: set: 'studoi' is not usable; did you mean studio?"]),
    ("input: mills.md\ncast:\n  - {id: a}\n",
     ["job.yaml:3: cast: [{'id': 'a'}] is not usable; name two to 4 speakers, a host and an expert first"]),
    ("input: mills.md\ncast:\n  - {id: a}\n  - {id: a}\n",
     ["job.yaml:4: cast[1].id: 'a' is not usable; give every speaker an id of their own"]),
    ("input: mills.md\ncast:\n  - {id: a, voice: af_hart}\n  - {id: b}\n",
     ["job.yaml:3: cast[0].voice: 'af_hart' is not usable; did you mean af_heart?"]),
    ("input: mills.md\ncast:\n  - {id: a, pace: 3}\n  - {id: b}\n",
     ["job.yaml:3: cast[0].pace: 3 is not usable; choose 0.7 (slow) to 1.4 (fast)"]),
    ("input: mills.md\ncast:\n  - {id: a}\n  - {name: B}\n", ["job.yaml:3: cast[1].id: is missing; add it"]),
    ("input: mills.md\nname: \"bad\\u0007bell\"\n",
     ["job.yaml:2: name: 'bad\\x07bell' is not usable; write one line of 1 to 120 printable characters"]),
    ("input: mills.md\nname: bad\x07bell\n", ["job.yaml:2: holds a control character; remove it"]),
    ("a: &x [1]\nb: *x\n", ["job.yaml:2: aliases (*name) are not usable; write the value out"]),
    ("input: !!python/object:os.system mills.md\n",
     ["job.yaml:1: the tag 'tag:yaml.org,2002:python/object:os.system' is not usable; write plain values"]),
    ("input: [mills.md\n",
     ["job.yaml:2: is not YAML (expected ',' or ']', but got '<stream end>'); check indentation and quotes"]),
    ("[" * 40 + "]" * 40, ["job.yaml:1: is nested too deeply or too long; a job spec is a short file"]),
    ("input: mills.md\n---\ninput: mills.md\n", ["job.yaml:2: a second document starts here; one job a file"]),
    ("- input: mills.md\n", ["job.yaml:1: is no map of fields; write `input: paper.pdf`"]),
    ("", ["job.yaml:1: is empty; write at least `input: paper.pdf`"]),
    ("input: mills.md\nmodels: {speech: ../../x}\n",
     ["job.yaml:2: models.speech: '../../x' is not usable; name a model of `hpcwise models ls`"]),
    ("workflow: graph\n", ["job.yaml:1: graph: is missing; list at least one task"]),
    ("workflow: graph\nfps: 3\ngraph:\n  - {name: a, stage: s, model: m}\n",
     ["job.yaml:2: fps: 3 is not usable; it belongs to the podcast workflow; remove it"]),
    ("workflow: graph\ngraph:\n  - {name: a, stage: s, model: m, inputs: [b]}\n",
     ["job.yaml:3: graph[0].inputs[0]: 'b' is not usable; name one of a"]),
    ("workflow: graph\ngraph:\n  - {name: a, stage: s, model: m, inputs: [b]}\n"
     "  - {name: b, stage: s, model: m, inputs: [a]}\n",
     ["job.yaml:3: graph: [{'name': 'a', 'stage': 's', 'model': 'm', 'inputs': ['b']}… is not usable; "
      "break the cycle that this task is part of"]),
    ("input: mills.md\nfps: 0\nseed: -3\nset: x\n",
     ["job.yaml:2: fps: 0 is not usable; choose 1 to 60",
      "job.yaml:3: seed: -3 is not usable; choose 0 to 9223372036854775807",
      "job.yaml:4: set: 'x' is not usable; choose from studio, lecture, street, newsroom"]),
]  # fmt: skip


@pytest.mark.parametrize(("text", "lines"), BAD)
def test_a_mistake_is_answered_with_file_line_field_value_and_fix(
    tmp_path: Path, text: str, lines: list[str]
) -> None:
    assert errors(tmp_path, text) == lines


def test_documents_that_cannot_be_read_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    cases = {
        "empty.pdf": (b"", "the file is empty; name one with something in it"),
        "none.pdf": (b"hello", "it is named .pdf but is no PDF; export it again as PDF"),
        "cut.pdf": (b"%PDF-1.7\nrubbish", "it is not a readable PDF (damaged or cut off); export it again"),
        "zip.txt": (b"PK\0\0", "it holds binary data, no text; name a document of the type it says"),
    }
    found = {}
    for name, (data, _) in cases.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(UsageError) as caught:
            load_document(tmp_path / name, NOW)
        found[name] = str(caught.value)
    assert found == {name: f"{tmp_path / name}: {fix}" for name, (_, fix) in cases.items()}


def test_an_encrypted_document_is_named_as_such(tmp_path: Path) -> None:
    path = tmp_path / "locked.pdf"
    path.write_bytes(ENCRYPTED)
    with pytest.raises(UsageError, match="it is encrypted; save it without a password"):
        load_document(path, NOW)


def _encrypted() -> bytes:
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 9 9] >>",
        b"<< /Filter /Standard /V 1 /R 2 /P -4 /O <" + b"11" * 32 + b"> /U <" + b"22" * 32 + b"> >>",
    ]
    data, offsets = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, 1):
        offsets.append(len(data))
        data += b"%d 0 obj\n%b\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    start = len(data)
    ident = b"33" * 16
    return (
        data + b"xref\n0 5\n0000000000 65535 f \n" + table
        + b"trailer << /Size 5 /Root 1 0 R /Encrypt 4 0 R /ID [<%b> <%b>] >>\nstartxref\n%d\n%%%%EOF\n"
        % (ident, ident, start)
    )  # fmt: skip


ENCRYPTED = _encrypted()


def test_a_huge_spec_is_refused_unread(tmp_path: Path) -> None:
    assert errors(tmp_path, "# " + "x" * (300 << 10)) == [
        "job.yaml: is larger than 256 KiB; a job spec is a short file"
    ]


# --- deadlines ------------------------------------------------------------------------------------------


def by(folder: Path, text: str, now_s: float = NOW) -> datetime:
    slo = load_spec(spec(folder, f"input: mills.md\nslo:\n{text}"), now_s).slo
    assert isinstance(slo, By)
    return datetime.fromtimestamp(slo.wall_s, ZoneInfo("UTC"))


def test_a_time_of_day_is_its_next_occurrence_in_its_zone(tmp_path: Path) -> None:
    utc = ZoneInfo("UTC")
    # It is 08:00 in Madrid and 07:00 in London.
    assert by(tmp_path, "  by: '08:30'\n  zone: Europe/Madrid\n") == datetime(2026, 11, 20, 7, 30, tzinfo=utc)
    assert by(tmp_path, "  by: '08:00'\n  zone: Europe/Madrid\n") == datetime(2026, 11, 21, 7, 0, tzinfo=utc)
    assert by(tmp_path, "  by: 2026-11-20T09:00+01:00\n") == datetime(2026, 11, 20, 8, 0, tzinfo=utc)


def test_a_time_that_the_clocks_skip_falls_on_their_change(tmp_path: Path) -> None:
    night = datetime(2027, 3, 27, 23, 0, tzinfo=ZoneInfo("UTC"))
    moment = by(tmp_path, "  by: '02:30'\n  zone: Europe/Madrid\n", night.timestamp())
    assert moment == datetime(2027, 3, 28, 1, 0, tzinfo=ZoneInfo("UTC"))


def test_of_a_time_that_comes_twice_the_earlier_is_the_deadline(tmp_path: Path) -> None:
    night = datetime(2026, 10, 24, 22, 0, tzinfo=ZoneInfo("UTC"))
    moment = by(tmp_path, "  by: '02:30'\n  zone: Europe/Madrid\n", night.timestamp())
    assert moment == datetime(2026, 10, 25, 0, 30, tzinfo=ZoneInfo("UTC"))


def test_the_command_line_replaces_the_deadline_of_the_file(tmp_path: Path) -> None:
    path = spec(tmp_path, "input: mills.md\nslo: batch\n")
    assert load_spec(path, NOW, Overrides(live=True, ttff="7s")).slo == Live(ttff_s=7.0)
    within = load_spec(path, NOW, Overrides(within="90m")).slo
    assert isinstance(within, By)
    assert within.wall_s == NOW + 5400
    for overrides, error in (
        (Overrides(live=True, by="08:00"), "--live and --by: choose one of them"),
        (Overrides(within="-3m"), "--in: '-3m' is not usable; write 90s, 10m or 1h30m"),
        (Overrides(by="8"), "--by: '8' is not usable; write \"08:00\", or 2026-11-21T08:00"),
        (Overrides(by="08:00", ttff="3s"), "--ttff: belongs to --live, not to --by; leave it out"),
        (Overrides(fps=0), "--fps: '0' is not usable; choose 1 to 60"),
    ):
        with pytest.raises(UsageError) as caught:
            load_spec(path, NOW, overrides)
        assert str(caught.value) in (error, error.replace("'0'", "0"))


# --- identity -------------------------------------------------------------------------------------------


def test_the_same_job_has_one_digest_wherever_it_lies_and_whenever_it_is_asked_for(tmp_path: Path) -> None:
    text = "input: mills.md\nslo: {by: '08:00', zone: UTC}\n"
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    one = load_job(spec(here, text), NOW)
    other = load_job(spec(there, "# the same\n" + text), NOW + 50_000)
    assert one.job.slo != other.job.slo
    assert one.digest == other.digest
    seeded = load_job(spec(here, text + "seed: 2\n"), NOW)
    (there / "mills.md").write_text("# Another text\n")
    changed = load_job(there / "job.yaml", NOW)
    assert len({one.digest, seeded.digest, changed.digest}) == 3


# --- what the loader knows of the models -------------------------------------------------------------------


def test_the_words_of_a_spec_are_those_of_the_models() -> None:
    from hpcwise.models.drawn.places import PLACES

    card = (find_configs() / "models" / "kokoro-82m.yaml").read_text("utf-8")
    assert {f"{voice}.bin" for voice in specread.VOICES} == {
        word.strip(",") for word in card.replace(": ", " ").split() if word.endswith(".bin,")
    }
    assert set(specread.LOOKS) == set(LOOKS)
    assert set(specread.SETS) == set(PLACES)
    assert get_args(Output) == specread.OUTPUTS
    assert specread.LEAST_S == screenplay._LEAST_S
    assert {
        stage for info in read_models(find_configs() / "models").values() for stage in info.stages
    } >= set(specread.STAGES)


def test_what_is_neither_a_spec_nor_a_document_is_told_by_its_name() -> None:
    assert looks_like_spec(Path("a.YAML"))
    assert not looks_like_spec(Path("a.pdf"))
    with pytest.raises(UsageError, match=r"is neither a job spec nor a document by its name"):
        looks_like_spec(Path("a.docx"))


# --- no text gives a traceback ---------------------------------------------------------------------------------

SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20),
    st.sampled_from(["live", "by", "08:00", "640x400", "16:9", "90s", "mills.md", "high", "5 usd", "UTC", "graph"]),
)  # fmt: skip
TREES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(["id", "name", "live", "by", "zone", "date", "ttff", "batch", "x"]), inner
        ),
    ),
    max_leaves=6,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(fields=st.dictionaries(st.sampled_from([*FIELDS, "other"]), TREES, max_size=6))
def test_any_values_are_a_job_or_lines_that_name_the_file(tmp_path: Path, fields: dict[str, object]) -> None:
    import yaml

    path = spec(tmp_path, yaml.safe_dump(fields, allow_unicode=True))
    try:
        load_spec(path, NOW)
    except SpecError as error:
        lines = str(error).splitlines()
        assert lines
        assert all(line.startswith(f"{path}:") and line.isprintable() for line in lines)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.one_of(st.binary(max_size=60), st.text(alphabet="[]{}:,-&*!|>'\"#%@ \n\tab0.x", max_size=40)))
def test_any_bytes_are_a_job_or_an_error_of_ours(tmp_path: Path, data: bytes | str) -> None:
    path = tmp_path / "job.yaml"
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    try:
        load_spec(path, NOW)
    except HpcwiseError as error:
        assert isinstance(error, SpecError)
        assert all(line.isprintable() for line in str(error).splitlines())


def test_a_document_in_another_folder_is_found_from_where_one_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "papers").mkdir()
    (tmp_path / "papers" / "mills.md").write_text("# Tide mills\n\nThey store the sea behind a gate.\n")
    monkeypatch.chdir(tmp_path)
    loaded = load_document(Path("papers/mills.md"), 0.0)
    assert loaded.job.input_path == str(tmp_path / "papers" / "mills.md")
