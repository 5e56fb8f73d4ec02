"""What is said for what is written: numbers, units, signs, Greek, abbreviations and acronyms as words.

Each caption word keeps its original spelling and knows the words that are spoken for it, so that captions
can light up "3.5 ms" while the voice says "three point five milliseconds".
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from hpcwise.models.kokoro.forms import address, function, numeral, power, whole_form
from hpcwise.models.kokoro.tables import ABBREVIATIONS, APART, GLUED_ONLY, MONTHS, PER, TIMES, UNITS

#: What is said for the letter A, which alone is an article.
LETTER_A: Final = "AY"
#: Words are said by the rules below alone.
NO_LEXICON: Final[Mapping[str, str]] = MappingProxyType({})

_GREEK_NAMES = (
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omicron pi rho sigma tau "
    "upsilon phi chi psi omega"
)
_GREEK = dict(zip("αβγδεζηθικλμνξοπρστυφχψω", _GREEK_NAMES.split(" "), strict=True))
_GREEK |= {k.upper(): v for k, v in _GREEK.items()} | {
    "ς": "sigma",
    "ϵ": "epsilon",
    "ϕ": "phi",
    "ϑ": "theta",
    "∆": "delta",
    "µ": "mu",
}
_SIGNS = {
    "≈": "about",
    "~": "about",
    "∼": "about",
    "≥": "at least",
    "⩾": "at least",
    "≤": "at most",
    "⩽": "at most",
    "<": "less than",
    ">": "more than",
    "=": "equals",
    "≠": "is not",
    "+": "plus",
    "±": "plus or minus",
    "×": "times",
    "·": "times",
    "÷": "divided by",
    "→": "to",
    "⇒": "so",
    "∞": "infinity",
    "√": "root",
    "∑": "the sum of",
    "∈": "in",
    "∂": "d",
    "∇": "nabla",
    "∪": "union",
    "∩": "and",
    "&": "and",
    "@": "at",
    "%": "percent",
    "‰": "per mille",
    "§": "section",
    "°": "degrees",
    "#": "number",
    "∝": "proportional to",
    "|": "",
    "*": "",
    "^": "to the",
    "−": "minus",
}
_DIGITS_UP = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")
_CITATION = re.compile(r"^[(\[]?\d{1,3}(?:[,;–-]\s?\d{1,3})*\][).,;:]*$|^\[\d[\d,;–-]*[,;\]]*[.,;:]*$")
_NUMBER = r"\d+(?:,\d{3})*(?:\.\d+)?"
_NUMBER_UNIT = re.compile(rf"^({_NUMBER})[-\s]?([A-Za-zµμ°×%‰]+)(?:/([A-Za-z]+))?$")
_RANGE = re.compile(rf"^({_NUMBER})\s?[-–—‒]\s?({_NUMBER})(\D*)$")
_MONEY = re.compile(rf"^([$€£])({_NUMBER})\s?([kKmMbB]n?)?$")
_CURRENCY = {"$": "dollars", "€": "euros", "£": "pounds"}
_BIG = {"k": "thousand", "m": "million", "b": "billion"}
_LEFT, _RIGHT = "([{\"'“‘«¿¡`", ")]}\"'”’».,;:!?…`"


#: "2.0" is more than two: "Dex-Net 2.0".
_VERSION = re.compile(r"(?<![\w.])\d+(?:\.\d+){2,}(?![\w]|\.\d)")
_ZEROS = re.compile(r"(?<![\d.,])(\d+)\.0(?!\.?\d)")


@dataclass(frozen=True, slots=True)
class SpokenWord:
    """A caption word as written and the text that the voice gets for it (never empty). stressed: it stood
    between asterisks, which are not shown."""

    written: str
    spoken: str
    stressed: bool = False


def spoken_words(text: str, lexicon: Mapping[str, str] = NO_LEXICON) -> list[SpokenWord]:
    """The caption words of `text` in order. A silent one (a citation, a lone dash) joins its neighbour.

    lexicon: what is said for a word, whatever the rules here would make of it; a plural or possessive s and
    the parts of a hyphenated word follow it.
    """
    out: list[SpokenWord] = []
    pending = ""
    number = ""
    tokens, stressed = _emphasis(_printable(text).split())
    for i, token in enumerate(tokens):
        left, core, right = _strip(token)
        before = _strip(tokens[i - 1])[1] if i else ""
        follows = i + 1 < len(tokens) and tokens[i + 1][:1].isdigit()
        said = _by_lexicon(core, lexicon) or numeral(core, before) or _say(token, core, number, follows)
        number = core if re.fullmatch(rf"[-−±≈~]?({_NUMBER}[-–x×])?{_NUMBER}", core) and not right else ""
        if (
            right.startswith(")")
            and "(" not in left
            and (said.endswith(core) or " of " in said or core.endswith("("))
        ):
            right = right[1:]  # of "f(x)", read as a function
        if (
            i + 1 < len(tokens)
            and right.startswith(".")
            and (_abbreviation(token, core) or said == "number" or said in MONTHS.values())
        ):
            right = right[1:]  # the dot of "e.g." ends no sentence
        said = _VERSION.sub(lambda m: m[0].replace(".", " point "), _ZEROS.sub(r"\1 point 0", said))
        # A pause mark that stands where its word is silent still belongs to the sentence.
        spoken = f"{_pauses(left)}{said}{_pauses(right)}" if said else ""
        if spoken:
            out.append(SpokenWord(f"{pending}{token}", spoken, i in stressed))
            pending = ""
        elif out:
            mark = "," if re.fullmatch(r"[-–—―]+", token) else _pauses(right).lstrip(",")
            last = out[-1]
            joined = last.spoken if last.spoken[-1] in ",.;:!?" else last.spoken + mark
            out[-1] = SpokenWord(f"{last.written} {token}", joined, last.stressed)
        else:
            pending = f"{token} "
    return out


def _emphasis(tokens: list[str]) -> tuple[list[str], set[int]]:
    """Tokens without the asterisks around *emphasised words*, and which of them these are."""
    out: list[str] = []
    stressed: set[int] = set()
    inside = False
    for i, token in enumerate(tokens):
        opens = re.match(r"[(\[{\"'“‘]*\*(?=[^\W\d_*])", token)
        closes = re.search(r"(?<=\w)\*[.,;:!?…)\]}\"'”’]*$", token)
        if opens and not inside:
            inside = any("*" in later for later in [token[opens.end() :], *tokens[i + 1 :]])
        if inside:
            stressed.add(i)
            token = token.replace("*", "")
            inside = closes is None
        out.append(token)
    return out, stressed


def _by_lexicon(core: str, lexicon: Mapping[str, str]) -> str:
    """What a person wants said for the word, "" where they said nothing about it."""
    if not lexicon:
        return ""
    if core in lexicon:
        return lexicon[core]
    stem, mark, ending = re.match(r"^(.*?)(['’]?)(s?)$", core, re.S).groups()  # type: ignore[union-attr]
    if ending and stem in lexicon:
        return f"{lexicon[stem]}{mark and chr(39)}s"
    parts = core.split("-")
    if len(parts) > 1 and any(part in lexicon for part in parts):
        return " ".join(lexicon.get(part, part) for part in parts if part)
    return ""


def _printable(text: str) -> str:
    """Text without control and formatting characters; non-breaking spaces stay inside their word."""
    return "".join(c if c.isprintable() or c.isspace() else "" for c in text.replace("\u00ad", ""))


def _strip(token: str) -> tuple[str, str, str]:
    start, end = 0, len(token)
    while start < end and token[start] in _LEFT:
        start += 1
    while end > start and token[end - 1] in _RIGHT:
        end -= 1
    return token[:start], token[start:end], token[end:]


def _pauses(marks: str) -> str:
    return "".join(c for c in marks if c in ",.;:!?…()“”")


def _say(token: str, core: str, number_before: str, number_follows: bool) -> str:
    if _CITATION.match(token) or not any(c.isalnum() or c in _SIGNS for c in token):
        return ""
    abbreviation = _abbreviation(token, core)
    if abbreviation:
        return abbreviation
    core = unicodedata.normalize("NFKC", core) if re.search("[\U0001d400-\U0001d7ff]", core) else core
    if re.fullmatch(r"<\w+>", core):
        core = core[1:-1]
    if named := address(core):
        return named
    if re.fullmatch(r"\$[^\d$][^$]*\$", core):
        core = core[1:-1]  # TeX
    core = re.sub(r"\\(?:text\w*|math\w*|emph)\{?|\\(?=[a-zA-Z])", "", core) or core
    if core in ("No", "no") and token.endswith(".") and number_follows:
        return "number"
    if f"{core.lower()}." in MONTHS and token.endswith(".") and number_follows:
        return MONTHS[f"{core.lower()}."]
    if form := whole_form(core):
        return form
    if parts := function(core):
        return f"{_core(parts[0])} of {_say(parts[1], parts[1], '', False)}"
    if number_before and core.split("/")[0] in UNITS and core.split("/")[0] not in GLUED_ONLY - APART:
        return _unit(number_before, *_slash(core))
    if number_before and core == "K":
        return "kelvin"
    core = re.sub(r"[₀-₉]+", lambda m: f" {''.join(str(ord(c) - ord('₀')) for c in m[0])} ", core)
    # The charge of an ion is no power.
    core = re.sub(r"([⁰¹²³⁴-⁹]*)⁺", lambda m: f" {m[1].translate(_DIGITS_UP)} plus", core)
    return " ".join(_core(core.translate(_DIGITS_UP) if not _has_power(core) else _power(core)).split())


def _abbreviation(token: str, core: str) -> str:
    """The words for an abbreviation, with its dots or without; empty if it is none."""
    whole = token.lstrip(_LEFT).rstrip(",;:!?)]}\"'”’»").lower()
    return ABBREVIATIONS.get(whole) or ABBREVIATIONS.get(core.lower()) or ""


def _slash(core: str) -> tuple[str, str | None]:
    unit, _, per = core.partition("/")
    return unit, per or None


def _unit(number: str, unit: str, per: str | None) -> str:
    said = UNITS[unit][0 if number in ("1", "1.0") else 1]
    return f"{said} per {PER.get(per) or UNITS.get(per, (per,))[0]}" if per else said


def _has_power(core: str) -> bool:
    return bool(re.search(r"[⁰¹²³⁴⁵⁶⁷⁸⁹]|[\w)]\^", core))


def _power(core: str) -> str:
    # Of ten, people say "10 to the 2", of all else "squared".
    core = re.sub(r"\b10\^\{?([23])\}?(?!\d)", r"10 to the \1 ", core)
    core = re.sub(r"(?<=[\w)])\^\{?([-−]?\w+)\}?", lambda m: f" {power(m[1])} ", core)
    return re.sub(r"[⁰¹²³⁴⁵⁶⁷⁸⁹⁻]+", lambda m: f" {power(m[0].translate(_DIGITS_UP))} ", core)


def _core(core: str) -> str:
    if core[0] in "~∼≈<>≥≤±" and len(core) > 1:
        return f"{_SIGNS[core[0]]} {_core(core[1:])}"
    money = _MONEY.match(core)
    if money:
        big = _BIG.get((money[3] or "").lower()[:1], "")
        return f"{money[2]} {big} {_CURRENCY[money[1]]}"
    span = _RANGE.match(core)
    if span and re.match(r"0\d", span[2]):
        return f"{span[1]} {_core(span[2] + span[3])}"  # a number of a part or a telephone
    if span:
        return f"{span[1]} to {_core(span[2] + span[3])}"
    unit, per = _slash(core)
    if (
        per
        and unit in UNITS
        and len(unit) > 1
        and (per in PER or per in PER.values() or per in TIMES or (per in UNITS and len(per) > 1))
    ):
        return _unit("2", unit, per)  # "MB/s" by itself
    measure = _NUMBER_UNIT.match(core)
    if measure and measure[2] in ("%", "‰"):
        return f"{measure[1]} {_SIGNS[measure[2]]}"
    if measure and measure[2] == "B" and not measure[3]:
        return f"{measure[1]} billion"  # in this project's papers "7B" counts parameters
    if measure and measure[2] in UNITS and not (measure[2] == "s" and len(measure[1]) == 4):
        return f"{measure[1]} {_unit(measure[1], measure[2], measure[3])}"
    return _pieces(core)


def _pieces(core: str) -> str:
    """Signs and Greek as words, joints (slash, underscore, en dash, hyphen beside capitals) as spaces."""
    core = re.sub(r"^-(?=\d)", "minus ", core)
    core = re.sub(r"^_+(?=\w)|(?<=\w)_+$|\(\)?$", "", core)  # __init__, run()
    core = re.sub(r"^(\d+)[x×](?=[A-Z])", r"\1 times ", core)  # 8xH100
    core = re.sub(r"\bA-?(?=\d)", f"{LETTER_A} ", core)
    core = re.sub(r"\b([A-Z]{2,})([a-z]{2,})(?=[A-Z]{2})", r"\1 \2 ", core)  # OCRmyPDF
    core = re.sub(r"(?<=[A-Za-z]{2})/(s|h|hr|min|sec|token|W)$", lambda m: f" per {PER[m[1]]}", core)
    # A dash between words is a pause, a shorter one joins them.
    core = re.sub(r"(?<!\d)[—―]|[—―](?!\d)", ", ", core)
    core = re.sub(r"[–—―‒]", " ", core)
    core = re.sub(r"(?<=[^\W\d_])_(?=\w)|(?<=\w)/(?=\w)", " ", core)
    core = re.sub(
        r"(?<=[A-Z0-9])-(?=\w)|(?<=\w)-(?=[A-Z0-9])|(?<=[^\x00-\x7f])-|-(?=[^\x00-\x7f])", " ", core
    )
    # Letters and digits apart ("p99", "H200"), yet "1st", "2D" and "K80s" stay as they are.
    core = re.sub(r"(?<=[A-Za-z])(?=\d)", " ", core)
    core = re.sub(r"(?<=\d)(?=[A-Za-z]{2,})(?!(?:st|nd|rd|th)\b)", " ", core)
    return "".join(f" {_GREEK.get(c) or _SIGNS[c]} " if c in _GREEK or c in _SIGNS else c for c in core)
