"""Whose face is seen while lines are said: the kinds of shots of people, varied without fuss.

Only kinds change, never lines or lengths, and a shot's kind depends on what stands before it alone: a scene
that is streamed before the others are known is the same as in the whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from hpcwise.core.screenplay import Scene, Shot, ShotKind

#: Shots that last longer are taken from several sides by those who draw them, in seconds; what follows such
#: a shot begins close again, so that no two takes in a row look alike.
ONE_SIDE_S = 7.0
#: More runs of pages than this are told by the first and the last page.
_MOST_RUNS = 6


def directed(scenes: Sequence[Scene]) -> list[Scene]:
    """The scenes, with some questions across the table as split screens and some answers over the shoulder.

    A speaker is seen close the first time: then the name is shown.
    """
    met: set[str] = set()
    exchanges = 0
    out: list[Scene] = []
    for number, scene in enumerate(scenes):
        shots: list[Shot] = []
        split = False
        for shot in scene.shots:
            speakers = [line.speaker for line in shot.lines]
            kind = shot.kind
            if kind == "two_shot":
                exchanges += 1
                across = len(set(speakers)) > 1 or (bool(shots) and exchanges % 3 == 0)
                if across and number and not split and not _after_card(shots):
                    kind, split = "split", True
            elif kind == "close_up" and speakers[0] in met:
                kind = _answer(shots, speakers[0], exchanges)
            if kind == "close_up":
                met.update(speakers)
            shots.append(msgspec.structs.replace(shot, kind=kind) if kind in _KINDS else shot)
        out.append(msgspec.structs.replace(scene, shots=tuple(shots)))
    return out


_KINDS: tuple[ShotKind, ...] = ("two_shot", "close_up", "over_shoulder", "split")


def _after_card(shots: Sequence[Shot]) -> bool:
    """Whether a scene starts here, or a card was shown: then both at their table say where we are."""
    return not shots or shots[-1].kind not in _KINDS


def _answer(shots: Sequence[Shot], speaker: str, exchanges: int) -> ShotKind:
    """How somebody whom we know is seen: each time otherwise than in the shot before."""
    before = shots[-1] if shots else None
    if before is None or before.kind not in _KINDS:
        return "close_up"
    if before.lines[-1].speaker == speaker:  # goes on
        return "over_shoulder" if before.kind == "close_up" and before.expected_s < ONE_SIDE_S else "close_up"
    return "over_shoulder" if exchanges % 2 == 0 and before.kind == "two_shot" else "close_up"


def pages_said(scenes: Iterable[Scene]) -> list[int]:
    """Pages on which the spoken claims stand, in order."""
    return sorted({x.page for scene in scenes for s in scene.shots for x in s.lines if x.source and x.page})


def runs(numbers: Sequence[int]) -> str:
    """ "1–3, 7 and 9": pages as one writes them; "1 to 44" where that would be a long list."""
    parts: list[str] = []
    start = 0
    for i, number in enumerate(numbers):
        if i + 1 < len(numbers) and numbers[i + 1] == number + 1:
            continue
        first = numbers[start]
        parts += [str(first)] if number == first else [f"{first}–{number}"]
        start = i + 1
    if len(parts) > _MOST_RUNS:
        return f"{numbers[0]} to {numbers[-1]}"
    return _listed(parts)


def labelled(labels: Iterable[str]) -> list[str]:
    """ "Figures 2 and 5", "Table 1": printed labels, those of a kind together."""
    by_kind: dict[str, list[str]] = {}
    for label in labels:
        kind, _, number = label.rpartition(" ")
        if kind in ("Figure", "Table", "Equation"):
            by_kind.setdefault(kind, []).append(number)
    return [f"{kind}{'s' * (len(n) > 1)} {_listed(n)}" for kind, n in by_kind.items()]


def _listed(parts: Sequence[str]) -> str:
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)
