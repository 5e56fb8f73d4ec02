"""A job: what a person asks for, after the file that they wrote has been read and checked.

The YAML form (units such as `90s`, `640x400`, `08:00`) is read by `hpcwise.cli.specfile`; what travels to
the head and into the journal is this value. `problems()` is the one list of rules on its fields.
"""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

from hpcwise.core.screenplay import Character, Scene, script_problem
from hpcwise.core.workflow import Edge

Tier = Literal["high", "medium", "low", "static"]
Output = Literal["mp4", "hls", "poster", "subtitles", "receipt"]

#: Best first; a job may leave rungs out, the order is fixed.
TIERS: Final[tuple[Tier, ...]] = ("high", "medium", "low", "static")
#: Smaller sizes of one live film.
MOST_RENDITIONS: Final = 4


class Live(msgspec.Struct, frozen=True, kw_only=True, tag="live"):
    """Watched while it is made: the first frame `ttff_s` after arrival, then never a stall."""

    ttff_s: float = 5.0


class By(msgspec.Struct, frozen=True, kw_only=True, tag="by"):
    """Ready at a Unix time. `text` and `zone` are what the person wrote, for messages."""

    wall_s: float
    text: str = ""
    zone: str = ""


class Batch(msgspec.Struct, frozen=True, kw_only=True, tag="batch"):
    """No deadline; `max_age_s` bounds how long it can wait behind others."""

    max_age_s: float = 6 * 3600.0


Slo = Live | By | Batch


class GraphTask(msgspec.Struct, frozen=True, kw_only=True):
    """A task of the `graph` workflow, which runs any DAG on the models of the catalogue."""

    name: str
    stage: str
    model: str
    params: dict[str, Any] = {}
    features: dict[str, float] = {}
    inputs: tuple[Edge, ...] = ()
    deadline_s: float | None = None
    seed: int = 0


class Asset(msgspec.Struct, frozen=True, kw_only=True):
    """A file that the film is made with. sha256: of its bytes; it stands in recipes, the path does not."""

    path: str
    sha256: str


class OwnPicture(msgspec.Struct, frozen=True, kw_only=True):
    """A picture of the person's own, shown like a figure of the document, with its caption."""

    file: Asset
    caption: str


class Music(msgspec.Struct, frozen=True, kw_only=True):
    """Music under the film: the person's own file, or the pad that comes with this project (None).
    level_db: its loudness below the speech, in dB."""

    file: Asset | None = None
    level_db: float = 22.0


class Llm(msgspec.Struct, frozen=True, kw_only=True):
    """An OpenAI-compatible endpoint that writes the screenplay. Its key is no part of a job."""

    url: str
    model: str


class JobSpec(msgspec.Struct, frozen=True, kw_only=True):
    """See the module docstring. Sizes in pixels, times in seconds, money in US dollars.

    elo_floor: the ladder never takes a model whose Elo is below it; static content has no Elo and stays.
    upscale: `streamwise-podcast` draws its best rung at half size and enlarges it; otherwise at full size.
    script: a screenplay that a person approved; it is filmed as it stands, and none is written.
    lexicon: how words are said ("USP": "U S P"), whole words, upper and lower case apart.
    """

    workflow: Literal["podcast", "streamwise-podcast", "graph"] = "podcast"
    name: str = ""
    input_path: str = ""
    input_sha256: str = ""
    cast: tuple[Character, ...] = ()
    set_name: str = "studio"
    show: str = "hpcwise"
    duration_s: float = 90.0
    width: int = 640
    height: int = 400
    fps: int | float = 24
    ladder: tuple[Tier, ...] = TIERS
    fixed_ladder: bool = False
    elo_floor: float = 0.0
    slo: Live | By | Batch = Batch()
    budget_usd: float | None = None
    seed: int = 0
    outputs: tuple[Output, ...] = ("mp4", "hls", "poster", "subtitles", "receipt")
    subtitles: tuple[Literal["srt", "vtt"], ...] = ("srt", "vtt")
    models: dict[str, str] = {}
    upscale: bool = True
    graph: tuple[GraphTask, ...] = ()
    script: tuple[Scene, ...] = ()
    lexicon: dict[str, str] = {}
    llm: Llm | None = None
    logo: Asset | None = None
    fonts: dict[Literal["regular", "bold"], Asset] = {}
    pictures: tuple[OwnPicture, ...] = ()
    music: Music | None = None
    renditions: tuple[tuple[int, int], ...] = ()

    @property
    def assets(self) -> tuple[Asset, ...]:
        """The files of the person's own that the film is made with."""
        own = [self.logo, self.music.file if self.music else None, *self.fonts.values()]
        return (*(a for a in own if a is not None), *(p.file for p in self.pictures))

    @property
    def hashes(self) -> frozenset[str]:
        """SHA-256 of every file that the job needs."""
        return frozenset({self.input_sha256, *(asset.sha256 for asset in self.assets)} - {""})


class Problem(msgspec.Struct, frozen=True):
    """What is wrong with a field, and what would be right."""

    field: str
    value: Any
    fix: str

    def line(self) -> str:
        """One line for people: field, value and fix, without control characters."""
        shown = "".join(c if c.isprintable() else "?" for c in repr(self.value))
        return f"{self.field}: {shown[:80]} is not usable; {self.fix}"


