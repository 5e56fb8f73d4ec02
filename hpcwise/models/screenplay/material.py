"""A document's material for a film: claims that can be said, with their place, and pictures to show."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import msgspec
import numpy as np
import numpy.typing as npt

from hpcwise.core.document import Document, Figure, split_sentences
from hpcwise.models.screenplay.embed import Embedder, Step, Vectors, centrality
from hpcwise.models.screenplay.speakable import (
    MAX_CHARS,
    MAX_CHARS_LONG,
    leans_on_previous,
    named_equations,
    to_speech,
)
from hpcwise.models.screenplay.timing import expected_s

#: More sentences than this are not read for meaning: the film could not hold them anyway.
MAX_CLAIMS = 480
#: A claim that takes longer does not fit into a shot, in seconds; in a long film shots may be longer.
MAX_CLAIM_S, MAX_CLAIM_LONG_S = 13.5, 17.5

_ROLES = (
    ("abstract", r"abstract|executive summary"),
    ("problem", r"introduction|background|motivation|problem|context|preliminar"),
    ("related", r"related|previous work|prior work|state of the art|literature"),
    ("conclusion", r"conclu|^summary|take-?aways?"),
    ("limits", r"limitation|threats|caveat|future|outlook|open (?:problem|question|issue)"),
    ("evidence", r"experiments?\b|experimental (?:set|result|eval|stud|desig)"
        r"|results?\b|evaluat|ablation|performance|case stud|simulation|illustration"
        r"|application"
                 r"|use case|benchmark|findings|measur|empirical|validation|example"),
    ("method", r"method|approach|design|architect|algorithm|implement|system|framework|model|how it works"
        r"|pipeline"),
    ("discussion", r"discussion"),
)  # fmt: skip
_IDEA = re.compile(
    r"\b(?:authors|they|paper|work|article|study|book|guide|chapter|manual|document) (?:\w+ ){0,2}"
    r"(?:propose|introduce|present|develop|design|describe|explain|built?|show|aim)"
    r"|\b(?:purpose|aim|goal|objective) of (?:this|the present) \w+ (?:is|was)\b"
    r"|\bcontribution|\b(?:is|are) (?:a|an) (?:new|novel|open|general|simple|flexible)|\b(?:a|an) (?:novel"
    r"|new) ",
    re.I,
)
_FINDING = re.compile(
    r"\b(?:results?\b|experiments?\b|show|shows|showed|demonstrat|outperform|improv|significant|achiev|percent"
    r"|found|finding|exceed)",
    re.I,
)
_LIMIT = re.compile(
    r"\b(?:limitations?|limited|future work|drawback|shortcoming|remains? (?:open|unclear|to be"
    r"|a challenge)|not yet|cannot"
    r"|caution|caveat|unfortunately|does not|do not|challenge)\b",
    re.I,
)


@dataclass(frozen=True, slots=True)
class Claim:
    """A sentence ready to be said. `order` counts all sentences of the document, read or not.

    leans: it may only follow the sentence just before it (`order` - 1).
    """

    order: int
    section: int
    role: str
    text: str
    source: str
    page: int
    leans: bool
    score: float = 0.0


@dataclass(frozen=True, slots=True)
class Picture:
    """A figure with what can be said over it; `texts` are (line, source, page), best first."""

    figure: Figure
    section: int
    order: int
    texts: tuple[tuple[str, str, int], ...]


def section_roles(document: Document) -> list[str]:
    """The part that each section plays; a heading without a clue inherits from an empty heading above it."""
    roles, inherited = [], ""
    for i, section in enumerate(document.sections):
        own = next((role for role, p in _ROLES if re.search(p, section.heading, re.I)), "")
        if own == "abstract" and i > 3:
            own = "body"
        if not section.sentences:
            inherited = own
        elif own in ("abstract", "problem", "related", "limits", "conclusion", "discussion"):
            inherited = ""
        roles.append(own or inherited or ("problem" if i == 0 else "body"))
    return roles


def claims_of(document: Document, long_film: bool = False) -> list[Claim]:
    """All sentences that can be said alone, or right after their neighbour. long_film: long ones too."""
    most_chars = MAX_CHARS_LONG if long_film else MAX_CHARS
    most_s = MAX_CLAIM_LONG_S if long_film else MAX_CLAIM_S
    roles = section_roles(document)
    out: list[Claim] = []
    seen: set[str] = set()
    order = 0
    for index, section in enumerate(document.sections):
        for sentence in section.sentences:
            order += 1
            text = to_speech(sentence.text, max_chars=most_chars)
            if text is None or text in seen or expected_s(text) > most_s:
                continue
            seen.add(text)
            leans = leans_on_previous(sentence.text)
            out.append(Claim(order, index, roles[index], text, sentence.text, sentence.page, leans))
    if len(out) > MAX_CLAIMS:
        share = max(3, MAX_CLAIMS // max(1, len({c.section for c in out})))
        counts: dict[int, int] = {}
        kept = []
        for claim in out:
            counts[claim.section] = counts.get(claim.section, 0) + 1
            if counts[claim.section] <= share:
                kept.append(claim)
        out = kept[:MAX_CLAIMS]
    return out


def hook_of(document: Document, max_chars: int) -> Claim | None:
    """The sentence that says best what this is about, found without reading for meaning."""
    early = [c for c in claims_of(_head(document)) if not c.leans and c.role != "related"]
    early = [c for c in early if len(c.text) <= max_chars] or early
    topic = _stems(document.title)

    firsts: set[str] = set()
    if not any(is_idea(c) for c in early):  # then a part's first sentence says what it is about
        firsts = {s.sentences[0].text for s in document.sections if s.sentences}

    def worth(claim: Claim) -> float:
        on_topic = len(topic & _stems(claim.text)) / max(3, len(topic))
        announces = 0.5 * is_idea(claim) + 0.3 * (claim.role == "abstract") + 0.25 * (claim.source in firsts)
        vague = bool(re.match(r"(?:The|A|An) [a-z]+ (?:is|are|was|were|can|has|have) ", claim.text))
        detail = 0.3 * bool(re.search(r"\d", claim.text)) + 0.3 * vague
        detail += 0.4 * bool(_LOOKS_BACK.search(claim.text[:60])) + 0.3 * bool(_PARTICULAR.match(claim.text))
        return on_topic + announces - detail - 0.01 * claim.order - 0.2 * (len(claim.text) > 150)

    return max(early, key=worth, default=None)


_LOOKS_BACK = re.compile(r"\b(?:these|those|such|this (?!paper|work|article|study|report))\b", re.I)


_PARTICULAR = re.compile(
    r"(?:each|every|some|most|another|there (?:is|are)|for|if|when|after|before|during|then) ", re.I
)


def _stems(text: str) -> set[str]:
    return {word[:6].lower() for word in re.findall(r"[A-Za-z][\w-]{3,}", text)}


def _head(document: Document) -> Document:
    return msgspec.structs.replace(document, sections=document.sections[:4])


def pictures_of(document: Document) -> list[Picture]:
    """Figures over which something can be said, in the order in which the text comes to them."""
    out = []
    for figure in document.figures:
        if figure.height_px > 1.9 * figure.width_px or figure.width_px > 6 * figure.height_px:
            continue
        number = re.escape(figure.label.split()[-1])
        kind = (
            r"(?:Figures?|Figs?\.)"
            if figure.label.startswith("Figure")
            else re.escape(figure.label.split()[0])
        )
        mention = re.compile(rf"\b{kind}\s*{number}\b(?!\.\d)", re.I)
        texts: list[tuple[str, str, int]] = []
        section, order, count = -1, 0, 0
        for index, part in enumerate(document.sections):
            for sentence in part.sentences:
                count += 1
                text = named_equations(sentence.text)
                if not mention.search(text):
                    continue
                if section < 0:
                    section, order = index, count
                spoken = to_speech(text, figure=figure.label)
                opens = re.match(rf"^(?:as \w+ in )?{kind}\s*{number}\b", text, re.I)
                pointer = spoken is not None and _POINTER.search(spoken)
                if spoken is not None:
                    spoken = _without_pointer(spoken, figure.label)
                if spoken is not None and not pointer and (opens or not leans_on_previous(sentence.text)):
                    texts.append((spoken, sentence.text, sentence.page))
        texts = [t for t in _caption_lines(figure) + texts if expected_s(t[0]) <= MAX_CLAIM_S]
        if not texts:
            continue
        if section < 0:
            section = max((i for i, s in enumerate(document.sections) if s.page <= figure.page), default=0)
            order = sum(len(s.sentences) for s in document.sections[: section + 1])
        out.append(Picture(figure, section, order, _different(texts)[:3]))
    return out


def _without_pointer(text: str, label: str) -> str:
    """ "As shown in Figure 2, the pull rises." -> "The pull rises.": the picture is on the screen."""
    text = re.sub(
        rf"^{re.escape(label)} (?=(?:shows?|illustrates?|depicts?|displays?|presents?|gives?|compares?)\b)",
        "It ",
        text,
    )
    rest = re.sub(rf"^(?:As )?(?:\w+ )?(?:in|by|from) {re.escape(label)}, ", "", text)
    return rest[0].upper() + rest[1:]


def _different(texts: Sequence[tuple[str, str, int]]) -> tuple[tuple[str, str, int], ...]:
    """Lines that do not say what one before them said: of the shorter one's words less than two thirds."""
    out: list[tuple[str, str, int]] = []
    for text in texts:
        words = _stems(text[0])
        others = (_stems(other[0]) for other in out)
        if all(len(words & o) < 0.67 * max(1, min(len(words), len(o))) for o in others):
            out.append(text)
    return tuple(out)


