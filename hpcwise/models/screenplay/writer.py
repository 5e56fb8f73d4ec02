"""Claims and pictures -> scenes of shots with both voices."""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from hpcwise.core.document import Document, Figure
from hpcwise.core.errors import UsageError
from hpcwise.core.screenplay import Character, Line, Scene, Shot
from hpcwise.models.screenplay.arc import Arc, Plot
from hpcwise.models.screenplay.direction import directed, labelled, pages_said, runs
from hpcwise.models.screenplay.embed import Embedder, Step
from hpcwise.models.screenplay.host import Host
from hpcwise.models.screenplay.material import (
    Claim,
    Material,
    claims_of,
    gather,
    hook_of,
    is_finding,
    is_idea,
    is_limit,
    is_problem,
    section_roles,
)
from hpcwise.models.screenplay.questions import common_words
from hpcwise.models.screenplay.shots import MAX_SHOT_S, ShotMaker, scenes_s
from hpcwise.models.screenplay.speakable import without_also
from hpcwise.models.screenplay.timing import expected_s

#: A title that takes longer to say is not the first thing that is said: the first sound comes sooner.
_LONG_TITLE_S = 4.5
#: From here on longer sentences are taken too: there is time for them, and short ones run out.
_LONG_FILM_S = 480.0
#: Shorter films are over before a chapter card has said what it is.
_CHAPTERS_FROM_S = 200.0
_NUMBER_CUE = re.compile(r"\b\d+(?:\.\d+)? (?:percent|times|percentage points|hours|billion|million)\b")
_EXAMPLE = re.compile(
    r"example|illustration|applications\b|^application|use case|case stud|demonstration", re.I
)
_PROBLEM = re.compile(r"problem|motivation|challenge", re.I)
_SUBTITLE = re.compile(r":\s|\s[–—-]\s")
#: Claims are added several at a time while more than this is missing, in seconds.
_IN_BULK_S = 60.0
# A claim longer than this leaves no room in a shot for a short question before it.
_WITH_QUESTION_S = 11.0
_PAPER = re.compile(
    r"abstract|introduction|related work|methods?\b|results?\b|discussion|conclusion|experiment|evaluation",
    re.I,
)
_THIS_PAPER = re.compile(r"\b(?:this|the present|our) paper\b", re.I)
_SCENE_TITLES = {
    "problem": "The problem",
    "background": "First things first",
    "idea": "The idea",
    "core": "The heart of it",
    "limits": "Limits",
    "conclusion": "What it means",
}


class Cast(msgspec.Struct, frozen=True):
    """Who asks and who answers. sceptic: asks for evidence and limits; guest: answers beside the expert."""

    host: Character
    expert: Character
    sceptic: Character | None = None
    guest: Character | None = None


def cast_of(characters: Sequence[Character]) -> Cast:
    """Everybody by role, else by order; raises UsageError where there are no two."""
    if len({c.id for c in characters}) < 2:
        raise UsageError(f"cast: {len(characters)} given; name two characters, a host and an expert")
    host = next((c for c in characters if "host" in c.role.lower()), characters[0])
    others = [c for c in characters if c.id != host.id]
    expert = next((c for c in others if re.search("expert", c.role, re.I)), others[0])
    rest = [c for c in others if c.id != expert.id]
    sceptic = next((c for c in rest if re.search("scepti|skepti", c.role, re.I)), None)
    guest = next((c for c in rest if sceptic is None or c.id != sceptic.id), None)
    return Cast(host=host, expert=expert, sceptic=sceptic, guest=guest)