def problems(job: JobSpec) -> list[Problem]:
    """All rules on a job's fields that need neither a file nor a clock; empty when it is usable."""
    found: list[Problem] = []

    def need(ok: bool, field: str, value: Any, fix: str) -> None:
        if not ok:
            found.append(Problem(field, value, fix))

    if job.workflow == "graph":
        need(bool(job.graph), "graph", [], "list at least one task")
        names = {t.name for t in job.graph}
        need(len(names) == len(job.graph), "graph", len(job.graph), "give every task a name of its own")
        for t in job.graph:
            for e in t.inputs:
                need(e.source in names, f"graph.{t.name}.inputs", e.source, "name a task of this graph")
        return found + _cycle_problem(job)
    need(bool(job.input_path), "input", job.input_path, "name a document")
    need(20 <= job.duration_s <= 3600, "duration", job.duration_s, "choose 20s to 60m")
    need(1 <= job.fps <= 60, "fps", job.fps, "choose 1 to 60")
    whole = job.workflow == "podcast" or job.fps == round(job.fps)
    need(whole, "fps", job.fps, "generative models make whole numbers of frames a second: choose one")
    need(
        128 <= job.width <= 3840 and job.width % 2 == 0,
        "resolution",
        f"{job.width}x{job.height}",
        "choose an even width from 128 to 3840",
    )
    need(
        128 <= job.height <= 2160 and job.height % 2 == 0,
        "resolution",
        f"{job.width}x{job.height}",
        "choose an even height from 128 to 2160",
    )
    found += _rendition_problems(job)
    need(bool(job.ladder), "quality", [], f"choose from {', '.join(TIERS)}")
    ranks = [TIERS.index(t) for t in job.ladder]
    need(ranks == sorted(set(ranks)), "quality", list(job.ladder), "order from best to worst, each once")
    need(job.budget_usd is None or job.budget_usd > 0, "budget", job.budget_usd, "choose more than 0 dollars")
    need(0 <= job.elo_floor <= 4000, "elo_floor", job.elo_floor, "choose 0 to 4000")
    need(len(job.cast) >= 2, "cast", [c.id for c in job.cast], "name at least two speakers")
    ids = [c.id for c in job.cast]
    need(len(set(ids)) == len(ids), "cast", ids, "give every speaker an id of their own")
    roles = [c.role for c in job.cast]
    need(len(set(roles)) > 1, "cast", roles, "give one speaker the role host, another the role expert")
    wrong = script_problem(job.script, ids) if job.script else ""
    need(not wrong, "script", wrong, "write it again with `hpcwise script`")
    for word, said in job.lexicon.items():
        need(_is_word(word), "lexicon", word, "write a word without spaces, up to 60 characters")
        need(0 < len(said) <= 200 and said.isprintable(), f"lexicon.{word}", said, "write how it is said")
    if job.llm is not None:
        need(job.llm.url.startswith(("http://", "https://")), "llm.url", job.llm.url, "write http://host/v1")
    need(0 <= job.seed < 2**63, "seed", job.seed, "choose 0 to 9223372036854775807")
    if isinstance(job.slo, Live):
        need(0.1 <= job.slo.ttff_s <= 3600, "slo.live.ttff", job.slo.ttff_s, "choose 0.1s to 60m")
    if isinstance(job.slo, Batch):
        need(job.slo.max_age_s > 0, "slo.batch.max_age", job.slo.max_age_s, "choose more than 0s")
    return found


def _rendition_problems(job: JobSpec) -> list[Problem]:
    """Smaller sizes of the live film: of its shape, each once, largest first."""
    found: list[Problem] = []
    above = (job.width, job.height)
    for i, (width, height) in enumerate(job.renditions):
        fits = width * job.height / job.width
        fix = ""
        if width % 2 or height % 2 or min(width, height) < 64:
            fix = "choose even sides of 64 or more"
        elif not (width < above[0] and height < above[1]):
            fix = f"choose one smaller than {above[0]}x{above[1]}, which is there already; largest first"
        elif abs(fits - height) > 2:
            fix = f"it has another shape than the film; choose {width}x{2 * round(fits / 2)}"
        if fix:
            found.append(Problem(f"renditions[{i}]", f"{width}x{height}", fix))
        above = (width, height)
    if len(job.renditions) > MOST_RENDITIONS:
        found.append(Problem("renditions", len(job.renditions), f"choose {MOST_RENDITIONS} at most"))
    if job.renditions and "hls" not in job.outputs:
        found.append(
            Problem("renditions", list(job.outputs), "they are of the live film; add hls to outputs")
        )
    return found


def _is_word(text: str) -> bool:
    return 0 < len(text) <= 60 and text.isprintable() and not any(c.isspace() for c in text)


def _cycle_problem(job: JobSpec) -> list[Problem]:
    waiting = {t.name: {e.source for e in t.inputs} for t in job.graph}
    users: dict[str, list[str]] = {name: [] for name in waiting}
    for name, sources in waiting.items():
        for source in sources:
            users.setdefault(source, []).append(name)
    free = [name for name, sources in waiting.items() if not sources]
    while free:
        name = free.pop()
        waiting.pop(name, None)
        for user in users[name]:
            if user in waiting:
                waiting[user].discard(name)
                if not waiting[user]:
                    free.append(user)
    if waiting:
        return [Problem("graph", sorted(waiting)[0], "break the cycle that this task is part of")]
    return []