def _caption_lines(figure: Figure) -> list[tuple[str, str, int]]:
    """What the caption says: its first phrase under its label, then whole sentences."""
    if not figure.caption:
        return []
    source = f"{figure.label}: {figure.caption}"
    out: list[tuple[str, str, int]] = []
    parts = split_sentences(figure.caption.rstrip(".") + ".")
    for i, part in enumerate(parts[:3]):
        spoken = to_speech(part, figure=figure.label, phrase=i == 0, max_chars=150)
        if spoken is None:
            continue
        if i == 0:
            own = figure.label.startswith(("Picture", "Slide"))  # these have no number in the document
            spoken = spoken if own else f"{figure.label}. {spoken}"
            # What is said rests on this phrase, not on all that follows it.
            stated = part if figure.caption.startswith(part) else part.rstrip(".")
            whole = figure.caption.startswith(stated)
            out.append((spoken, f"{figure.label}: {stated}" if whole else source, figure.page))
            continue
        if leans_on_previous(part) or re.match(r"^(?:left|right|top|bottom|middle|center)\b", part, re.I):
            continue
        stated = part if part in figure.caption else part.rstrip(".")
        out.append((spoken, stated if stated in figure.caption else source, figure.page))
    return [*out[:2], *_panel_lines(figure, source)][:3]


