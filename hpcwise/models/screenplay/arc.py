"""The arc of a film: which claims and pictures fill which scene, within a given time.

Scenes follow the arc hook, problem, idea, body (in the document's order), limits, close. A film is built
from the choice and measured; claims are added where time is left and taken where there is too little,
until the length fits or the document has nothing more to say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from hpcwise.models.screenplay.material import (
    Material,
    announces,
    fits,
    is_idea,
    is_limit,
    speaks_of_the_work,
)
from hpcwise.models.screenplay.pictures import Picture, is_overview
from hpcwise.models.screenplay.timing import AFTER_SHOT_S, expected_s

#: Seconds of film that one scene of the body takes, with its question.
BODY_SCENE_S = 24.0
#: Between two pictures, about.
SECONDS_A_PICTURE = 38.0
#: With so much time for the document's own, a picture is shown, in seconds.
_PICTURE_FROM_S = 20.0
_MAX_CLAIMS_A_SCENE = 7
#: "This paper presents", after another sentence on what it presents.
_ANNOUNCED_TWICE = 0.3
#: So much more alike may sentences be once there is nothing else left to say.
_ALMOST_SAME = 0.1


@dataclass(slots=True)
class Plot:
    """One scene to be: its claims (indices into the material) and pictures (indices too).

    pool: claims that may still come in; section: of the document, -1 for scenes out of several.
    """

    role: str
    heading: str
    weight: float
    pool: list[int]
    claims: list[int] = field(default_factory=list)
    pictures: list[int] = field(default_factory=list)
    section: int = -1


def _is_own(picture: Picture) -> bool:
    """Whether it is one of the person's own pictures."""
    return picture.figure.label.startswith("Picture")


def cost_s(text: str) -> float:
    """Seconds that a claim adds to a film, a share of the host's questions included."""
    return expected_s(text) + AFTER_SHOT_S + 0.9