class Writer(ShotMaker):
    """Writes one film. `opening` needs no reading for meaning; `rest` does."""

    def __init__(self, document: Document, cast: Sequence[Character], duration_s: float, seed: int) -> None:
        super().__init__(document, cast)
        self._document, self._duration_s, self._seed = document, duration_s, seed
        self._cast = cast_of(cast)
        self._common = common_words(document)
        self._hook = hook_of(document, 190 if duration_s >= 60 else 100)
        self._number = self._striking_number() if duration_s >= 75 else None
        heads = {s.heading for s in document.sections}
        parts = sum(bool(_PAPER.match(h)) for h in heads)
        named = any(_THIS_PAPER.search(x.text) for s in document.sections for x in s.sentences)
        self._noun = document.kind or ("paper" if parts > 1 or named else "document")

    def opening(self) -> Scene:
        """Welcome, title card and a hook. A long title is said second, so that the first sound comes soon."""
        return directed([self._opening()])[0]

    def _opening(self) -> Scene:
        title, authors = self._document.title, self._document.authors
        me, you = self._cast.host, self._cast.expert
        heading = title or f"A {self._noun}, discussed"
        named = re.sub(r"\s+", " ", re.sub(r"<[^<>]{1,20}>", "", title)).rstrip(" .")
        if self._duration_s < 45:
            named = _SUBTITLE.split(named, maxsplit=1)[0]
        by = _names(authors)
        # "Today's document is Duck" says something else.
        told = "topic" if self._noun == "document" and len(named.split()) < 3 else self._noun
        stated = f"Today's {told} is {named}" if named else f"Today we open a {self._noun} together"
        full = stated + (f", by {by}" if named and by and self._duration_s >= 45 else "")
        subheading = ", ".join(authors[:6]) + (" et al." if len(authors) > 6 else "")
        titled = [self._host_line(_ended(f"Welcome. {full}"))]
        shots: list[Shot] = []
        tells = self._hook is not None and (is_idea(self._hook) or self._name() in self._hook.text)
        asked = f"what is this {self._noun} about?" if tells else "where do they start?"
        asked = "let's see what is in it." if self._hook is None else asked
        others = [c.name for c in (you, self._cast.guest, self._cast.sceptic) if c is not None]
        if self._length([titled[0]]) > _LONG_TITLE_S:
            # Whoever plays a film while it is made waits for this shot: who else is here is said later, and
            # one face is drawn in three quarters of the time of two.
            shots.append(self._shot("close_up", [self._host_line(f"Welcome. I am {me.name}.")], 1.0))
            titled = [self._host_line(_ended(full))]
            if self._length(titled) > MAX_SHOT_S:
                titled = [self._host_line(_ended(stated))]
            if self._duration_s < 45:
                asked = f"{you.name}, {asked}"
            elif len(others) == 1:
                asked = f"{you.name} is with me and has read it. {asked[0].upper()}{asked[1:]}"
            else:
                asked = f"With me are {_listed(others)}. {you.name}, {asked}"
        elif len(others) == 1:
            asked = f"I am {me.name}, and {you.name} has read it. {you.name}, {asked}"
        else:
            asked = f"I am {me.name}, and with me are {_listed(others)}. {you.name}, {asked}"
        shots.append(self._shot("title", titled, 1.0, heading=heading, subheading=subheading))
        if self._hook is None:
            shots.append(self._shot("two_shot", [self._host_line(asked)], 1.0))
        else:
            shots += self._question_and_claim(self._host_line(asked), self._hook, 1.0)
        if self._number is not None:
            asking = self._host_line("Give me one number that stuck with you.")
            shots += self._question_and_claim(asking, self._number, 0.8)
        return Scene(title="Opening", shots=self._ended(shots))

    def rest(self, embed: Embedder, step: Step) -> list[Scene]:
        """All other scenes; the whole film lasts as long as asked, or as the document has to say."""
        opening = self._opening()
        closing = self._closing()
        content_s = max(0.0, self._duration_s - scenes_s([opening, closing]))
        material = gather(self._document, embed, step, self._duration_s >= _LONG_FILM_S)
        headings = [s.heading for s in self._document.sections]
        taken = [claim.text for claim in (self._hook, self._number) if claim is not None]
        arc = Arc(material, headings, content_s, taken, self._name())
        slack_s = max(1.0, 0.012 * self._duration_s)
        while (length_s := scenes_s(self._film(arc, material))) > content_s + slack_s:
            step(40, 100, "choose scenes")
            if not arc.shrink(length_s - content_s):
                break
        while length_s < content_s - slack_s:
            step(60, 100, "choose scenes")
            missing_s = content_s + slack_s - length_s + 1.0
            added = arc.grow_by(missing_s) if missing_s > _IN_BULK_S else arc.grow(missing_s)
            if not added:
                if arc.widen() or arc.relax():
                    continue
                length_s = self._with_pictures(arc, material, content_s + slack_s)
                break
            longer_s = scenes_s(self._film(arc, material))
            if longer_s > content_s + slack_s:
                for claim in added:
                    arc.ban(claim)
            else:
                length_s = longer_s
        film = self._film(arc, material)
        closing = _with_notes(closing, self._sources([opening, *film]))
        paced = self._paced([*film, closing], content_s + scenes_s([closing]))
        return directed([opening, *paced])[1:]

    def _with_pictures(self, arc: Arc, material: Material, most_s: float) -> float:
        """Seconds of the film with all pictures that there is time for."""
        length_s = scenes_s(self._film(arc, material))
        while length_s < most_s and (picture := arc.show()) is not None:
            if (longer_s := scenes_s(self._film(arc, material))) > most_s:
                arc.hide(picture)
            else:
                length_s = longer_s
        return length_s

    def _film(self, arc: Arc, material: Material) -> list[Scene]:
        """Scenes of the current choice; a new host each time, so that lines do not depend on the search."""
        host = Host(self._seed, self._common, self._document.title)
        said = {claim.text for claim in (self._hook, self._number) if claim is not None}
        # What a picture shows is said over it, and by nobody else.
        shown = {t[1] for p in arc.plots for i in p.pictures for t in material.pictures[i].texts}
        chaptered = self._duration_s >= _CHAPTERS_FROM_S
        scenes: list[Scene] = []
        plots = [plot for plot in arc.plots if plot.claims or plot.pictures]
        for plot, turn in zip(plots, self._turns(plots), strict=True):
            number = len(scenes) + 1 if chaptered else 0
            scene = self._scene(plot, material, host, said, shown, number, turn)
            if scene.shots:
                scenes.append(scene)
        return scenes

    def _turns(self, plots: Sequence[Plot]) -> list[tuple[Character, Character]]:
        """Who asks and who answers in each scene: the sceptic wants evidence and limits, the guest tells of
        every other part. Where there is none of these, each takes every other scene: all are heard."""
        host, sceptic, guest = self._cast.host, self._cast.sceptic, self._cast.guest
        critical = [plot.role in ("evidence", "limits", "discussion") for plot in plots]
        of_guest = [plot.section >= 0 and plot.section % 2 == 1 for plot in plots]
        other = [(len(plots) - n) % 2 == 1 for n in range(len(plots))]
        critical = critical if any(critical) else other
        of_guest = of_guest if any(of_guest) or any(plot.pictures for plot in plots) else other
        return [
            (sceptic if sceptic and asks else host, guest if guest and tells else self._cast.expert)
            for asks, tells in zip(critical, of_guest, strict=True)
        ]

    def _scene(
        self,
        plot: Plot,
        material: Material,
        host: Host,
        said: set[str],
        shown: set[str],
        number: int,
        turn: tuple[Character, Character],
    ) -> Scene:
        beats: list[tuple[int, int, int]] = [(material.claims[i].order, 0, i) for i in plot.claims]
        beats += [(material.pictures[i].order, 1, i) for i in plot.pictures]
        beats.sort()
        if beats and beats[0][1] == 1 and len(beats) > 1 and beats[1][1] == 0:
            beats[0], beats[1] = beats[1], beats[0]
        asker, teller = turn
        kind = self._kind_of(plot, material)
        title = _SCENE_TITLES.get(kind) or plot.heading or "More"
        shots: list[Shot] = []
        since_host = 0
        before = -1
        for _, is_picture, i in beats:
            if is_picture:
                texts = [t for t in material.pictures[i].texts if t[0] not in said]
                if texts:
                    lead = host.shows() if shots else host.opens(kind, plot.heading)
                    teller_ = self._cast.guest or teller
                    shots += self._picture(material.pictures[i].figure, texts, lead, teller_)
                    said.update(text for text, _, _ in texts)
                since_host = 0
                continue
            claim = material.claims[i]
            if claim.text in said or claim.source in shown:
                continue
            said.add(claim.text)
            line = self._claim_line(claim, teller, follows=claim.order == before + 1)
            before = claim.order
            if not shots:
                question = host.opens(kind, plot.heading)
                shots += self._ask(question, line, asker, title if number else "", number)
                since_host = 1
            elif since_host >= 2 and not claim.leans and expected_s(claim.text) < _WITH_QUESTION_S:
                shots += self._ask(host.asks(claim.text), line, asker)
                since_host = 1
            else:
                shots = self._continue(shots, line)
                since_host += 1
        return Scene(title=title, shots=self._ended(shots))

    def _kind_of(self, plot: Plot, material: Material) -> str:
        """The plot's role; an example's apart from other evidence, and only what really is a problem or a
        finding is asked for as one."""
        claims = [material.claims[i] for i in plot.claims]
        if plot.role == "evidence" and _EXAMPLE.search(plot.heading):
            return "example"
        named = any(_PROBLEM.search(self._document.sections[c.section].heading) for c in claims)
        if plot.role == "problem" and not named and not any(is_problem(c) for c in claims[:2]):
            return "background"
        if plot.role == "evidence" and not any(is_finding(c) for c in claims):
            return "body"
        if plot.role == "limits" and not any(is_limit(c) or c.role == "limits" for c in claims):
            return "body"
        if plot.role == "idea" and not plot.pictures and not any(is_idea(c) for c in claims):
            return "core"
        return plot.role

    def _ask(
        self, question: str | None, answer: Line, asker: Character, chapter: str = "", number: int = 0
    ) -> list[Shot]:
        if question is None:
            return [self._shot("close_up", [answer], 0.45)]
        asked = Line(speaker=asker.id, text=question)
        if chapter:
            card = self._shot("chapter", [asked], 0.6, heading=chapter, subheading=f"Part {number}")
            return [card, self._shot("close_up", [answer], 0.45)]
        return self._exchange(asked, answer, 0.5)

    def _question_and_claim(self, question: Line, claim: Claim, prominence: float) -> list[Shot]:
        return self._exchange(question, self._claim_line(claim, self._cast.expert), prominence)

    def _picture(
        self, figure: Figure, texts: Sequence[tuple[str, str, int]], lead: str | None, teller: Character
    ) -> list[Shot]:
        lines = [self.sourced(teller.id, text, source, page) for text, source, page in texts]
        spoken = [self._host_line(lead), lines[0]] if lead else [lines[0]]
        if self._length(spoken) > MAX_SHOT_S:
            spoken = [lines[0]]
        groups = [spoken]
        for line in lines[1:]:
            together = [*groups[-1], line]
            if self._length(together) <= MAX_SHOT_S:  # the picture stays where it is
                groups[-1] = together
            else:
                groups.append([line])
        return [
            self._shot("figure", group, 0.8, heading=figure.label, figure=figure.index) for group in groups
        ]

    def _name(self) -> str:
        """What the work calls itself: the part of the title before a colon, if short; else ""."""
        head, *tail = _SUBTITLE.split(self._document.title, maxsplit=1)
        return head.strip() if tail and len(head.split()) <= 3 else ""

    def _striking_number(self) -> Claim | None:
        """The shortest finding with a number out of abstract or conclusion, which stands on its own."""
        found = [
            claim
            for claim in claims_of(self._telling_parts())
            if claim.role in ("abstract", "conclusion", "problem")
            and _NUMBER_CUE.search(claim.text)
            and is_finding(claim)
            and not claim.leans
            and len(claim.text) <= 150
            and (self._hook is None or claim.text != self._hook.text)
        ]
        return min(found, key=lambda c: (c.role != "abstract", c.role != "conclusion", c.order), default=None)

    def _telling_parts(self) -> Document:
        """Abstract, introduction and conclusions: small enough to be read before the first scene."""
        roles = section_roles(self._document)
        wanted = ("abstract", "conclusion", "problem")
        parts = [s for s, role in zip(self._document.sections, roles, strict=True) if role in wanted]
        return msgspec.structs.replace(self._document, sections=tuple(parts))

    def _closing(self) -> Scene:
        short = _SUBTITLE.split(self._document.title, maxsplit=1)[0].strip()
        if short and len(short) <= 64:
            text = _ended(f"That was {short}")
            text += f" There is more in the {self._noun} itself. Thank you for watching."
        else:
            text = f"There is much more in the {self._noun} itself. Thank you for watching."
        named = self._document.title.strip()
        end = self._shot(
            "end", [self._host_line(text)], 0.7, 1.0, heading="Thank you for watching", subheading=named
        )
        return Scene(title="Close", shots=(end,), last=True)

    def _sources(self, scenes: Sequence[Scene]) -> tuple[str, ...]:
        """Lines of the end card: who wrote it, and where in it the claims and pictures stand."""
        authors = self._document.authors
        by = ", ".join(authors[:4]) + (" et al." if len(authors) > 4 else "")
        pages = pages_said(scenes)
        unit = "slide" if self._noun == "talk" else "page"
        many = self._document.n_pages > 1 and bool(pages)
        where = f"{unit}{'s' * (len(pages) > 1)} {runs(pages)} of {self._document.n_pages}" if many else ""
        shown = dict.fromkeys(s.heading for scene in scenes for s in scene.shots if s.figure is not None)
        parts = [where, *labelled(shown)] if unit == "page" else [where]
        said = ", ".join(part for part in parts if part)
        return tuple(text for text in (by, f"Said and shown here: {said}" if said else "") if text)

    def _host_line(self, text: str) -> Line:
        return Line(speaker=self._cast.host.id, text=text)

    def _claim_line(self, claim: Claim, teller: Character, *, follows: bool = False) -> Line:
        text = claim.text if follows else without_also(claim.text)
        return self.sourced(teller.id, text, claim.source, claim.page)


def _with_notes(closing: Scene, notes: tuple[str, ...]) -> Scene:
    (end,) = closing.shots
    return msgspec.structs.replace(closing, shots=(msgspec.structs.replace(end, notes=notes),))


def _ended(text: str) -> str:
    """With a full stop, where its last word brings no mark of its own: "Does it matter?"."""
    return text if text.endswith(("?", "!")) else f"{text}."


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:-1]) + " and " + names[-1] if len(names) > 1 else names[0]


def _names(authors: Sequence[str]) -> str:
    """Authors as one says them: all of up to two, else the first "and colleagues"."""
    return f"{authors[0]} and colleagues" if len(authors) > 2 else " and ".join(authors)
