"""Sentences that lean on the one before them: "However", "This", "To mitigate these"."""

from __future__ import annotations

import re

_DANGLING = re.compile(
    r"^(?:this|these|those|that|it|its|they|their|them|he|she|his|her|such|both|either|neither|here"
    r"|there(?:by|fore)|then|thus"
    r"|hence|however|nevertheless|nonetheless|therefore|consequently|accordingly|instead|otherwise"
    r"|similarly|likewise"
    r"|conversely|meanwhile|again|also|too|yet|but|and|or|so|still|rather|in contrast|by contrast"
    r"|in comparison|on the other hand"
    r"|on the one hand|as a result|as such|for (?:this|these|that|example|instance)|in (?:this|these|that"
    r"|such|both|either|other"
    r"|turn|doing)|at (?:this|that)|after (?:this|that)|with (?:this|these|that|such)|from (?:this|these)"
    r"|to (?:this|these)"
    r"|under (?:this|these)|by (?:this|these|doing)|because of this|due to this|another|others?|one"
    r"|alternatively|analogously|by analogy|on the contrary|equivalently|vice versa"
    r"|an? (?:alternative|additional|further|second|third|fourth|example)"
    r"|the (?:first|second|third|next|last"
    r"|same|other|above|latter|former|resulting|two|three|remaining|corresponding)|first(?:ly)?"
    r"|second(?:ly)?|third(?:ly)?"
    r"|finally|lastly|next|subsequently|afterwards|overall|the reason|the idea|the result is|the problem"
    r"|the difference|to do so"
    r"|unlike|compared|despite|while|although|though|even|except|note|i\.e|e\.g|that is|namely"
    r"|in particular|specifically|indeed"
    r"|in fact|of course|not only|some of|most of|each of|all of|many of|none of|one of|two of|where|which"
    r"|when|what)\b",
    re.I,
)
# A pronoun of something said before, near the start: "To mitigate this, ...", "When it is large, ...".
_POINTS_BACK = re.compile(
    r"^(?:[\w'-]+ ){1,4}(?:this|these|them|it|those)[, ]|^(?:[\w'-]+ ){1,3}(?:such|the former|the latter"
    r"|the same|the other) "
    r"|^(?:if|when|once) (?:\w+ed|chosen|done|set|so|needed)(?: \w+ly)?, (?:it|this|these|they) "
    r"|^(?!if |as |since |because |once |whenever )[^,]{3,70}, (?:it|they|this|these|he|she|such) ",
    re.I,
)
_SELF_CONTAINED = re.compile(
    r"^the (?:purpose|aim|goal|objective|intent) of (?:this|the present) \w+"
    r"|^(?:this|these|in this|in these) (?:paper|work|article|study|report|document|survey|research|review"
    r"|book|guide|manual|chapter|handbook|tutorial|talk"
    r"|package|library|system"
    r"|project|contribution|studies|days)\b|^there (?:is|are|has|have|was|were)\b|^one of the\b"
    r"|^despite (?:the|their|being|its)\b"
    r"|^(?:while|although|though|when) (?!this|these|it|they|such|that)\w+ \w+|^even (?:though|when"
    r"|if) (?!this|it|they)\w+"
    r"|^(?:not only) \w+|^all of the (?!above|following)|^unlike (?!this|these|that|it)\w+",
    re.I,
)
CONNECTIVE = re.compile(
    r"^(?:furthermore|moreover|additionally|in addition|also|finally|lastly|specifically|in particular"
    r"|notably|importantly"
    r"|interestingly|overall|in summary|in conclusion|to conclude|to summari[sz]e|to sum up"
    r"|all in all|in short|more precisely"
    r"|more specifically|indeed"
    r"|in fact|to be specific|more concretely|besides"
    r"|of course|clearly|obviously|ultimately|to date|subsequently|first|second|third|firstly"
    r"|secondly|in general"
    r"|now|generally|typically|crucially|more importantly|most importantly|as mentioned(?: \w+)?"
    r"|as noted(?: \w+)?), ",
    re.I,
)


_SHOWN = (
    r"(?:shown|seen|illustrated|depicted|reported|listed|outlined|summari[sz]ed|indicated|presented|described)"
    r" (?:in|by|on)"
)
_PLACE = (
    r"(?:the )?(?:Figs?\.|Figures?|Tables?|Tab\.|Sections?|Secs?\.|Equations?|Eqs?\.|Appendix|Algorithms?"
    r"|Listings?) ?\(?[\dA-Z]+(?:\.\d+)*[a-z]?\)?(?:(?:, | and |[–-])\(?\d+[a-z]?\)?)?"
)
#: "As shown in Table 5, the kite is faster.", "..., as outlined in Figure 2.": what is left says it all.
POINTING = re.compile(
    rf"^As (?:\w+ )?(?:{_SHOWN} {_PLACE}|{_PLACE} (?:shows?|illustrates?|indicates?|suggests?)), "
    rf"|,? as (?:\w+ )?{_SHOWN} {_PLACE}(?=[.,;])"
)
#: "The speed-up of 3.9 times is significantly better.": than what was just said. "The wish is other as well."
_BARE_COMPARISON = re.compile(
    r"\b(?:is|are|was|were|be) (?:\w+ )?(?:better|worse|higher|lower|faster|slower|larger|smaller"
    r"|greater|similar)\.$"
    r"|\b(?:as well|too)\.$"
)


def leans_on_previous(sentence: str) -> bool:
    """Whether the sentence opens with a word that points back ("However", "This")."""
    text = POINTING.sub("", CONNECTIVE.sub("", sentence))
    if re.match(
        r"^this \w+ \w+ (?:how|that|why|what|when|where|whether)? ?(?:these|those|them)\b", text, re.I
    ):
        return True
    if _SELF_CONTAINED.match(text):
        return False
    if _BARE_COMPARISON.search(text):
        return True
    named = re.match(r"^(?:in|with|of|for) (?:this|these) (?:paper|work|article|study)", text, re.I)
    return bool(_DANGLING.match(text) or (_POINTS_BACK.match(text) and not named))
