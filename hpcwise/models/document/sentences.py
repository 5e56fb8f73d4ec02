"""Paragraphs -> sentences, for English prose."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from hpcwise.models.document.glyphs import END, LINE_HYPHEN, SUB, SUP

_SPACES = re.compile(r"\s+")
_RAISED = re.compile(f"{SUP}([^{END}]*){END}")
_LOWERED = re.compile(f"{SUB}([^{END}]*){END}")
_NOTE_MARK = re.compile(r"^[\d,;∗*†‡§¶‖♯#\s–-]{0,12}$|^[a-z](,[a-z])*$")
_ORDINAL = re.compile(r"^(st|nd|rd|th)$")
# A package whose name begins with a small letter: "kernlab is an extensible package ..."
_LOWER_NAME = re.compile(
    r"[a-z][\w.-]{2,} (?:is an?|provides|implements|offers|supports|includes|contains|allows) "
)
#: Left in a text where mathematics stood that cannot be written in line.
MATH = "\u2061"


#: "Lemaˆıtre", "Andr´es": accents that a font draws as letters of their own, before what they stand on.
_LOOSE_ACCENT = re.compile(r"(?<=\w)(?:([ˆ¨˜ˇ˘˚]) ?([A-Za-zı])|(´) ?([aeiouyAEIOUı]))")
_COMBINING = dict(zip("ˆ¨˜ˇ˘˚´", "\u0302\u0308\u0303\u030c\u0306\u030a\u0301", strict=True))


def _accented(match: re.Match[str]) -> str:
    mark, letter = match[1] or match[3], match[2] or match[4]
    joined = unicodedata.normalize("NFC", ("i" if letter == "ı" else letter) + _COMBINING[mark])
    return joined if len(joined) == 1 else match[0]


def clean(text: str) -> str:
    """Text without control characters, lone surrogates and double spaces (NFC)."""
    text = _LOOSE_ACCENT.sub(_accented, text)
    out = "".join(
        " " if char in "\t\n\r\x0b\x0c\u2028\u2029" else char
        for char in unicodedata.normalize("NFC", text)
        if char in "\t\n\r\x0b\x0c\u2028\u2029"
        or unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Co", "Cn")
    )
    return _SPACES.sub(" ", out).strip()


def resolve_levels(text: str) -> str:
    """Drop raised note marks and citations; keep ordinals; mark any other raised or lowered text as MATH."""

    def raised(match: re.Match[str]) -> str:
        inner = match.group(1).strip()
        before = text[: match.start()].rstrip()
        if _ORDINAL.match(inner):
            return inner
        words = re.search(r"([A-Za-z]{2,}[.,;:)”\"’]*|[.,;:)\]”\"’])$", before)
        if not inner or (_NOTE_MARK.match(inner) and (words or not before)):
            return ""
        return MATH

    text = _RAISED.sub(raised, text)
    return _LOWERED.sub(lambda m: MATH if m.group(1).strip() else "", text)


def append(out: str, line: str, words: frozenset[str]) -> str:
    """`out` continued by the next line; a hyphen at its end stays only where it belongs to the word.

    words: lower-case words of the document, with their hyphens, to tell which it is.
    """
    line = line.strip()
    if not out:
        return line
    if re.search(r"\w[\u00ad\-‐]$", out):
        head = out[:-1]
        first, second = re.search(r"[\w-]+$", head), re.match(r"[\w-]+", line)
        if first and second:
            joined = (first.group() + second.group()).lower()
            hyphened = f"{first.group()}-{second.group()}".lower()
            keep = hyphened in words and joined not in words
            keep = keep or (not second.group()[0].islower() and joined not in words)
            keep = keep or _are_words(first.group().lower(), second.group().lower(), words)
            keep = keep or _in_compound(first.group().lower(), second.group().lower(), words)
            return head + ("-" if keep else "") + line
    return out + " " + line


#: Words that often begin another: "over-" and "come" are one.
_PREFIX = re.compile(
    r"(?:over|under|with|some|every|there|where|here|fore|after|more|never|none|else|any|thing|through|what|when|inter"
    r"|back|work|time|data|soft|hard|base|line|frame|like|wise|ward|wide|self|ever|upon|come|able|less|ness|ment|ship"
    r"|side|super|multi|micro|macro|meta|trans|counter|semi|anti|para|hyper|infra)",
)


def _are_words(first: str, second: str, words: frozenset[str]) -> bool:
    """ "load-", "displacement": two words of the document that are nowhere in it written as one."""
    long = min(len(first), len(second)) >= 4 and not (_PREFIX.match(first) or _PREFIX.match(second))
    return long and first in words and second in words and first + second not in words


def _in_compound(first: str, second: str, words: frozenset[str]) -> bool:
    """ "state-of-", "the-art": a hyphen between whole words of a compound, where one has a hyphen already."""
    before, after = first.split("-")[-1], second.split("-")[0]
    compound = "-" in first or "-" in second
    if re.match(r"(?:based|driven|oriented|aware|specific)\b", second):
        return first + second not in words
    return compound and before in words and after in words and before + after not in words


def join_lines(lines: Sequence[str], words: frozenset[str]) -> str:
    """One text out of lines."""
    out = ""
    for line in lines:
        out = append(out, line, words)
    return out.replace(LINE_HYPHEN, "")


def vocabulary(lines: list[str]) -> frozenset[str]:
    """All words inside of lines, lower case, hyphens kept."""
    found: set[str] = set()
    for line in lines:
        tokens = re.findall(r"[^\W\d_][\w-]*\w", line)
        ends_open = line.rstrip().endswith((LINE_HYPHEN, "-"))
        found.update(token.lower() for token in (tokens[:-1] if ends_open else tokens))
    return frozenset(found)


def is_sentence(text: str) -> bool:
    """Whether this reads as a whole sentence of prose, free of mathematics and broken characters."""
    if not re.search(r"[.?!][\"”’')\]]*$", text):
        return False
    if not re.match(r"[\"“‘'(\[]?[A-Z0-9]", text) and not _LOWER_NAME.match(text):
        return False
    if MATH in text or "\ufffd" in text or re.search("[\U0001d400-\U0001d7ff\u2100-\u214f]", text):
        return False
    letters = sum(char.isalpha() or char == " " for char in text)
    return len(text.split()) >= 4 and letters >= 0.72 * len(text) and text.count("(") == text.count(")")
