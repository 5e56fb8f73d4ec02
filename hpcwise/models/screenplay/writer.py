"""Claims and pictures -> scenes of shots with both voices."""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from hpcwise.core.document import Document, Figure
from hpcwise.core.errors import UsageError
from hpcwise.core.screenplay import Character, Line, Scene, Shot, ShotKind
from hpcwise.models.screenplay.arc import Arc, Plot
from hpcwise.models.screenplay.embed import Embedder, Step
from hpcwise.models.screenplay.host import Host
from hpcwise.models.screenplay.material import Claim, Material, gather, hook_of
from hpcwise.models.screenplay.timing import AFTER_SHOT_S, expected_s, lines_s

#: A shot lasts no longer than this, in seconds.
MAX_SHOT_S = 14.0
_MERGE_S = 9.5
_MIN_SHOT_S = 4.0
#: A question that is over sooner gets no cut of its own.
_QUICK_S = 1.8
_SUBTITLE = re.compile(r":\s|\s[–—-]\s")
# A claim longer than this leaves no room in a shot for a short question before it.
_WITH_QUESTION_S = 11.0
_PAPER = re.compile(
    r"abstract|introduction|related work|methods?\b|results?\b|discussion|conclusion|experiment|evaluation",
    re.I,
)
_SCENE_TITLES = {
    "problem": "The problem",
    "idea": "The idea",
    "limits": "Limits",
    "conclusion": "What it means",
}


class Cast(msgspec.Struct, frozen=True):
    """Who asks and who answers."""

    host: Character
    expert: Character


def cast_of(characters: Sequence[Character]) -> Cast:
    """Host and expert by role, else by order; raises UsageError where there are no two."""
    if len({c.id for c in characters}) < 2:
        raise UsageError(f"cast: {len(characters)} given; name two characters, a host and an expert")
    host = next((c for c in characters if "host" in c.role.lower()), characters[0])
    others = [c for c in characters if c.id != host.id]
    expert = next((c for c in others if re.search("expert|guest", c.role, re.I)), others[0])
    return Cast(host=host, expert=expert)


def _shot(
    kind: ShotKind,
    lines: Sequence[Line],
    prominence: float,
    after_s: float = AFTER_SHOT_S,
    heading: str = "",
    subheading: str = "",
    figure: int | None = None,
) -> Shot:
    return Shot(
        kind=kind,
        lines=tuple(lines),
        heading=heading,
        subheading=subheading,
        figure=figure,
        prominence=prominence,
        expected_s=round(lines_s(lines, after_s), 2),
        pause_after_s=after_s,
    )


def _length_s(scenes: Sequence[Scene]) -> float:
    return sum(shot.expected_s for scene in scenes for shot in scene.shots)


