"""A document's material for a film: claims that can be said, with their place, and pictures to show."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import msgspec
import numpy as np
import numpy.typing as npt

from hpcwise.core.document import Document
from hpcwise.models.screenplay.embed import Embedder, Step, Vectors, centrality
from hpcwise.models.screenplay.leaning import leans_on_previous
from hpcwise.models.screenplay.pictures import MAX_CLAIM_S, Picture, pictures_of, stems
from hpcwise.models.screenplay.speakable import (
    MAX_CHARS,
    MAX_CHARS_LONG,
    to_speech,
)
from hpcwise.models.screenplay.timing import expected_s

#: More sentences than this are not read for meaning: the film could not hold them anyway.
MAX_CLAIMS = 480
#: Two lines of fewer words have the same by chance.
_LEAST_WORDS = 4
#: A claim that takes longer does not fit into a shot, in seconds; in a long film shots may be longer.
MAX_CLAIM_LONG_S = 17.5

_ROLES = (
    ("abstract", r"abstract|executive summary"),
    ("problem", r"introduction|background|motivation|problem|context|preliminar"),
    ("related", r"related|previous work|prior work|state of the art|literature"),
    ("conclusion", r"conclu|^summary|take-?aways?"),
    ("limits", r"limitation|threats|caveat|future (?:work|research|direction|development|plan)|^future\b"
               r"|(?:^|\band )outlook$|open (?:problem|question|issue)"),
    ("evidence", r"experiments?\b|experimental (?:set|result|eval|stud|desig)"
        r"|results?\b|evaluat|ablation|performance|case stud|simulation|illustration"
        r"|\bapplications(?=$|:| (?:of|to|in)\b)|^application\b"
                 r"|use case|benchmark|findings|measur|empirical|validation|example"),
    ("method", r"method|approach|design|architect|algorithm|implement|system|framework|model|how it works"
        r"|pipeline"),
    ("discussion", r"discussion"),
)  # fmt: skip
_IDEA = re.compile(
    r"\b(?:authors|they|paper|work|article|study|book|guide|chapter|manual|document) (?:\w+ ){0,2}"
    r"(?:propose|introduce|present|develop|design|describe|explain|built?|show|aim|teach"
    r"|cover|outline|report|discuss|explor|investigat|examin|address|argue|survey|review)"
    r"|\b(?:purpose|aim|goal|objective) of (?:this|the present) \w+ (?:is|was)\b"
    r"|\bcontribution|\b(?:is|are) (?:a|an) (?:new|novel|open|general|simple|flexible)|\b(?:a|an) (?:novel"
    r"|new) ",
    re.I,
)
_ANNOUNCES = re.compile(
    r"\b(?:this|the present) (?:\w+ )?(?:paper|work|article|report|study|vignette)\b", re.I
)
_FINDING = re.compile(
    r"\b(?:results?\b|experiments?\b|show|shows|showed|demonstrat|outperform|improv|significant|achiev"
    r"|percent"
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


def claims_of(document: Document, long_film: bool = False, most_chars: int = 0) -> list[Claim]:
    """All sentences that can be said alone, or right after their neighbour. long_film: long ones too;
    most_chars: none longer than this."""
    most_chars = most_chars or (MAX_CHARS_LONG if long_film else MAX_CHARS)
    most_s = MAX_CLAIM_LONG_S if long_film else MAX_CLAIM_S
    roles = section_roles(document)
    out: list[Claim] = []
    seen: set[str] = set()
    order = 0
    for index, section in enumerate(document.sections):
        for sentence in section.sentences:
            order += 1
            text = to_speech(sentence.text, max_chars=most_chars, point=document.kind == "talk")
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
    early: list[Claim] = []
    for part in (_head(document), document):
        claims = claims_of(part, most_chars=max_chars) or claims_of(part)
        early = [c for c in claims if not c.leans and c.role != "related"]
        if early:
            break  # the first scene waits for this: the rest is read later
    topic, numbers = stems(document.title), set(re.findall(r"\d[\d.]*", document.title))

    firsts: set[str] = set()
    if not any(is_idea(c) for c in early):  # then a part's first sentence says what it is about
        firsts = {s.sentences[0].text for s in document.sections if s.sentences}

    def worth(claim: Claim) -> float:
        on_topic = len(topic & stems(claim.text)) / max(3, len(topic))
        named = _DEFINES.match(claim.text)
        defined = bool(named and topic & stems(named[1]))
        announces = 0.4 * defined - 0.4 * bool(_LABELLED.match(claim.text))
        announces += 0.2 * (bool(firsts) and claim.order == early[0].order)
        # A slide may show somebody else's paper.
        announces += (
            0.5 * (is_idea(claim) and (document.kind != "talk" or on_topic > 0))
            + 0.3 * (claim.role == "abstract")
            + 0.25 * (claim.source in firsts)
        )
        vague = bool(re.match(r"(?:The|A|An) [a-z]+ (?:is|are|was|were|can|has|have) ", claim.text))
        detail = 0.3 * bool(set(re.findall(r"\d[\d.]*", claim.text)) - numbers) + 0.3 * vague
        detail += 0.4 * bool(_LOOKS_BACK.search(claim.text[:60])) + 0.3 * bool(_PARTICULAR.match(claim.text))
        return on_topic + announces - detail - 0.01 * claim.order - 0.2 * (len(claim.text) > 150)

    return max(early, key=worth, default=None)


_LOOKS_BACK = re.compile(
    r"\b(?:these|those|such|resulting|aforementioned|this (?!paper|work|article|study|report))\b", re.I
)


#: "The LinnSequencer is a composition tool": what the title names is said to be something.
_DEFINES = re.compile(r"([^,]{3,60}?) (?:is|are) (?:an?|the) ")
#: "Success rate: the share of grasps that hold": a point of a list, which says little alone.
_LABELLED = re.compile(r"[A-Z][\w-]*(?: [\w-]+){0,4}: \w")
_PARTICULAR = re.compile(
    r"(?:each|every|some|most|another|an? (?:alternative|other|further|second|different|common|typical)"
    r"|there (?:is|are)|for|if|when|after|before|during|then|as (?:for|to)|because|since|regarding|concerning"
    r"|later,?|applying|using) ",
    re.I,
)


def _head(document: Document) -> Document:
    """What stands first in it: four sections that say something, and the headings between them."""
    told = [i for i, section in enumerate(document.sections) if section.sentences][:4]
    return msgspec.structs.replace(document, sections=document.sections[: told[-1] + 1 if told else 0])


@dataclass(frozen=True, slots=True)
class Material:
    """Scored claims, their vectors (same order) and the pictures.

    echoes: pictures by their index, and the claims that say what is said over each of them.
    """

    claims: tuple[Claim, ...]
    vectors: Vectors
    pictures: tuple[Picture, ...]
    duplicate_above: float
    echoes: Mapping[int, frozenset[int]] = field(default_factory=dict)

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
        score -= 0.2 * bool(_LABELLED.match(claim.text))
        # "We" of a book is often its reader too: "we have seen functions before".
        score -= 0.25 * (document.kind == "book" and "authors" in claim.text)
        scored.append(replace(claim, score=round(score, 6)))
    pictures = tuple(pictures_of(document))
    return Material(
        claims=tuple(scored),
        vectors=vectors,
        pictures=pictures,
        duplicate_above=0.78 if embed.name.startswith("minilm") else 0.6,
        echoes=echoes_of(claims, pictures),
    )


def echoes_of(claims: Sequence[Claim], pictures: Sequence[Picture]) -> dict[int, frozenset[int]]:
    """For each picture the claims that have nearly all words of a line of its, or it of theirs."""
    said = [stems(claim.text) for claim in claims]
    out = {}
    for index, picture in enumerate(pictures):
        over = [
            words for words in (stems(text) for text, _, _ in picture.texts) if len(words) >= _LEAST_WORDS
        ]
        out[index] = frozenset(
            i
            for i, words in enumerate(said)
            if len(words) >= _LEAST_WORDS
            and any(len(words & line) >= 0.85 * min(len(words), len(line)) for line in over)
        )
    return out


_PROBLEM = re.compile(
    r"\b(?:there (?:is|are|was) no\b|no existing|challeng|difficult|lack|need|time-consuming|costly"
    r"|expensive|problem|gap|fall short|hard to"
    r"|limited|important|crucial"
    r"|essential|demand|struggl|bottleneck|common|widely|increasing|growing|central|core of)",
    re.I,
)


def fits(role: str, claim: Claim, place: float, name: str) -> float:
    """How much better than elsewhere the claim stands in a scene of this role, about -0.5 to 0.6.

    place: 0 to 1, where in its section it stands; name: what the work calls itself, or "".
    """
    if role == "problem":
        fit = 0.3 * bool(_PROBLEM.search(claim.text)) + 0.35 * (1 - place) - 0.2 * (claim.role == "abstract")
        return fit - 0.2 * bool(_PARTICULAR.match(claim.text))
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


def is_idea(claim: Claim) -> bool:
    """Whether it announces what the authors bring."""
    return bool(_IDEA.search(claim.text))


def announces(claim: Claim) -> bool:
    """Whether it says what the paper does: once in a film says it."""
    return bool(_ANNOUNCES.search(claim.text))


def is_problem(claim: Claim) -> bool:
    """Whether it says what is missing, hard or wanted."""
    return bool(_PROBLEM.search(claim.text))


def is_finding(claim: Claim) -> bool:
    """Whether it says what came out."""
    return bool(_FINDING.search(claim.text))


def is_limit(claim: Claim) -> bool:
    """Whether it speaks of what does not work, or not yet."""
    return bool(_LIMIT.search(claim.text))
