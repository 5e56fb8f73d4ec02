"""Sentences of a paper -> lines that can be said aloud. What would need to be guessed at is refused.

Nothing here adds a fact: citations and asides go, symbols are written as words, "we" becomes "the authors".
Numbers and names stay as they are, and `check_line` holds every claim to that.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from hpcwise.core.faithful import departures
from hpcwise.core.screenplay import Line
from hpcwise.models.screenplay.leaning import CONNECTIVE

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
_LABEL = (
    r"(?:figs?\.|figures?|tables?|tab\.|secs?\.|sections?|eqs?\.|equations?|appendix|appendices"
    r"|algorithms?|theorems?|lemmas?|propositions?|definitions?|examples?|listings?|chapters?|experiments?"
    r"|panels?|footnotes?|steps?|cases?|chunks?|parts?)"
)
_REFERENCE = re.compile(rf"\b{_LABEL}\s*(?:\d|[A-Z]\b|[IVX]+\b)", re.I)
_SELF = re.compile(
    r"\bas follows\b|\bfollowing\b(?! (?:a|an|the) )|\bbelow\b|\babove\b|\bprevious(?:ly)? (?:section"
    r"|mentioned|described|discussed)"
    r"|\bnext section\b|\b(?:this|next|last|remaining|other) (?:sub)?sections?\b|\bremainder of\b"
    r"|\brest of (?:the|this)\b"
    r"|\borganized\b|\bsee\b (?:also )?(?:the )?[A-Z]|\bet al\b|\bibid\b|\brespectively\b"
    r"|\bfootnote\b|\bsupplement"
    r"|\b(?:described|discussed|considered|introduced|presented|seen) so far\b|\b(?:alternative|option|item"
    r"|point|scenario|model) \d\b"
    r"|\boutlined in\b|\baforementioned\b|\blisted in\b|\b(?:shown|depicted|illustrated|presented"
    r"|summari[sz]ed|given) in\b|\bsubsections?\b"
    r"|\bthe (?:former|latter)\b|\bnote that\b|\brecall that\b|\bin the following\b"
    r"|\bthe (?:introduction|conclusions?|abstract|overview) (?:gives|provides|presents|describes|outlines)\b"
    r"|\bin what follows\b|\bthese (?:two|three|four) \w+:|\bto this end\b|\bwithout loss\b|\bvignette\b"
    r"|\bmanuscript\b"
    r"|\b(?:provided|reviewed|described|discussed|found|detailed|introduced|proposed|considered|suggested)"
    r" (?:in|by) (?-i:[A-Z])\w+ (?:and|et)\b|\brespective references\b"
    r"|\bappendi(?:x|ces)\b|\bas indicated\b|\bcode (?:chunk|snippet)|\bcan be seen\b|\bas (?:we|one"
    r"|you) (?:can )?(?:see|saw)\b|\b(?:is|are) available (?:at|from|on|in)\b",
    re.I,
)
# Authors on their own text. Looked for before "we" becomes "the authors".
_OWN_TEXT = re.compile(
    r"\bhere,? we\b|\bwe (?:will|shall) (?:now|next|first|only|simply|refer)\b"
    r"|\bwe (?:now|next|only discuss)\b"
    r"|\blet us\b|\bas we (?:can |have )?(?:see|saw|seen)\b|\bwe (?:turn|return|come back) to\b",
    re.I,
)
_VERSE = re.compile(r"\b(?:thy|thou|thee|thine|ye|hath|doth|ere|[eo]['’]er|['’]tis|['’]twere)\b", re.I)
_BROKEN = re.compile(
    r"https?:|www\.|\S@\S|[=<>|{}\\^_$#⁄→←⇒≤≥∈∑√∂∞≠°†‡§¶‖□■¬∀∃]|[α-ωΑ-ΩÃÄ]\b"
    r"|[\ufffd\u0300-\u036f\U0001d400-\U0001d7ff]"
    r"|\b[b-hj-z]\b(?!['’.-])(?! ?[-–])"
    r"|\(\)|\[\]|\b\w+\(|\w\)\w|::|[a-z]\.[a-z]{2,}|\?\?|\b[A-Za-z]\d\b|\.\.|\b\d+ \d+\b|\b(?:[A-Z] ){2,}"
    r"|¨|´|`|ˆ|˜"
    # A fraction that begins with its point, a word that runs into a number, a letter that stands for a size.
    r"|(?<![\w.)])\.\d|\b[\w-]*\d[a-z]{4,}\b|(?<!\d)(?<!\d )[µ∆](?!\w)"
    # A stop inside: "use. on a line by itself".
    r"|\b(?!(?:approx|etc|vs|cf|al|resp|incl|excl|ca|no|st|eg|ie|fig|max|min)\.)[a-z]{2,}\. [a-z]"
)
_BEFORE_NOUN = r"(?:of|for|from|and|or|between|with|in|on|at|by|to|as|per|under|via|over)"
_GOES_WITH = (
    "consists|depends|relies|works|leads|belongs|refers|differs|occurs|comes|goes|varies|corresponds|lies|stands|runs"
    "|applies|serves|acts|aims|focuses|looks|points|starts|begins|ends|ranges|remains|builds|rests|suffers|benefits"
    "|contributes|amounts|adds|deals|copes|responds|converges|scales|grows|falls|rises|moves|passes|exists|appears"
    "|happens|continues|extends|turns|travels|emerges|arises|stems|results in"
)
# Weak on purpose (a plural passes too): it refuses titles, labels and lists that end with a full stop.
_VERB = re.compile(
    r"\b(?:is|are|was|were|be|been|has|have|had|can|could|may|might|will|would|should|must|do|does|did)\b"
    rf"|\b[a-z]{{2,}}(?:[^su\W]s|sses) (?!{_BEFORE_NOUN}\b)|\b(?:{_GOES_WITH}) {_BEFORE_NOUN}\b"
    r"|(?<!\bin )(?<!\bof )(?<!\ba )(?<!\ban )(?<!\bthe )(?<!\bwith )(?<!\bby )(?<!\bfor )"
    r"(?<!\bfrom )(?<!\bon )(?<!\bas )(?<!\")\b[a-z]{2,}ed "
    r"|\b(?:found|led|became|flew|grew|took|gave|made|held|kept|fell|rose|ran|saw|went|came|built|chose"
    r"|drew|knew|lost"
    r"|put|read|said|sent|set|showed|spent|told|thought|won|wrote|use|make|provide|allow|need|show|include)\b"
)
# Out of a table of functions: "Accepts a formula and returns ...".
_NO_SUBJECT = re.compile(
    r"^(?!(?:this|is|as|does|has|was|unlike|besides|towards|across|always|perhaps|thus"
    r"|regardless)\b)[A-Z][a-z]+[^s\W]s (?:a|an|the|all|if|whether) "
    r"|^(?:how|now|go|proceed|click|contact|note|consider|suppose|let|assume|recall|make sure|notice|remember"
    r"|compute|see|use|set"
    r"|define|imagine"
    r"|please|be (?:sure|careful|aware)|keep in mind|observe)\b (?!of |is |are |has )"
    # Points of slides and lists: "Lets applications talk to each other."
    r"|^(?:lets|gets|sends|enables|allows|provides|makes|generates|keeps|validates|optimi[sz]es"
    r"|distributes|accepts"
    r"|adds|removes|creates|gives|takes|helps|reduces|improves|includes|contains|requires|offers|ensures"
    r"|prevents"
    r"|handles|converts|computes|performs|supports|scales|integrates)\b(?! (?:is|are|of|was|were|and|has"
    r"|have)\b)"
    # "Preserve everything else: copy all other cells.", out of a list of what is to be done.
    r"|^(?!.{0,40}\b(?:is|are|was|were|has|have|do"
    r"|does)\b.*:)[a-z][\w-]*(?: [\w-]+){0,3}: (?-i:[a-z])+ (?:all|an?|the"
    r"|each|every|this|it)\b"
    # "Called during the upgrade of a package.", out of a list of what is called when.
    r"|^[a-z]+(?:ed|en) (?:during|by|in|from|when|if|for|on|at|with|after|before)\b(?!.*, )"
    # "Hypothesis: Steve Webster won ten championships.": an example of what a program reads.
    r"|^(?:hypothesis|questions?|answers?|examples?|input|output|premise|query|prompt|notes?|nota bene|nb"
    r"|hint|tip|warning|remark|proof)(?: \d+)?: "
    # "Number of grenades on each side."
    r"|^(?:the )?(?:number|list|overview|examples?|types?|kinds?|lack|history|definition|summary) of\b"
    r"(?!.*\b(?:is|are|was|were|has|have|can|may|will|must|should|show|shows|include|includes|use|uses)\b)",
    re.I,
)
# "Varying the shape to yield spine plots.": part of a list, no sentence.
_FINITE = (
    r"is|are|was|were|has|have|had|can|could|may|might|will|would|should|must|do|does|did|allow|lead|led"
    r"|make|made"
    r"|require|give|gave|yield|provide|enable|result|improve|reduce|increase|help|show|remain|become|produce"
    r"|need|mean|include|offer|take|took|bring|keep|cause|cost|save"
)
_FRAGMENT = re.compile(rf"^[A-Z][a-z]+ing\b(?!.*(?<!to )\b(?:{_FINITE})(?:s|d|ed)?\b)")
# It promises something and says nothing.
_VAGUE = re.compile(
    r"^.{0,50}\b(?:is|are) (?:\w+ )?(?:interesting|surprising|clear|obvious|worth noting)\.$"
    r"|\b(?:is|are|was|were|been) (?:\w+ )?(?:outlined|introduced|presented|given|discussed|described"
    r"|reviewed|sketched|summari[sz]ed)(?:\.$|, along with\b)"
    r"|\b(?:overview|review|introduction) \w+ (?:\w+ )?is given\b"
)
_WE_ASIDE = re.compile(r"\b(?:I|my|me|mine|let['’]s|[Ww]e['’]d)\b")
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

# What stood at the end was a formula, or the sentence goes on in one.
_CUT_OFF = re.compile(
    r"!$|\b(?:form|given by|defined by|defined as|denoted by|written as|as|by|of|is|are|with|where|the|a|an"
    r"|and|or|to|in|for|on|at|from|than|such that|i\.e)[.!]?\"?$|\bof the form\b",
    re.I,
)
# Variables: single capitals that are no language (R, C), no vitamin, no "I" and no initial of a name.
_LETTERS = re.compile(
    r"(?<![\w.'’-])(?!(?:A|I|R|C)\b)[B-Z](?![\w.'’-])|(?<=[a-z] )A (?=is|are|of|and|to|in|has)\b"
)
# An aside that may be left out: no point of a list, no "(not)", nothing that is called like a function.
_ASIDE = re.compile(r"\s\((?!\w{1,2}\)|[^()]*\b(?:not|no|un)\b)[^()]{3,140}\)(?=[\s.,;:])")
# What can only be followed with the picture before one's eyes.
_ONLY_SEEN = re.compile(
    r"(?<![\"“])\bpanels?\b(?![\"”]? (?:data|models?|stud|of experts))"
    r"|\b(?:in|from) the (?:table|figure|plot|listing|code),"
    r"|\b(?:left|right)[- ]hand (?:side|panel|plot|graph|column)"
    r"|\b(?:the|this|these|each) (?:figure|plot|graph|diagram|histogram|scatter ?plot|legend|[xy]-axis)s?\b"
    r"|\b(?:dotted|dashed|solid) (?:\w+ )?(?:lines?|curves?|symbols?)"
    r"|\b(?:circles|triangles) (?:and|show|are)\b"
    r"|\b(?:blue|red|green|black|gr[ae]y|orange|purple|pink|yellow|light|dark) (?:\w+ )?(?:cells?|lines?"
    r"|curves?|bars?|colou?rs?|points|dots|boxes|area)\b",
    re.I,
)
_SENDS_AWAY = re.compile(
    r"\bfor (?:more |further |full |the )?(?:details?|information|an? (?:overview|introduction|discussion))\b"
    r"|\brefer(?:red)? (?:the reader )?to the\b|\binterested readers?\b|\bthe reader\b|\bcan be found\b"
    r"|\bis organi[sz]ed\b|\bas follows\b|\bthanks? |\bgrateful\b"
    r"|General Public License|\bwarrant(?:y|ies)\b|\bSoftware Foundation\b|\b(?:pdf|html|printed) version\b"
    r"|\bother languages\b|\bfamiliarity with\b"
    r"|\backnowledge[sd]? (?:the )?(?:support|funding)|\bsupported by (?:the )?[A-Z]|\bgrants?\b|\bour code\b"
    r"|\bthese authors\b|\b(?:available for|any|your) questions\b|\bpage \d|\bpp?\. \d|\btheir code\b",
    re.I,
)
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
    sentence: str, figure: str | None = None, max_chars: int = MAX_CHARS, phrase: bool = False
) -> str | None:
    """The sentence as a line to be spoken, or None where it cannot be said faithfully.

    figure: label of the picture on screen ("Figure 3"), which the line may then name.
    phrase: allow a phrase without a verb, as captions are, and a shorter one.
    """
    text = sentence.strip().strip("“”")
    if _CITED_AS_NOUN.search(text) or _OWN_TEXT.search(text):
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
    text = re.sub(r"[“”]", '"', text)
    text = re.sub(r",\s*(?=[,.;:?!])|(?<=[:;!?]),", "", text)
    text = re.sub(r"\s+([,.;:?!])(?!\d)", r"\1", text)
    text = re.sub(r"\s+", " ", text).strip()
    text = re.sub(r"\b(?!(?:that|had)\b)([A-Za-z]{2,}) \1\b", r"\1", text)  # "the the" of the printed text
    if not text:
        return None
    first = text.split()[0]
    identifier = any(c.isupper() or c.isdigit() for c in first[1:])  # clusterSEs stays as it is written
    text = text if identifier else text[0].upper() + text[1:]
    if _VERSE.search(text) and re.search(r"\b(?:we|our|us)\b", text, re.I):
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
    if _CUT_OFF.search(text) or _LETTERS.search(text):
        return None
    if figure is None and (_SENDS_AWAY.search(text) or _ONLY_SEEN.search(text)):
        return None
    if _REFERENCE.search(probe) or _SELF.search(probe) or _BROKEN.search(probe) or _WE_ASIDE.search(probe):
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
    if not phrase and (not _VERB.search(text) or text.endswith("?") or _NO_SUBJECT.match(text)):
        return None
    if not phrase and (_FRAGMENT.match(text) or _VAGUE.search(text)):
        return None
    if (
        sum(c.isdigit() for c in text) > 12
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
