"""What a spoken line says and its source does not: numbers, names, units of size, a lost or added "not".

The check knows no meaning. It is a gate: a line of a language model that fails it is not spoken, and a
person who edits a line is told. What it lets pass can still be wrong; what it stops has something in it
that nobody can point to in the document.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from typing import Final

_BELOW_TWENTY: Final = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen"
)
_TENS_TEXT: Final = "twenty thirty forty fifty sixty seventy eighty ninety"
_UNITS: Final = tuple(_BELOW_TWENTY.split())
_TENS: Final = tuple(_TENS_TEXT.split())
_VALUES: Final = {word: i for i, word in enumerate(_UNITS)} | {
    word: 10 * i for i, word in enumerate(_TENS, start=2)
}
_SCALES: Final = {"hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9}
#: Number words that are often no numbers: "this one", "zero in on".
_LOOSE: Final = {"one"}
_FRACTIONS: Final = {
    "half": ("half", "50%", "50 percent", "0.5", "1/2"),
    "twice": ("twice", "double", "two times", "2x", "2 x", "2×"),
    "double": ("twice", "double", "doubl", "2x", "2×"),
    "triple": ("triple", "tripl", "three times", "3x", "3×"),
}
_DIGITS = re.compile(r"\d[\d,]*(?:\.\d+)?")
_WORD = re.compile(r"[^\W_][\w'’-]*")
_PERCENT = re.compile(r"(\d[\d,]*(?:\.\d+)?)\s*(?:%|percent|per cent)")
_NOT = re.compile(
    r"\b(?:not(?! shown\))|no|never|cannot|can't|without|neither|nor|none|unable|fails? to)\b|n['’]t\b", re.I
)
_OPENING_WORDS: Final = (
    "a about after again all also although among an and another any are as at authors because before being "
    "besides between both but by can compared could did do does during each either even every finally first "
    "for from given had has have he her here his how however i if in indeed instead into is it its just "
    "last later less let like many maybe more most much my neither no none not nothing now of okay on once "
    "one only or other others our out over people perhaps put rather right second several she similarly "
    "since so some something still such than that the their them then there these they third this those "
    "though through thus to together today too under unless unlike until up using very was we well were what "
    "when where whereas whether which while who whose why will with within without would yes yet you your "
    "simply overall exactly basically think imagine hello welcome thank thanks today's good right tell set "
    "walk help show any interesting nice next before every go give"
)
#: Words that may open a sentence of any line; a name is none of them.
_OPENERS: Final = frozenset(_OPENING_WORDS.split())
_ALWAYS: Final = frozenset(
    {"i", "figure", "table", "equation", "picture", "slide", "fig", "authors", "english", "i'm", "i'd"}
    | {"panel", "left", "top", "bottom", "upper", "lower"}
)


def departures(text: str, source: str, known: Iterable[str] = ()) -> list[str]:
    """What `text` says and `source` does not; empty for a faithful line, and for one without a source.

    known: texts whose names may be said too (the title, the cast). Numbers must stand in the source itself.
    """
    if not source:
        return []
    out = [f"number {shown} is not in the source" for shown in _foreign_numbers(text, source)]
    percent = {_plain(m) for m in _PERCENT.findall(source)}
    out += [
        f"{shown} percent is no percentage in the source"
        for shown in _PERCENT.findall(text)
        if _plain(shown) not in percent and _plain(shown) in set(_values(source))
    ]
    for word, roots in _FRACTIONS.items():
        if re.search(rf"\b{word}\b", text, re.I) and not any(r in source.lower() for r in roots):
            out.append(f"number {word} is not in the source")
    out += [f"name {name} is not in the source" for name in names(text, [source, *known])]
    if bool(_NOT.search(text)) != bool(_NOT.search(source)):
        out.append('a "not" is in one of line and source only')
    return out


def strange_numbers(text: str, known: Iterable[str]) -> list[str]:
    """Numbers of a line that makes no claim and that none of the known texts (title, figures) holds."""
    return list(_foreign_numbers(text, " ".join(known)))


def names(text: str, allowed: Iterable[str]) -> list[str]:
    """Words that look like names (a capital inside a sentence or a word, letters with digits) and stand in
    none of the allowed texts."""
    there: set[str] = set()
    for other in allowed:
        for word in _WORD.findall(other):
            there.update(_forms(word))
    out = []
    for match in _WORD.finditer(text):
        word = match.group()
        opens = match.start() == 0 or bool(re.search(r"[.?!:]\s*[\"“]?$", text[: match.start()]))
        inner = any(c.isupper() for c in word[1:])
        if not (word[0].isupper() or inner) or word.lower() in _ALWAYS or _is_there(word, there):
            continue
        if opens and not inner and (_opener(word) in _OPENERS or word.lower() in _VALUES):
            continue
        out.append(word)
    return out


def _opener(word: str) -> str:
    """ "Let's" -> "let"."""
    return re.sub(r"['’]\w+$", "", word.lower())


def _forms(word: str) -> set[str]:
    low = word.lower().replace("’", "'")
    bare = re.sub(r"'s?$", "", low)
    return {low, bare, *bare.split("-")}


def _is_there(word: str, there: Collection[str]) -> bool:
    bare = re.sub(r"'s?$", "", word.lower().replace("’", "'"))
    if bare in there or bare + "s" in there or bare.removesuffix("s") in there:
        return True
    return "-" in bare and all(part in there for part in bare.split("-") if part)


def _foreign_numbers(text: str, source: str) -> Iterator[str]:
    there = set(_values(source))
    for value, shown, loose in _numbers(text):
        if value not in there and not loose:
            yield shown


def _values(text: str) -> Iterator[str]:
    for value, _, _ in _numbers(text):
        yield value


def _plain(digits: str) -> str:
    plain = digits.replace(",", "").rstrip(".")
    if "." in plain:
        plain = plain.rstrip("0").rstrip(".")
    return plain.lstrip("0") or "0"


def _numbers(text: str) -> Iterator[tuple[str, str, bool]]:
    """(value, as written, whether it need not be a number) of every number, in digits or in words."""
    for match in _DIGITS.finditer(text):
        after = re.match(r"\s*(thousand|million|billion)\b", text[match.end() :])
        yield _plain(match.group()), match.group().rstrip(".,"), False
        if after and "." not in match.group():
            yield str(int(_plain(match.group())) * _SCALES[after.group(1)]), match.group(), True
    words = [(m.group().lower(), m.group()) for m in re.finditer(r"[A-Za-z]+", text)]
    i = 0
    while i < len(words):
        low, shown = words[i]
        if low not in _VALUES:
            i += 1
            continue
        value, used = _VALUES[low], 1
        if low in _TENS and i + 1 < len(words) and 0 < _VALUES.get(words[i + 1][0], 0) < 10:
            value, used = value + _VALUES[words[i + 1][0]], 2
        if i + used < len(words) and words[i + used][0] in _SCALES:
            value, used = value * _SCALES[words[i + used][0]], used + 1
        yield str(value), shown, low in _LOOSE and used == 1
        i += used
