"""Words of a script and of a transcript on one footing, and how far apart they are.

What sounds the same is written the same on both sides: no case and no punctuation; numbers as digits
("twenty-five" -> 25, "2.0" -> 2); % as percent and mm as millimeters; hyphens and slashes as blanks;
British spelling as American. Names that one side writes in one word and the other in two or more
("LayoutParser", "layout parser"; "DL", "D L") are equal when their letters are. Nothing else is: a name
that is heard as another counts as an error.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_ONES_TEXT = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen"
)
_ONES = {word: i for i, word in enumerate(_ONES_TEXT.split())}
_TENS_TEXT = "twenty thirty forty fifty sixty seventy eighty ninety"
_TENS = {word: 10 * i for i, word in enumerate(_TENS_TEXT.split(), 2)}
_SCALES = {"hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9}
_SPELLING = (
    (re.compile(r"(?<=[a-z]{2})isation"), "ization"),
    (re.compile(r"(?<=[a-z]{2}[a-vx-z])is(e|ed|es|ing)$"), r"iz\1"),
    (re.compile(r"(?<=[a-z]{3})our(s|ed|ing|al|able)?$"), r"or\1"),
    (re.compile(r"(?<=[a-z]{3})tre(s)?$"), r"ter\1"),
    (re.compile(r"ll(ed|ing|er)$"), r"l\1"),
    (re.compile(r"(?<=l)ys(e|ed|es|ing)$"), r"yz\1"),
)
#: Units as they are written, as they are said.
_UNITS = {
    "mm": "millimeters", "millimeter": "millimeters", "cm": "centimeters", "centimeter": "centimeters",
    "km": "kilometers", "kilometer": "kilometers", "kg": "kilograms", "kilogram": "kilograms",
    "ms": "milliseconds", "millisecond": "milliseconds", "kwh": "kilowatthours", "gb": "gigabytes",
    "gigabyte": "gigabytes", "mb": "megabytes", "megabyte": "megabytes", "hz": "hertz",
}  # fmt: skip
#: Longest run of words that is compared as one name.
_MOST_JOINED = 5


def words(text: str) -> list[str]:
    """The words of a text in the common form."""
    text = text.lower().replace("’", "'").replace("%", " percent ").replace("&", " and ")
    text = re.sub(r"(?<=\d),(?=\d{3})", "", text)
    tokens = re.findall(r"\d+(?:\.\d+)?|[^\W\d_]+(?:'[^\W\d_]+)?", re.sub(r"[-–—/_]", " ", text))
    out: list[str] = []
    i = 0
    while i < len(tokens):
        value, used = _number(tokens, i)
        if used:
            out.append(value)
            i += used
            continue
        word = tokens[i].replace("'", "")
        for pattern, american in _SPELLING:
            word = pattern.sub(american, word)
        if re.fullmatch(r"\d+\.\d+", word):
            word = word.rstrip("0").rstrip(".")
        out.append(_UNITS.get(word, word))
        i += 1
    return out


def _number(tokens: Sequence[str], i: int) -> tuple[str, int]:
    """Digits of the number that begins at i, and how many tokens it takes; "", 0 where none does."""
    total, used = 0, 0
    while i + used < len(tokens):
        token = tokens[i + used]
        if token in _TENS and (used == 0 or total % 100 == 0):
            total += _TENS[token]
        elif token in _ONES and (used == 0 or (_ONES[token] < 10 and total % 10 == 0 and total > 0)):
            total += _ONES[token]
        elif token in _SCALES and used:
            total *= _SCALES[token]
        else:
            break
        used += 1
    return (str(total), used) if used else ("", 0)


@dataclass(frozen=True, slots=True)
class Aligned:
    """errors: substitutions, insertions and deletions; pairs: (index in the script, in the transcript) of
    words that are equal; wrong: what was said and what was heard, for people."""

    errors: int
    pairs: tuple[tuple[int, int], ...]
    wrong: tuple[tuple[str, str], ...]


def align(said: Sequence[str], heard: Sequence[str]) -> Aligned:
    """The alignment with the fewest errors; a run of words equal in its letters to another costs nothing."""
    n, m = len(said), len(heard)
    cost = np.full((n + 1, m + 1), 10**9, np.int64)
    step = np.zeros((n + 1, m + 1, 2), np.int8)
    cost[0, 0] = 0
    for i in range(n + 1):
        for j in range(m + 1):
            here = cost[i, j]
            if i < n and here + 1 < cost[i + 1, j]:
                cost[i + 1, j], step[i + 1, j] = here + 1, (1, 0)
            if j < m and here + 1 < cost[i, j + 1]:
                cost[i, j + 1], step[i, j + 1] = here + 1, (0, 1)
            if i < n and j < m:
                other = here + (said[i] != heard[j])
                if other < cost[i + 1, j + 1] or (other == cost[i + 1, j + 1] and said[i] == heard[j]):
                    cost[i + 1, j + 1], step[i + 1, j + 1] = other, (1, 1)
                for a, b in _joined(said, heard, i, j):
                    if here < cost[i + a, j + b]:
                        cost[i + a, j + b], step[i + a, j + b] = here, (a, b)
    pairs: list[tuple[int, int]] = []
    wrong: list[tuple[str, str]] = []
    i, j = n, m
    while i or j:
        a, b = int(step[i, j, 0]), int(step[i, j, 1])
        if cost[i, j] == cost[i - a, j - b]:
            pairs.append((i - a, j - b))
        else:
            wrong.append((" ".join(said[i - a : i]), " ".join(heard[j - b : j])))
        i, j = i - a, j - b
    return Aligned(int(cost[n, m]), tuple(pairs[::-1]), tuple(wrong[::-1]))


def _joined(said: Sequence[str], heard: Sequence[str], i: int, j: int) -> list[tuple[int, int]]:
    """Lengths (a, b), one of them 1, for which a words of one side are b words of the other written apart."""
    found = []
    for k in range(2, _MOST_JOINED + 1):
        if j + k <= len(heard) and "".join(heard[j : j + k]) == said[i]:
            found.append((1, k))
        if i + k <= len(said) and "".join(said[i : i + k]) == heard[j]:
            found.append((k, 1))
    return found