class Writer:
    """Writes one film. `opening` needs no reading for meaning; `rest` does."""

    def __init__(self, document: Document, cast: Sequence[Character], duration_s: float, seed: int) -> None:
        self._document, self._duration_s, self._seed = document, duration_s, seed
        self._cast = cast_of(cast)
        self._spans = document.spans()
        self._hook = hook_of(document, 190 if duration_s >= 60 else 100)
        heads = [s.heading for s in document.sections]
        self._noun = "paper" if sum(bool(_PAPER.match(h)) for h in heads) > 1 else "document"

    def opening(self) -> Scene:
        """Title with the host's voice over it, then both on screen with a hook."""
        title, authors = self._document.title, self._document.authors
        heading = title or f"A {self._noun}, discussed"
        named = re.sub(r"\s+", " ", title).rstrip(" .") if title else "one without a title"
        by = _names(authors)
        named = f"Welcome. Today's {self._noun} is {named}"
        spoken = named + (f", by {by}" if by and self._duration_s >= 45 else "")
        lines = [self._host_line(f"{spoken}.")]
        if lines_s(lines) > MAX_SHOT_S:
            lines = [self._host_line(f"{named}.")]
        shots = [_shot("title", lines, 1.0, heading=heading, subheading=", ".join(authors[:6]))]
        me, you = self._cast.host.name, self._cast.expert.name
        greeting = self._host_line(
            f"I am {me}, and {you} has read it. {you}, what is this {self._noun} about?"
        )
        if self._hook is None:
            shots.append(_shot("two_shot", [greeting], 1.0))
        else:
            shots += self._question_and_claim(greeting, self._hook, 1.0)
        return Scene(title="Opening", shots=tuple(shots))

    def rest(self, embed: Embedder, step: Step) -> list[Scene]:
        """All other scenes; the whole film lasts as long as asked, or as the document has to say."""
        opening_s = sum(s.expected_s for s in self.opening().shots)
        closing = self._closing()
        closing_s = sum(s.expected_s for s in closing.shots)
        content_s = max(0.0, self._duration_s - opening_s - closing_s)
        material = gather(self._document, embed, step)
        headings = [s.heading for s in self._document.sections]
        arc = Arc(material, headings, content_s, self._hook.text if self._hook else "", self._name())
        slack_s = max(2.0, 0.03 * self._duration_s)
        while _length_s(self._film(arc, material)) > content_s + slack_s:
            step(40, 100, "choose scenes")
            if not arc.shrink(_length_s(self._film(arc, material)) - content_s):
                break
        length_s = _length_s(self._film(arc, material))
        while length_s < content_s - slack_s:
            step(60, 100, "choose scenes")
            added = arc.grow(content_s + slack_s - length_s + 1.0)
            if added is None:
                if not arc.widen():
                    break
                continue
            longer_s = _length_s(self._film(arc, material))
            if longer_s > content_s + slack_s:
                arc.ban(added)
            else:
                length_s = longer_s
        return [*self._film(arc, material), closing]

    def _film(self, arc: Arc, material: Material) -> list[Scene]:
        """Scenes of the current choice; a new host each time, so that lines do not depend on the search."""
        host = Host(self._seed)
        said = {self._hook.text} if self._hook else set()
        scenes = [
            self._scene(plot, material, host, said) for plot in arc.plots if plot.claims or plot.pictures
        ]
        return [scene for scene in scenes if scene.shots]

    def _scene(self, plot: Plot, material: Material, host: Host, said: set[str]) -> Scene:
        beats: list[tuple[int, int, int]] = [(material.claims[i].order, 0, i) for i in plot.claims]
        beats += [(material.pictures[i].order, 1, i) for i in plot.pictures]
        beats.sort()
        if beats and beats[0][1] == 1 and len(beats) > 1 and beats[1][1] == 0:
            beats[0], beats[1] = beats[1], beats[0]
        shots: list[Shot] = []
        since_host = 0
        for _, is_picture, i in beats:
            if is_picture:
                texts = [t for t in material.pictures[i].texts if t[0] not in said]
                if texts:
                    lead = host.shows() if shots else host.opens(plot.role, plot.heading)
                    shots += self._picture(material.pictures[i].figure, texts[:2], lead)
                    said.update(text for text, _, _ in texts[:2])
                since_host = 0
                continue
            claim = material.claims[i]
            if claim.text in said:
                continue
            said.add(claim.text)
            if not shots:
                question = host.opens(plot.role, plot.heading)
                shots += self._ask(question, claim)
                since_host = 1
            elif since_host >= 2 and not claim.leans and expected_s(claim.text) < _WITH_QUESTION_S:
                shots += self._ask(host.asks(claim.text), claim)
                since_host = 1
            else:
                shots = self._continue(shots, claim)
                since_host += 1
        return Scene(title=_SCENE_TITLES.get(plot.role) or plot.heading or "More", shots=tuple(shots))

    def _ask(self, question: str | None, claim: Claim) -> list[Shot]:
        if question is None:
            return [_shot("close_up", [self._claim_line(claim)], 0.45)]
        return self._question_and_claim(self._host_line(question), claim, 0.5)

    def _question_and_claim(self, question: Line, claim: Claim, prominence: float) -> list[Shot]:
        answer = self._claim_line(claim)
        quick = min(lines_s([question]) / _QUICK_S, lines_s([answer]) / _MIN_SHOT_S) < 1
        if quick and lines_s([question, answer]) <= MAX_SHOT_S:
            return [_shot("two_shot", [question, answer], prominence)]
        return [
            _shot("two_shot", [question], prominence),
            _shot("close_up", [answer], max(0.45, prominence - 0.2)),
        ]

    def _continue(self, shots: list[Shot], claim: Claim) -> list[Shot]:
        """The expert goes on: in the same close-up where that stays short, else in one of its own."""
        line = self._claim_line(claim)
        last = shots[-1] if shots else None
        if last is not None and last.kind == "close_up" and len(last.lines) == 1:
            both = [*last.lines, line]
            tiny = last.expected_s < _MIN_SHOT_S or lines_s([line]) < _MIN_SHOT_S
            if lines_s(both) <= (MAX_SHOT_S if tiny else _MERGE_S):
                return [*shots[:-1], _shot("close_up", both, last.prominence)]
        return [*shots, _shot("close_up", [line], 0.45)]

    def _picture(self, figure: Figure, texts: Sequence[tuple[str, str, int]], lead: str | None) -> list[Shot]:
        lines = [self._sourced(text, source, page) for text, source, page in texts]
        spoken = [self._host_line(lead), lines[0]] if lead else [lines[0]]
        if lines_s(spoken) > MAX_SHOT_S:
            spoken = [lines[0]]
        groups = [spoken, *([x] for x in lines[1:])]
        return [_shot("figure", group, 0.8, heading=figure.label, figure=figure.index) for group in groups]

    def _name(self) -> str:
        """What the work calls itself: the part of the title before a colon, if short; else ""."""
        head, *tail = _SUBTITLE.split(self._document.title, maxsplit=1)
        return head.strip() if tail and len(head.split()) <= 3 else ""

    def _closing(self) -> Scene:
        short = _SUBTITLE.split(self._document.title, maxsplit=1)[0].strip()
        if short and len(short) <= 64:
            text = f"That was {short}. There is more in the {self._noun} itself. Thank you for watching."
        else:
            short, text = "", f"There is much more in the {self._noun} itself. Thank you for watching."
        end = _shot(
            "end", [self._host_line(text)], 0.7, 1.0, heading="Thank you for watching", subheading=short
        )
        return Scene(title="Close", shots=(end,), last=True)

    def _host_line(self, text: str) -> Line:
        return Line(speaker=self._cast.host.id, text=text)

    def _claim_line(self, claim: Claim) -> Line:
        return self._sourced(claim.text, claim.source, claim.page)

    def _sourced(self, text: str, source: str, page: int) -> Line:
        span = self._spans.get(source, (0, 0))
        return Line(speaker=self._cast.expert.id, text=text, source=source, page=page, span=span)


def _names(authors: Sequence[str]) -> str:
    """Authors as one says them: all of up to two, else the first "and colleagues"."""
    if len(authors) > 2:
        return f"{authors[0]} and colleagues"
    return " and ".join(authors)