_PANELS = re.compile(
    r"(?:^|[.;,:] )(?:\((?P<letter>[a-f])\)|(?P<side>Left|Right|Top|Bottom|Upper|Lower)(?: panel)?:) "
)


def _panel_lines(figure: Figure, source: str) -> list[tuple[str, str, int]]:
    """ "(a) Pull. (b) Drift." -> one line that walks from panel to panel: "Panel a: Pull. Panel b: Drift.".

    The renderer lights each panel while it is named. None where one part cannot be said.
    """
    marks = list(_PANELS.finditer(figure.caption))
    if len(marks) < 2 or len(marks) > 4:
        return []
    said = []
    for mark, end in zip(marks, [*(m.start() for m in marks[1:]), len(figure.caption)], strict=True):
        part = figure.caption[mark.end() : end].strip(" .;,")
        part = split_sentences(part + ".")[0]
        spoken = to_speech(part, figure=figure.label, phrase=True, max_chars=90)
        if spoken is None:
            return []
        name = f"Panel {mark['letter']}" if mark["letter"] else f"{mark['side']} panel"
        said.append(f"{name}: {spoken}")
    return [(" ".join(said), source, figure.page)]


@dataclass(frozen=True, slots=True)
class Material:
    """Scored claims, their vectors (same order) and the pictures."""

    claims: tuple[Claim, ...]
    vectors: Vectors
    pictures: tuple[Picture, ...]
    duplicate_above: float

    def likeness(self, a: int, b: int) -> float:
        """Cosine of two claims by index."""
        return float(self.vectors[a] @ self.vectors[b])