class Arc:
    """The choice of claims for a film. `taken`: what the opening says already; `name`: of the work."""

    def __init__(
        self, material: Material, headings: list[str], content_s: float, taken: Sequence[str], name: str
    ) -> None:
        self.material = material
        self._headings = headings
        self._claims = material.claims
        self._by_order = {c.order: i for i, c in enumerate(self._claims)}
        self._name = name
        self._in_reserve: list[Plot] = []
        self._duplicate_above = material.duplicate_above
        self._hidden: set[int] = set()
        counts: dict[int, int] = {}
        for claim in self._claims:
            counts[claim.section] = counts.get(claim.section, 0) + 1
        seen: dict[int, int] = {}
        self._place: list[float] = []
        for claim in self._claims:
            self._place.append(seen.get(claim.section, 0) / counts[claim.section])
            seen[claim.section] = seen.get(claim.section, 0) + 1
        self._spoken = [i for i, c in enumerate(self._claims) if c.text in taken]
        #: A film of some length keeps one picture, whatever else has to go.
        self._keep = 1 if content_s >= _PICTURE_FROM_S else 0
        self.plots = self._outline(content_s)
        self._place_pictures(content_s)
        for plot in self.plots:
            if plot.pool and not plot.claims:
                self._add_to(plot, content_s)

    def _outline(self, content_s: float) -> list[Plot]:
        claims = self._claims
        free = [i for i in range(len(claims)) if i not in self._spoken]
        plots: list[Plot] = []
        front = [i for i in free if claims[i].role in ("abstract", "problem")]
        ideas = [i for i in front if is_idea(claims[i]) or claims[i].role == "abstract"]
        world = [i for i in front if not speaks_of_the_work(claims[i], self._name)]
        problem = [i for i in world if claims[i].role == "problem"] or world
        if problem and content_s > 18:
            plots.append(Plot("problem", "", 0.16, problem))
        if ideas:
            plots.append(Plot("idea", "", 0.16, [*ideas, *(i for i in problem if claims[i].leans)]))
        plots += self._body(free, content_s)
        late = [i for i in free if claims[i].role in ("limits", "discussion", "conclusion")]
        limits = [i for i in late if is_limit(claims[i]) or claims[i].role == "limits"]
        if limits and content_s > 50:
            plots.append(Plot("limits", "", 0.1, limits))
        rest = [i for i in late if i not in limits or not (content_s > 50)]
        rest = [i for i in rest if claims[i].role != "limits"]
        if rest and content_s > 25:
            plots.append(Plot("conclusion", "", 0.1, rest))
        if not plots and free:
            plots.append(Plot("body", "", 1.0, free))  # a short film of a text without sections
        return plots

    def _body(self, free: list[int], content_s: float) -> list[Plot]:
        """The sections with most to say, in the document's order."""
        claims = self._claims
        by_section: dict[int, list[int]] = {}
        for i in free:
            if claims[i].role in ("body", "method", "evidence", "related", "discussion"):
                by_section.setdefault(claims[i].section, []).append(i)
        worth: list[tuple[float, int]] = []
        for section, pool in by_section.items():
            best = sorted((claims[i].score for i in pool if not claims[i].leans), reverse=True)[:3]
            if not best:
                continue
            role = claims[pool[0]].role
            bonus = (
                0.5
                if role == "evidence"
                else (0.4 if role == "method" else (-0.6 if role == "related" else 0.0))
            )
            pictured = any(p.section == section for p in self.material.pictures)
            worth.append((sum(best) + bonus + 0.3 * pictured, section))
        count = max(1, round(0.55 * content_s / BODY_SCENE_S))
        ranked = [s for _, s in sorted(worth, key=lambda w: (-w[0], w[1]))]
        weight = 0.55 / max(1, min(count, len(ranked)))
        plots = {
            s: Plot(claims[by_section[s][0]].role, self._headings[s], weight, by_section[s], section=s)
            for s in ranked
        }
        self._in_reserve = [plots[s] for s in ranked[count:]]
        return [plots[s] for s in sorted(ranked[:count])]

    def widen(self) -> bool:
        """Open a scene on the next best section; False where none is left."""
        if not self._in_reserve:
            return False
        plot = self._in_reserve.pop(0)
        after = [n for n, p in enumerate(self.plots) if p.section >= 0 and p.section < plot.section]
        front = [n for n, p in enumerate(self.plots) if p.role in ("problem", "idea") and p.section < 0]
        self.plots.insert(max([*after, *front], default=-1) + 1, plot)
        return True

    def relax(self) -> bool:
        """Take what was said in other words too; False where that was allowed already."""
        if self._duplicate_above > self.material.duplicate_above:
            return False
        self._duplicate_above += _ALMOST_SAME
        return True

    def show(self) -> int | None:
        """Place one more picture, beside what stands nearest to it; None where all are shown. What is printed
        behind the last sentence is an appendix's."""
        placed = {i for plot in self.plots for i in plot.pictures} | self._hidden
        last_page = max((c.page for c in self._claims), default=0)
        body = [p for p in self.plots if p.role not in ("limits", "conclusion")]
        for index, picture in enumerate(self.material.pictures):
            if index in placed or picture.figure.page > last_page or not body:
                continue
            n = self._plot_for(index, picture, body)
            before = [p for p in body if p.section <= picture.section]
            plot = body[n] if n is not None else (before or body)[-1 if before else 0]
            plot.pictures.append(index)
            plot.pictures.sort(key=lambda i: self.material.pictures[i].order)
            for other in self.plots:
                other.claims = [i for i in other.claims if i not in self.material.echoes.get(index, ())]
            return index
        return None

    def hide(self, picture: int) -> None:
        """Take a picture out again for good: with it the film would be too long."""
        self._hidden.add(picture)
        for plot in self.plots:
            if picture in plot.pictures:
                plot.pictures.remove(picture)

    def _place_pictures(self, content_s: float) -> None:
        """Spread pictures over the scenes that speak of them: figures, then tables and equations."""
        want = max(1, round(content_s / SECONDS_A_PICTURE)) if content_s >= _PICTURE_FROM_S else 0
        body = [p for p in self.plots if p.role not in ("limits", "conclusion")]
        choice: list[tuple[int, int]] = []
        for index, picture in enumerate(self.material.pictures):
            plot = self._plot_for(index, picture, body)
            if plot is not None:
                choice.append((index, plot))
        if want and body and not any(self._rank(self.material.pictures[i]) < 2 for i, _ in choice):
            # Rather a picture of a part that is not told than a film without one.
            ranked = [(self._rank(p), p.order, i) for i, p in enumerate(self.material.pictures)]
            if ranked and min(ranked)[0] < 2:
                choice.append((min(ranked)[2], len(body) - 1))
        choice.sort(key=lambda entry: self._rank(self.material.pictures[entry[0]]))
        placed: dict[int, int] = {}
        for most in (1, 2, 3):
            for index, plot in choice:
                if sum(placed.values()) >= want:
                    break
                if placed.get(plot, 0) < most and index not in body[plot].pictures:
                    body[plot].pictures.append(index)
                    placed[plot] = placed.get(plot, 0) + 1
        for plot_ in body:
            plot_.pictures.sort(key=lambda i: self.material.pictures[i].order)

    @staticmethod
    def _rank(picture: Picture) -> int:
        """What a person brought along comes first; tables and equations, which say less at a glance, last."""
        if _is_own(picture):
            return 0
        return 2 if picture.figure.label.startswith(("Table", "Equation")) else 1

    def _plot_for(self, index: int, picture: Picture, body: list[Plot]) -> int | None:
        if _is_own(picture):
            return index % len(body) if body else None  # the document does not say where
        for n, plot in enumerate(body):
            if plot.heading and any(self._claims[i].section == picture.section for i in plot.pool):
                return n
        later = [n for n, p in enumerate(body) if p.role == "idea"]
        first = min((c.section for c in self._claims if c.role not in ("abstract", "problem")), default=10**6)
        early = picture.section < first and index == 0
        return later[0] if later and (early or is_overview(picture)) else None

    def _gain(self, i: int, role: str) -> float:
        """Marginal worth of a claim beside all that is chosen (maximal marginal relevance)."""
        near = max((self.material.likeness(i, j) for j in self._chosen()), default=0.0)
        if near > self._duplicate_above:
            return -1.0
        fit = fits(role, self._claims[i], self._place[i], self._name)
        if announces(self._claims[i]) and any(announces(self._claims[j]) for j in self._chosen()):
            fit -= _ANNOUNCED_TWICE
        return self._claims[i].score + fit - 0.45 * max(0.0, near)

    def _chosen(self) -> list[int]:
        return [*self._spoken, *(i for plot in self.plots for i in plot.claims)]

    def _addable(self, plot: Plot) -> list[int]:
        chosen = set(self._chosen())
        for picture in (i for p in self.plots for i in p.pictures):
            chosen |= self.material.echoes.get(picture, frozenset())
        out = []
        for i in plot.pool:
            claim = self._claims[i]
            if i in chosen:
                continue
            if claim.leans and self._by_order.get(claim.order - 1, -1) not in plot.claims:
                continue
            out.append(i)
        return out

    def _add_to(self, plot: Plot, room_s: float) -> int | None:
        fitting = [
            (self._gain(i, plot.role), -i)
            for i in self._addable(plot)
            if cost_s(self._claims[i].text) <= room_s
        ]
        gain, negative = max(fitting, default=(-1.0, 0))
        if gain <= -1.0:
            return None
        plot.claims.append(-negative)
        plot.claims.sort(key=lambda i: self._claims[i].order)
        return -negative

    def ban(self, claim: int) -> None:
        """Take a claim out again for good: with it the film would be too long."""
        for plot in self.plots:
            if claim in plot.claims:
                plot.claims.remove(claim)
            if claim in plot.pool:
                plot.pool.remove(claim)

    def grow(self, room_s: float) -> list[int]:
        """Add the one claim that helps most where a scene has less than its share; [] if none fits."""
        total = sum(cost_s(self._claims[i].text) for i in self._chosen()) or 1.0
        order = []
        for n, plot in enumerate(self.plots):
            share = sum(cost_s(self._claims[i].text) for i in plot.claims) / total
            full = len(plot.claims) >= _MAX_CLAIMS_A_SCENE
            order.append((full, share / plot.weight, n))
        for _, _, n in sorted(order):
            added = self._add_to(self.plots[n], room_s)
            if added is not None:
                return [added]
        return []

    def grow_by(self, room_s: float) -> list[int]:
        """Add claims for half of the room, one after the other, as `grow` would; [] if none fits."""
        out: list[int] = []
        used_s = 0.0
        while used_s < 0.5 * room_s and (added := self.grow(room_s)):
            out += added
            used_s += cost_s(self._claims[added[0]].text)
        return out

    def shrink(self, excess_s: float) -> bool:
        """Take out the claim whose loss fits best; the last one of a scene only when nothing else is left."""
        options: list[tuple[float, int, int]] = []
        for n, plot in enumerate(self.plots):
            for i in plot.claims:
                follower = self._by_order.get(self._claims[i].order + 1, -1)
                if follower in plot.claims and self._claims[follower].leans:
                    continue
                lone = len(plot.claims) == 1 and not plot.pictures
                miss = abs(cost_s(self._claims[i].text) - excess_s) * 0.05
                options.append((self._claims[i].score + miss + 2.0 * lone, n, i))
        pictured = [(n, plot) for n, plot in enumerate(self.plots) if plot.pictures]
        keeps = sum(len(plot.pictures) for _, plot in pictured) <= self._keep
        if options and (min(options)[0] < 2.0 or keeps):
            _, n, i = min(options)
            self.plots[n].claims.remove(i)
            return True
        if pictured:
            pictured[-1][1].pictures.pop()
            return True
        return False
