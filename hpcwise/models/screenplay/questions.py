"""Questions made out of what answers them: "What does the Crawler do?" before "The Crawler reads papers."

Words of a question come from the claim itself or from a heading, so that it asks for what is there.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from hpcwise.core.document import Document

#: Verbs of what a thing is for, by the question that they answer.
_MADE_OF = "consists? of|contains?|includes?|combines?|comprises?"
_DOING = (
    "provides?|supports?|uses?|takes?|allows?|offers?|computes?|predicts?|generates?|produces?|returns?|learns?"
    "|stores?|turns?|processes|process|evaluates?|measures?|selects?|implements?|enables?|helps?|identifies"
    "|retrieves?|extracts?|handles?|represents?|estimates?|tests?|assumes?|relies|focuses|operates?|requires?"
    "|needs?|plans?|decides?|compares?|describes?|explains?|adds?|maps?|runs?|works?"
)
_WELL = "achieves?|outperforms?|improves?|reduces?|exceeds?|saves?|beats?"
# What follows tells a verb from a noun: "uses a motor", but "the tests are", "existing test procedures".
_OBJECT = (
    r"(?=(?:a|an|the|all|any|each|every|its|their|both|two|three|four|five|several|many|this|that|these|on|to"
    r"|for|in|by|from|with|how|whether|what|which|as)\b)"
)
_SUBJECT = re.compile(
    rf"^(?P<subject>(?:The |A |An )?[A-Za-z][\w-]*(?: [A-Za-z][\w-]*){{0,3}}?)"
    rf"(?: (?:also|then|iteratively|first|only|directly|usually|often|typically|automatically))?"
    rf" (?:(?P<be>is|are) (?:a|an|the|one)\b|(?P<made>{_MADE_OF}) {_OBJECT}|(?P<does>{_DOING}) {_OBJECT}"
    rf"|(?P<well>{_WELL}) {_OBJECT})"
)
_NO_SUBJECT = re.compile(
    r"^(?:an? (?:\w+ )?(?:example|alternative|advantage|drawback|reason|exception|problem|solution)"
    r"|this|these|those|that|it|they|he|she|we|there|here|all|each|every|both|some|many|most|several|such"
    r"|if|when|while|since|because|although|in|on|at|for|by|from|with|without|to|after|before|as|once|under"
    r"|over|using|given|what|which|who|how|one|two|three|four|another|other|any|no|not|only|even|our|their"
    r"|its|the authors?|the same|the (?:first|second|third|last|next|latter|former|following|above|other)"
    r"|the (?:paper|work|article|results?|idea|goal|aim|problem|reason|question|task))\b",
    re.I,
)
_INNER_STOP = re.compile(
    r"\b(?:of|and|or|that|which|who|to|in|on|for|with|by|from|as|not|can|could|may|might|will|would|should|must"
    r"|is|are|was|were|be|been|has|have|had|do|does|did)\b"
)
_GENERIC = re.compile(
    r"^(?:(?:the )?(?:main |overall |general |further |additional |experimental |empirical )?(?:results?"
    r"|methods?|methodology|approach|model|models|experiments?|evaluation|discussion|conclusions?|summary"
    r"|introduction|background|overview|preface|foreword|data|datasets?|setup|setting|settings|details|analysis|examples?"
    r"|preliminaries|motivation|related works?|theory|notation|definitions?|applications?|illustrations?"
    r"(?: and applications?)?|implementation(?: details)?|use cases?|case stud(?:y|ies)|limitations?"
    r"|results and discussion|materials and methods|framework|system|design|architecture|namespace|other"
    r"|miscellaneous|remarks|outlook|procedure|algorithms?))$",
    re.I,
)
_FINITE = re.compile(r"\b(?:is|are|was|were|has|have|can|will|should|does|do|must|may|need|needs)\b", re.I)
_OPEN = re.compile(
    r"^(?:why|how|what|when|where|who|which|on|in|at|to|from|with|for|by|of|and|or|more|other|some|beyond)\b",
    re.I,
)
#: "Create a project folder": an order, which no "let's talk about" can take.
_ORDER = re.compile(
    r"^(?:(?:create|run|test|install|build|use|make|get|set|start|add|write|read|learn|know|find|choose|keep|avoid|do"
    r"|go|download|open|check|define|call|put|take)(?= (?:an?|the|your|that|it|this|to|up|and|some)\b)"
    r"|(?:enter|meet|try|let|putting it|getting)\b)",
    re.I,
)
_PLAIN_NOUN = re.compile(r"[a-z](?:s|ing|ion|ment|ance|ence|ity|logy|graphy|nomy|story)$")
_COUNTED = re.compile(r"^(?:stage|step|part|phase|chapter|lesson|module) [\dIVX]+ ?[.:–—-] +", re.I)
_SPEAKABLE = re.compile(r"^[\x20-\u024f’–-]{3,60}$")
_ODD = re.compile(r"[\"“”{}\\\ufffd@=<>_/\[\]()&%$#*:;.]|\d")


def common_words(document: Document) -> frozenset[str]:
    """Words that stand in lower case inside of sentences: these are no names."""
    found: set[str] = set()
    names: set[str] = set()
    for section in document.sections:
        for sentence in section.sentences:
            found.update(re.findall(r"(?<=[a-z,] )[a-z][\w-]*", sentence.text))
            names.update(re.findall(r"(?<=[a-z,] )[A-Z][\w-]*", sentence.text))
    for section in document.sections:
        first, *rest = section.heading.split() or [""]
        # "Main features": only its place makes the first word large.
        plain = all(w.islower() for w in rest) and (rest or _PLAIN_NOUN.search(first))
        known = [w for w in (first, *rest) if w.lower() in found]
        if known and rest:  # "Decisions That Helped": a title, in which all words are large
            found.update(
                w.lower() for w in (first, *rest) if w not in names and w[1:].islower() and w.isalpha()
            )
        if plain and first.isalpha() and first not in names and not any(c.isupper() for c in first[1:]):
            found.add(first.lower())
    return frozenset(found)


def about(claim: str, common: Collection[str]) -> tuple[str, str] | None:
    """(shape, question) that the claim answers by its subject, or None where that is unsure."""
    match = _SUBJECT.match(claim)
    if match is None:
        return None
    subject = match["subject"]
    if _NO_SUBJECT.match(subject) or _INNER_STOP.search(subject) or _ODD.search(subject):
        return None
    words = subject.split()
    if len(words) == 1 and len(subject) < 4 and not subject.isupper():
        return None
    if words[0] in ("The", "A", "An") or words[0].lower() in common:
        subject = subject[0].lower() + subject[1:]
    if match["be"]:
        return f"what {match['be']}", f"What {match['be']} {subject}?"
    verb = match["made"] or match["does"] or match["well"]
    noun = words[-1].lower() if words[-1].lower() in common else words[-1]
    plural = noun.endswith("s") and not noun.endswith("ss") and noun[0].islower()
    if plural == (verb.split()[0].endswith("s") and verb != "process"):
        return None  # "The kernels works": then it is another word that is the subject
    aux = "does" if verb.split()[0].endswith("s") and verb != "process" else "do"
    if match["made"]:
        be = "is" if aux == "does" else "are"
        return (
            "made",
            f"What {be} {subject} made of?" if "consist" in verb else f"What {aux} {subject} include?",
        )
    if match["well"]:
        return "well", f"And how well {aux} {subject} do?"
    return "does", f"What {aux} {subject} do?"


def topic(heading: str, common: Collection[str]) -> str:
    """The heading as it stands inside a sentence ("layout detection models"), "" where that is unsure."""
    heading = re.split(r": (?=\w)", _COUNTED.sub("", heading), maxsplit=1)[0]
    if not _SPEAKABLE.match(heading) or _ODD.search(heading) or _GENERIC.match(heading):
        return ""
    if heading.isupper() and len(heading) < 5:
        return ""  # letters that say nothing to who has not read it
    if _ORDER.match(heading) or _FINITE.search(heading) or _OPEN.match(heading) or len(heading.split()) > 8:
        return ""
    words = []
    for word in heading.split():
        capital = word[0].isupper() and not any(c.isupper() for c in word[1:])
        words.append(word.lower() if capital and word.lower() in common else word)
    return " ".join(words)


def is_generic(heading: str) -> bool:
    """Whether a heading says nothing about this document: "Results"."""
    return bool(_GENERIC.match(heading))