def gather(document: Document, embed: Embedder, step: Step, long_film: bool = False) -> Material:
    """Read the whole document for meaning and score every claim: central, on the topic, saying something."""
    claims = claims_of(document, long_film)
    vectors = embed([*(c.text for c in claims), document.title or "document"], step)
    topic, vectors = vectors[-1], vectors[:-1]
    central = centrality(vectors)
    about: npt.NDArray[np.float64] = (vectors @ topic).astype(np.float64)
    scored = []
    for i, claim in enumerate(claims):
        score = 0.5 * float(central[i]) + 0.25 * float(about[i])
        score += 0.15 * bool(_IDEA.search(claim.text)) + 0.15 * bool(_FINDING.search(claim.text))
        score -= 0.15 * (len(claim.text) > 160) + 0.1 * (claim.text.count(",") > 4) + 0.05 * claim.leans
        scored.append(replace(claim, score=round(score, 6)))
    return Material(
        claims=tuple(scored),
        vectors=vectors,
        pictures=tuple(pictures_of(document)),
        duplicate_above=0.78 if embed.name.startswith("minilm") else 0.6,
    )


# Says where something is and nothing about it: "All results are summarised in Table 2."
_POINTER = re.compile(
    r"^.{0,60}\b(?:summari[sz]ed|shown|given|listed|presented|reported|found|displayed) in \w+ \d+\.$"
)
_PROBLEM = re.compile(
    r"\b(?:there (?:is|are|was) no\b|no existing|challeng|difficult|lack|need|time-consuming|costly"
    r"|expensive|problem|gap|fall short|hard to"
    r"|limited|important|crucial"
    r"|essential|demand|struggl|bottleneck|common|widely|increasing|growing|central|core of)",
    re.I,
)
_OVERVIEW = re.compile(
    r"\b(?:overview|architecture|overall|framework|workflow|pipeline|concept|components?|structure)\b", re.I
)


def fits(role: str, claim: Claim, place: float, name: str) -> float:
    """How much better than elsewhere the claim stands in a scene of this role, about -0.5 to 0.6.

    place: 0 to 1, where in its section it stands; name: what the work calls itself, or "".
    """
    if role == "problem":
        return 0.3 * bool(_PROBLEM.search(claim.text)) + 0.35 * (1 - place) - 0.2 * (claim.role == "abstract")
    if role == "idea":
        return 0.3 * is_idea(claim) + 0.15 * (claim.role == "abstract")
    if role == "evidence":
        return 0.25 * bool(_FINDING.search(claim.text))
    if role == "limits":
        return 0.3 * is_limit(claim)
    if role == "conclusion":
        return (
            0.2 * bool(_FINDING.search(claim.text))
            + 0.15 * bool(name and name in claim.text)
            + 0.2 * (1 - place)
        )
    return 0.0


def speaks_of_the_work(claim: Claim, name: str) -> bool:
    """Whether it speaks of what the authors did, rather than of the world before it."""
    return "authors" in claim.text or is_idea(claim) or bool(name and name in claim.text)


def is_overview(picture: Picture) -> bool:
    """Whether it shows the whole of the work, and so may stand beside its idea."""
    drawn = not picture.figure.label.startswith(("Table", "Equation"))
    return drawn and bool(_OVERVIEW.search(picture.figure.caption[:120]))


def is_idea(claim: Claim) -> bool:
    """Whether it announces what the authors bring."""
    return bool(_IDEA.search(claim.text))


def is_problem(claim: Claim) -> bool:
    """Whether it says what is missing, hard or wanted."""
    return bool(_PROBLEM.search(claim.text))


def is_finding(claim: Claim) -> bool:
    """Whether it says what came out."""
    return bool(_FINDING.search(claim.text))


def is_limit(claim: Claim) -> bool:
    """Whether it speaks of what does not work, or not yet."""
    return bool(_LIMIT.search(claim.text))
