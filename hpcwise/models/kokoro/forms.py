"""Written forms that are read as a whole: dates, times, ratios, fractions, sizes, functions, powers."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

_MONTHS: Final = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
    "November", "December",
)  # fmt: skip
_PARTS: Final = {2: "half", 3: "third", 4: "quarter", 5: "fifth", 6: "sixth", 8: "eighth", 10: "tenth"}
_ROMAN: Final = {
    "I": 1, "II": 2, "III": 3, "IV": 4, "V": 5, "VI": 6, "VII": 7, "VIII": 8, "IX": 9, "X": 10, "XI": 11,
    "XII": 12, "XIII": 13, "XIV": 14, "XV": 15,
}  # fmt: skip
#: Words behind which a Roman numeral is a number.
_NUMBERED: Final = frozenset({
    "table", "figure", "section", "part", "chapter", "appendix", "phase", "type", "stage", "war", "theorem",
    "algorithm", "volume", "class",
})  # fmt: skip
_N: Final = r"\d+(?:,\d{3})*(?:\.\d+)?"
_FUNCTION: Final = re.compile(r"([A-Za-zα-ωΑ-Ω]|log|exp|sin|cos|min|max)\((.+?)\)?")


def ordinal(day: int) -> str:
    """1 as 1st."""
    ending = "th" if 10 <= day % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(day % 10, "th")
    return f"{day}{ending}"


def _date(m: re.Match[str]) -> str:
    year, month, day = (int(part) for part in m.groups())
    if not (1 <= month <= 12 and 1 <= day <= 31):
        return ""
    return f"{_MONTHS[month - 1]} {ordinal(day)}, {year}"


def _fraction(m: re.Match[str]) -> str:
    over, under = int(m[1]), int(m[2])
    if over == under > 1 or (over, under) == (9, 11):
        return f"{m[1]} {m[2]}"
    if under not in _PARTS or over >= under:
        return f"{m[1]} {m[2]}" if (over, under) == (24, 7) else f"{m[1]} over {m[2]}"
    name = _PARTS[under]
    many = {"half": "halves"}.get(name, f"{name}s")
    words = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
    return f"{words[over - 1]} {name if over == 1 else many}"


def _clock(m: re.Match[str]) -> str:
    if int(m[1]) > 23 or int(m[2]) > 59:
        return f"{m[1]} to {m[2]}"
    return f"{int(m[1])} o'clock" if m[2] == "00" else f"{int(m[1])} {m[2]}"


def power(exponent: str) -> str:
    """What follows the base: "squared", "to the minus 3"."""
    exponent = exponent.replace("−", "-")
    said = {"2": "squared", "3": "cubed"}.get(exponent)
    return said or f"to the {exponent.replace('-', 'minus ')}"


_FORMS: Final[tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], str]], ...]] = tuple(
    (re.compile(pattern), said)
    for pattern, said in (
        (r"(\d{4})-(\d\d)-(\d\d)", _date),
        (r"(\d{1,2})/(\d{1,2})", _fraction),
        (r"(\d{1,2}):(\d\d)", _clock),
        (rf"({_N}):({_N})", lambda m: f"{m[1]} to {m[2]}"),
        (r"(\d+)[x×](\d+)", lambda m: f"{m[1]} by {m[2]}"),
        (r"(\d+)[x×](\d+)[x×](\d+)", lambda m: f"{m[1]} by {m[2]} by {m[3]}"),
        (
            rf"({_N})[eE]([-+−]?)(\d+)",
            lambda m: f"{m[1]} times 10 {power(('-' if m[2] in '-−' and m[2] else '') + m[3])}",
        ),
        (rf"({_N})[%‰]\s?[-–—]\s?({_N})%", lambda m: f"{m[1]} to {m[2]} percent"),
        (rf"\$({_N})[-–—]\$?({_N})", lambda m: f"{m[1]} to {m[2]} dollars"),
        (r"(\d{1,2})(am|pm|AM|PM)", lambda m: f"{m[1]} {' '.join(m[2].upper())}"),
        (r"(\d{3,4})([pi])", lambda m: f"{m[1]} {m[2].upper()}"),
        (r"([248])K", lambda m: f"{m[1]} K"),
        (r"\((\d+)\)?[-–—]\(?(\d+)", lambda m: f"{m[1]} to {m[2]}"),
        (r"(\d+)\)[-–—]\((\d+)", lambda m: f"{m[1]} to {m[2]}"),
        (r"(log|exp)_?(\d+)\((\w+)\)?", lambda m: f"{m[1]} {m[2]} of {m[3]}"),
        (r"C#|F#", lambda m: f"{m[0][0]} sharp"),
        (r"C\+\+", lambda m: "C plus plus"),
        (
            r"(\w+)\.(js|py|io|ai)",
            lambda m: f"{m[1]} dot {' '.join(m[2].upper()) if m[2] != 'py' else 'pie'}",
        ),
        (r"([HB])\.(\d{3})", lambda m: f"{m[1]} {m[2]}"),
        (
            r"([A-Za-z]{2,}):(\d{4})\.(\d{4,5})(?:v\d)?",
            lambda m: f"{m[1]} {' '.join(m[2])}, {' '.join(m[3])}",
        ),
        (r"([a-z])([a-z])\^(\d)", lambda m: f"{m[1]} {m[2]} {power(m[3])}"),
    )
)


def whole_form(core: str) -> str:
    """What is said for `core` if all of it is one of these forms; "" where it is none."""
    for pattern, said in _FORMS:
        found = pattern.fullmatch(core)
        if found is not None:
            return said(found)
    return ""


_HOST: Final = re.compile(r"(?:https?://|www\.)+([\w.-]+).*")
#: Files, modules, e-mail: parts of two letters or more with dots between them, none a word of its own
#: behind a full stop without a blank.
_DOTTED: Final = re.compile(r"(?:[\w.+-]+@)?\.?(?:[\w-]{2,}\.)*[\w-]*[A-Za-z][\w-]*")


def address(core: str) -> str:
    """What is said for an address, a file's name or a module's: "README dot M D"; "" where it is none."""
    if found := _HOST.fullmatch(core):
        return found[1].rstrip(".").replace(".", " dot ")
    parts = re.split(r"[.@]", core)
    if not _DOTTED.fullmatch(core) or len(parts) < 2 or any(p.isdigit() for p in parts):
        return ""
    if "@" not in core and (
        any(p[:1].isupper() or p[:1].isdigit() for p in parts[1:]) or min(map(len, parts[1:])) < 2
    ):
        return ""
    said = core.replace("@", " at ").replace(".", " dot ").strip()
    return re.sub(r" (\w{2})$", lambda m: f" {' '.join(m[1].upper())}", said).replace("_", " ")


def function(core: str) -> tuple[str, str] | None:
    """("f", "x") of `f(x` or `f(x)`: read as "f of x"; None where it is no function."""
    found = _FUNCTION.fullmatch(core)
    return (found[1], found[2]) if found is not None else None


def numeral(core: str, before: str) -> str:
    """A Roman numeral behind a word that numbers things, as digits; "" where it is none."""
    if before.lower().rstrip("s.") in _NUMBERED and core in _ROMAN:
        return str(_ROMAN[core])
    return ""
