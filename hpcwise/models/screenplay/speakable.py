"""Sentences of a paper -> lines that can be said aloud. What would need to be guessed at is refused.

Nothing here adds a fact: citations and asides go, symbols are written as words, "we" becomes "the authors".
Numbers and names stay as they are, and `check_line` holds every claim to that.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from hpcwise.core.faithful import departures
from hpcwise.core.screenplay import Line
from hpcwise.models.screenplay.leaning import CONNECTIVE, POINTING
from hpcwise.models.screenplay.refused import (
    BROKEN,
    CUT_OFF,
    FRAGMENT,
    LETTERS,
    NO_SUBJECT,
    ONLY_SEEN,
    OWN_TEXT,
    PLURAL,
    REFERENCE,
    SELF,
    SENDS_AWAY,
    VAGUE,
    VERB,
    VERSE,
    WE_ASIDE,
)

_CITE_BRACKET = re.compile(r"\s*\[(?:\s*[\w+.-]{0,12}\d[\w+.-]*\s*[,;–-]?\s*)+\]")
_CITE_ROUND = re.compile(
    r"\s*\((?:see |see also |e\.g\.,? |cf\. |i\.e\.,? )*[^()]*?(?:\b(?:19|20)\d\d[a-z]?\b|et al\.?"
    r"|in press|forthcoming)[^()]*\)"
)
# "In [7] it is studied": what is cited is a word of the sentence, which is none without it.
_CITED_AS_NOUN = re.compile(
    r"^\W?\[\s*\d|\b(?:in|by|of|from|see|to|with|than|following|via|using|on|as|and|or|for)"
    rf"(?:{_CITE_BRACKET.pattern}|{_CITE_ROUND.pattern})",
    re.I,
)
_REF_ROUND = re.compile(
    r"\s*\((?:see |cf\. |also |e\.g\.,? )*(?:figs?\.?|figures?|tables?|tab\.|secs?\.?|sections?|§|eqs?\.?"
    r"|equations?|appendix"
    r"|appendices|algorithms?|chapter|listing|panel|left|right|top|bottom)\b[^()]*\)",
    re.I,
)
_ACRONYM_ROUND = re.compile(r"\s*\((?:[A-Z][A-Za-z0-9&./-]{0,10}s?|[a-z]{1,3}[A-Z]{1,6}s?)\)")
_WE_SHORT = re.compile(r"\b([Ww]e)['’](ve|re|ll)\b")
_LONG = {"ve": "have", "re": "are", "ll": "will"}
_SYMBOLS = (
    (re.compile(r"(?<=\d)\s*[×x](?=[\s,.;)])"), " times"),
    (re.compile(r"(?<=\d)\s*×\s*(?=\d)"), " by "),
    (re.compile(r"(?<=\d)\s*±\s*(?=\d)"), " plus or minus "),
    (re.compile(r"(?<=\s)(?:±|\+/?-)\s*(?=\d)"), "plus or minus "),
    (re.compile(r"(?<=\d)\s*[–—]\s*(?=\d)"), " to "),
    (re.compile(r"(?<=\w)[~∼](?=\d)"), " "),
    (re.compile(r"[~∼≈]\s*(?=\d)"), "about "),
    (re.compile(r"(?<=[^\W\d_])–(?=[^\W\d_])"), "-"),  # "the Lemaître–Tolman model"
    (re.compile(r"(?<=[:;!?])\s*[–—]{1,2}\s*"), " "),
    (re.compile(r"\s*[–—]{1,2}\s*(?=[A-Za-z'’\"])|\s--\s"), ", "),
    (re.compile(r"\be\.g\.,?\s*|(?<=, )eg,? (?=[a-z])"), "for example, "),
    (re.compile(r"\bi\.e\.,?\s*|(?<=, )ie,? (?=[a-z])"), "that is, "),
    (re.compile(r"\bvs\.?(?=\s)"), "versus"),
    (re.compile(r"\bw\.r\.t\.?"), "with respect to"),
    (re.compile(r"\band/or\b"), "or"),
    (re.compile(r"\s&\s"), " and "),
    (re.compile(r"(?<=\d)\s*%"), " percent"),
    (re.compile(r"(?<=[a-z])@(?=\d)"), " at "),
    (re.compile(r"(?<=\w)\s*[–—]+(?=[.,;])"), ""),
    (re.compile(r"\betc\. on\b"), "and so on, on"),
    (re.compile(r"\betc\.(?=[,;)]| [a-z])"), "and so on"),
    (re.compile(r"\betc\.$"), "and so on."),
    (re.compile(r"[∗*]"), ""),
    (re.compile(r"[\u2010\u2011]"), "-"),
    (re.compile(r"\u2212(?=\d)"), "minus "),
)

# An aside that may be left out: no point of a list, no "(not)", nothing that is called like a function.
_ASIDE = re.compile(r"\s\((?!\w{1,2}\)|[^()]*\b(?:not|no|un)\b)[^()]{3,140}\)(?=[\s.,;:])")
#: What a sentence can end before: an aside on what was named last, another statement on the same subject.
_ADDS = re.compile(
    r", (?:which|where|whose|including|such as|(?:some|many|most|all|both|each) of (?:which|whom))\b"
    r"|; (?=[a-z])"
    # Not a condition: "assuming that the wind holds".
    r"|, (?!assum|exclu|ignor|depend|barr|provid|suppos|consider|condition|controll|adjust|hold|giv|us)"
    r"(?:similar to|compared (?:to|with)|[a-z]{3,}ing) (?!.*, (?:and|or) )"
    r"|,? (?P<and_>and) (?:is|are|was|were|has|have|can|achiev\w+|outperform\w+|reduc\w+|improv\w+"
    r"|show(?:s|ed))\b"
)
_DENIES = re.compile(
    r"\b(?:not|no|never|cannot|without|neither|nor|none|unable|fails? to|only|unless|except|but)\b|n['’]t\b",
    re.I,
)
_PAIRED = re.compile(r"\b(?:both|either|neither|not only|between|whether)\b", re.I)
_SUBORDINATE = re.compile(
    r"(?:in|for|when|if|while|as|since|although|though|with|without|to|by|under|because|unlike|given|on"
    r"|at|from"
    r"|despite|after|before|until|unless)\b",
    re.I,
)
_CERTAIN = re.compile(
    r"\b(?:is|are|was|were|has|have|had|can|could|may|might|will|would|should|must|do|does|did)\b"
    r"|\b(?:authors|they|one) (?:\w+ )?[a-z]{3,}"
)
_PURPOSE = re.compile(r"^(?:In order to|To) [^,]{8,140}, (?=(?:the authors|they|one)\b)")
# What is cut is not the end: "the quantities, such as the pull, are measured".
_GOES_ON = re.compile(
    r", (?:and |or )?(?:is|are|was|were|has|have|had|can|could|may|might|will|would|should|must|do|does)\b"
)
_LEAST_KEPT = 60
#: Longer than a shot of a short film holds, or of a long one; shorter is a fragment.
MAX_CHARS, MAX_CHARS_LONG, MIN_CHARS = 190, 260, 34


def named_equations(sentence: str) -> str:
    """The sentence with its equations named as one says them: "Eq. (3)" -> "Equation 3"."""
    return re.sub(r"\b(?:Eqs?\.|Eqns?\.?|Equation)\s*\(?(\d+(?:\.\d+)?)\)?", r"Equation \1", sentence)


def to_speech(
    sentence: str,
    figure: str | None = None,
    max_chars: int = MAX_CHARS,
    phrase: bool = False,
    point: bool = False,
) -> str | None:
    """The sentence as a line to be spoken, or None where it cannot be said faithfully.

    figure: label of the picture on screen ("Figure 3"), which the line may then name.
    phrase: allow a phrase without a verb, as captions are, and a shorter one. point: of a slide, which may be
    "Extraction of references from papers."
    """
    text = sentence.strip().strip("“”")
    if _CITED_AS_NOUN.search(text) or OWN_TEXT.search(text):
        return None
    text = _CITE_BRACKET.sub("", text)
    text = _CITE_ROUND.sub("", text)
    text = _REF_ROUND.sub("", text)
    text = _ACRONYM_ROUND.sub("", text)
    text = re.sub(r"\s*\((?:\w+ )?not shown\)", "", text)
    for pattern, words in _SYMBOLS:
        text = pattern.sub(words, text)
    text = re.sub(r"\s*\(((?:for example|that is), [^()]{3,60})\)", r", \1,", text)
    text = re.sub(r"\s*\((?!\w\))([a-z][a-z-]* [^()\d]{2,36})\)(?=[\s.,;])", r", \1,", text)
    text = _ASIDE.sub("", text)
    text = CONNECTIVE.sub("", text)
    text = text if figure is not None else POINTING.sub("", text)
    text = re.sub(r"[“”]", '"', text)
    text = re.sub(r",\s*(?=[,.;:?!])", "", text)
    text = re.sub(r"\s+([,.;:?!])(?!\d)", r"\1", text)
    text = re.sub(r"\s+", " ", text).strip()
    text = re.sub(r"\b(?!(?:that|had)\b)([A-Za-z]{2,}) \1\b", r"\1", text)  # "the the" of the printed text
    if not text:
        return None
    first = text.split()[0]
    identifier = any(c.isupper() or c.isdigit() for c in first[1:])  # clusterSEs stays as it is written
    text = text if identifier else text[0].upper() + text[1:]
    if VERSE.search(text) and re.search(r"\b(?:we|our|us)\b", text, re.I):
        return None  # who speaks in a poem is not its author
    text = _third_person(text)
    probe = text
    if figure is not None:
        number = re.escape(figure.split()[-1])
        stem = r"(?:Figure|Fig\.)" if figure.startswith("Figure") else re.escape(figure.split()[0])
        probe = re.sub(rf"\b{stem}\s*{number}\b(?![a-z(])", "the picture", probe)
        probe = re.sub(
            r"\b(?:shown|depicted|illustrated|presented|outlined|summari[sz]ed|given) in the picture\b",
            "the picture",
            probe,
        )
        text = re.sub(rf"\b{stem}\s*{number}\b", figure, text)
    if CUT_OFF.search(text) or LETTERS.search(text):
        return None
    if figure is None and (SENDS_AWAY.search(text) or ONLY_SEEN.search(text)):
        return None
    if REFERENCE.search(probe) or SELF.search(probe) or BROKEN.search(probe) or WE_ASIDE.search(probe):
        return None
    if (
        text[0].isdigit()
        or "(" in text
        or "[" in text
        or text.count('"') % 2
        or re.search(
            r"[:;,]$"
            r"|:\.$",
            text,
        )
    ):
        return None
    if len(text) > max_chars and not phrase:
        text = _shorter(text, max_chars)
    if not (12 if phrase else MIN_CHARS) <= len(text) <= max_chars or not re.search(r"[.?!]\"?$", text):
        return None
    told = VERB.search(text) or (point and PLURAL.search(text))
    if not phrase and (not told or text.endswith("?") or NO_SUBJECT.match(text)):
        return None
    if not phrase and (FRAGMENT.match(text) or VAGUE.search(text)):
        return None
    if (
        sum(c.isdigit() for c in text) > (16 if max_chars > MAX_CHARS else 12)
        or text.count(",") > 7
        or re.search(r"[A-Z]{9,}|\b[A-Z]{6,} [A-Z]{2,}\b", text)
    ):
        return None
    return text


def _shorter(text: str, most: int) -> str:
    """A sentence that is too long without what its end adds to it, or the purpose that it opens with: what is
    left is said in the same words and holds without the rest. The text itself where that cannot be told."""
    for cut in reversed(list(_ADDS.finditer(text))):
        head = text[: cut.start()]
        if _DENIES.search(text[cut.start() :]) or _GOES_ON.search(text[cut.end() :]):
            continue
        paired = cut["and_"] is not None and _PAIRED.search(head)
        opens = _SUBORDINATE.match(head) and ", " not in head
        if _LEAST_KEPT <= len(head) < most and _CERTAIN.search(head) and not paired and not opens:
            return head + "."
    rest = _PURPOSE.sub("", text)
    whole = len(rest) > most or _DENIES.search(text[: len(text) - len(rest)])
    return text if whole else rest[0].upper() + rest[1:]


def _third_person(text: str) -> str:
    """ "We show that our method" -> "The authors show that their method": the expert is not an author."""
    if not re.search(r"\b(?:we|our|ours|us|ourselves)\b", text, re.I):
        return text
    text = _WE_SHORT.sub(lambda m: f"{m[1]} {_LONG[m[2]]}", text)
    text = re.sub(r"\b([Mm]ost|[Mm]any|[Ss]ome) of us\b", r"\1 people", text)
    # "We can plot it" speaks of anybody: one can.
    text = re.sub(
        r"\b([Ww])e(?= (?:\w+ )?(?:can|cannot|should|must|may|could|might|need|would)\b)",
        lambda m: "One" if m[1] == "W" else "one",
        text,
    )
    text = re.sub(r"\b([Oo]ne (?:\w+ )?need)(?! not\b)\b", r"\1s", text)
    named = False

    def swap(match: re.Match[str]) -> str:
        nonlocal named
        word = match.group()
        low = word.lower()
        first = {
            "we": "the authors",
            "our": "the authors'",
            "ours": "theirs",
            "us": "the authors",
            "ourselves": "themselves",
        }
        later = {"we": "they", "our": "their", "ours": "theirs", "us": "them", "ourselves": "themselves"}
        new = (later if named else first)[low]
        named = True
        return new[0].upper() + new[1:] if word[0].isupper() and low != "us" else new

    return re.sub(r"\b(?:[Ww]e|[Oo]ur|ours|us|ourselves)\b", swap, text)


def check_line(line: Line, known: Iterable[str] = ()) -> list[str]:
    """What a claim says and its source does not, see `core.faithful`. Empty for lines that make no claim."""
    return departures(line.text, line.source, known)


def without_also(text: str) -> str:
    """The line without an "also" that looks back at what was not said: "It also has" -> "It has"."""
    return re.sub(r"^((?:[\w'’.-]+,? ){1,9}?)also ", r"\1", text) if "not only" not in text else text


def as_second(text: str) -> str:
    """The line after another on the authors: "The authors show" -> "They show"."""
    text = re.sub(r"^The authors' ", "Their ", text)
    return re.sub(r"^The authors ", "They ", text)
