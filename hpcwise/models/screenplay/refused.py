"""What keeps a sentence from being said: words of those that make no sense alone, or none aloud."""

from __future__ import annotations

import re

_LABEL = (
    r"(?:figs?\.|figures?|tables?|tab\.|secs?\.|sections?|eqs?\.|equations?|appendix|appendices"
    r"|algorithms?|theorems?|lemmas?|propositions?|definitions?|examples?|listings?|chapters?|experiments?"
    r"|panels?|footnotes?|steps?|cases?|chunks?|parts?)"
)
REFERENCE = re.compile(rf"\b{_LABEL}(?:\s*\d|\s+(?-i:[A-Z]\b|[IVX]+\b))", re.I)
SELF = re.compile(
    r"\b(?:previous|preceding|last|next|earlier) (?:paragraph|chapter|page|example|figure|table|equation)s?\b"
    r"|\bas follows\b|\bfollowing\b(?! (?:a|an|the) )|\bbelow\b|\babove\b|\bprevious(?:ly)? (?:section"
    r"|mentioned|described|discussed)"
    r"|\bnext section\b|\b(?:this|next|last|remaining|other|earlier|later|preceding"
    r"|subsequent) (?:sub)?sections?\b"
    r"|\bin the \w+ (?:sub)?section\b"
    r"|\bremainder of\b|\bshould be read\b"
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
OWN_TEXT = re.compile(
    r"\bhere,? we\b|\bwe (?:will|shall) (?:now|next|first|only|simply|refer)\b"
    r"|\bwe (?:now|next|only discuss)\b"
    r"|\blet us\b|\bas we (?:can |have )?(?:see|saw|seen)\b"
    r"|\bwe (?:turn|return|come back|begin with|start with)\b"
    r"|^(?:thereafter|subsequently|afterwards|after that|then|next|lastly),? we (?:\w+ )?(?:discuss|present"
    r"|describe|introduce|conclude|outline|review|summari[sz]e|give|provide|explain)\b|^here (?:is|are)\b",
    re.I,
)
VERSE = re.compile(
    r"\b(?:thy|thou|thee|thine|ye|hath|doth|ere|[eo]['’]er|['’]tis|['’]twere)\b"
    # A line begins with a capital after the comma of the one before.
    r"|(?-i:[,;] (?:And|With|That|To|But|Of|For|From|Will|Ere|His|Her|Where|Still|These|Whose|Or)\b)",
    re.I,
)
BROKEN = re.compile(
    r"https?:|www\.|\S@\S|[=<>|{}\\^_$#⁄→←⇒≤≥∈∑√∂∞≠°†‡§¶‖□■¬∀∃]|[α-ωΑ-ΩÃÄ]\b"
    r"|[\ufffd\u0300-\u036f\U0001d400-\U0001d7ff]"
    r"|(?<!['’])\b[b-hj-z]\b(?!['’.-])(?! ?[-–])"
    r"|\(\)|\[\]|\b\w+\(|\w\)\w|::|[a-z]\.[a-z]{2,}|\?\?|\b(?!F1 (?:score|measure))[A-Za-z]\d\b"
    r"|\.\.|\b\d+ \d+\b|\b(?:[A-Z] ){2,}"
    r"|¨|´|`|ˆ|˜"
    # A fraction that begins with its point, a word that runs into a number, a letter that stands for a size.
    r"|[a-z.;] - [A-Z]|\d ?/ \d|\b\d+e[-−]?\d|(?<![\w.)])\.\d|\b[\w-]*\d[a-z]{4,}\b|(?<!\d)(?<!\d )[µ∆](?!\w)"
    # A stop inside: "use. on a line by itself".
    r"|\b(?!(?:approx|etc|vs|cf|al|resp|incl|excl|ca|no|st|eg|ie|fig|max|min)\.)[a-z]{2,}\. [a-z]"
)
#: Nouns of titles and captions, which are no verbs before a preposition: "Ablation results for the kite."
_HEADS = (
    r"(?:results(?! in\b)|(?:tools|tests|methods|models|examples|details|settings|systems|features|types"
    r"|levels|ranks|studies|manuals|documents|experiments|comparisons|curves|functions|parameters|values|scores|statistics"
    r"|objectives|applications|techniques|approaches|algorithms|tasks|templates|prompts|distributions|estimates"
    r"|coefficients|differences|effects|requirements|properties|lists|plots|images|pictures|directions)"
    r"(?= (?:of|for|from|and|or|between|with|in|on|at|by|to|per|under|via|over)\b))"
)
# Weak on purpose (a plural passes too): it refuses titles, labels and lists that end with a full stop.
VERB = re.compile(
    r"\b(?:is|are|was|were|be|been|has|have|had|can|could|may|might|will|would|should|must|do|does|did)\b"
    rf"|\b(?!{_HEADS})[a-z]{{2,}}(?:[^su\W]s|sses) |\b(?:[Tt]hey|[Ww]e|authors) (?:\w+ly )?[a-z]{{3,}} "
    r"|(?<!\bin )(?<!\bof )(?<!\ba )(?<!\ban )(?<!\bthe )(?<!\bwith )(?<!\bby )(?<!\bfor )"
    r"(?<!\bfrom )(?<!\bon )(?<!\bas )(?<!\")\b[a-z]{2,}ed "
    r"|\b(?:found|led|became|flew|grew|took|gave|made|held|kept|fell|rose|ran|saw|went|came|built|chose"
    r"|drew|knew|lost"
    r"|put|read|said|sent|set|showed|spent|told|thought|won|wrote|use|make|provide|allow|need|show|include)\b"
)
# Out of a table of functions: "Accepts a formula and returns ...".
NO_SUBJECT = re.compile(
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
    # "Optionally, document what is to be done."
    r"|^(?:[a-z]+ly, )?(?:generate|modify|save|write|read|add|create|install|run|open|choose|select|enter"
    r"|type|press|check|ensure|avoid|keep|document|specify|provide|include|remove|delete|copy|move|build"
    r"|start|stop|try|test|apply|update|replace|call|send|get|put|make)"
    r" (?:the|an?|all|each|every|any|your|this|that|these|those|it|them|its|what|which|whether|if|sure)\b"
    # A question that ends with a full stop.
    r"|^(?:are|is|was|were|do|does|did|can|could|would|will|has|have) (?:they|it|we|you|the|this|these"
    r"|there)\b"
    r"|^for (?:instance|example), (?:consider|suppose|assume|take|let)\b"
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
PLURAL = re.compile(r"\b[a-z]{2,}(?:[^su\W]s|sses) ")
# "Varying the shape to yield spine plots.": part of a list, no sentence.
_FINITE = (
    r"is|are|was|were|has|have|had|can|could|may|might|will|would|should|must|do|does|did|allow|lead|led"
    r"|make|made"
    r"|require|give|gave|yield|provide|enable|result|improve|reduce|increase|help|show|remain|become|produce"
    r"|need|mean|include|offer|take|took|bring|keep|cause|cost|save"
)
FRAGMENT = re.compile(
    rf"^(?!(?:Dur|Noth|Someth|Everyth)ing\b)[A-Z][a-z]+ing\b(?!.*(?<!to )\b(?:{_FINITE})(?:s|d|ed)?\b)"
)
# It promises something and says nothing.
VAGUE = re.compile(
    r"^.{0,50}\b(?:is|are) (?:\w+ )?(?:interesting|surprising|clear|obvious|worth noting)\.$"
    r"|\b(?:is|are|was|were|been) (?:\w+ )?(?:outlined|introduced|presented|discussed|described"
    r"|reviewed|sketched|summari[sz]ed)(?:\.$|, along with\b)"
    r"|\b(?:overview|review|introduction) (?:\w+ ){1,6}is (?:also )?given\b"
)
WE_ASIDE = re.compile(r"\b(?:I|my|me|mine|let['’]s|[Ww]e['’]d)\b")
# What stood at the end was a formula, or the sentence goes on in one.
CUT_OFF = re.compile(
    r"!$|\b(?:form|given by|defined by|defined as|denoted by|written as|as|by|of|is|are|with|where|the|a|an"
    r"|and|or|to|in|for|on|at|from|than|such that|i\.e)[.!]?\"?$|\bof the form\b",
    re.I,
)
# Variables: single capitals that are no language (R, C), no vitamin, no "I" and no initial of a name.
LETTERS = re.compile(
    r"(?<![\w.'’-])(?!(?:A|I|R|C)\b)[B-Z](?![\w.'’-])|(?<=[a-z] )A (?=is|are|of|and|to|in|has)\b"
)
# What can only be followed with the picture before one's eyes.
ONLY_SEEN = re.compile(
    r"(?<![\"“])\bpanels?\b(?![\"”]? (?:data|models?|stud|of experts))"
    r"|\b(?:in|from) the (?:table|figure|plot|listing|code),"
    r"|\b(?:left|right)[- ]hand (?:side|panel|plot|graph|column)"
    r"|\b(?:the|this|these|each) (?:figure|plot|graph|diagram|histogram|scatter ?plot|legend|[xy]-axis)s?\b"
    r"|\b(?:dotted|dashed|solid) (?:\w+ )?(?:lines?|curves?|symbols?)"
    r"|\b(?:circles|triangles) (?:and|show|are)\b"
    r"|^(?:The |These |All |Thick |Thin )?(?:arrows?|box(?:es)?|columns?|rows?|bars?|curves?|dots|circles"
    r"|squares) (?:shows?|indicates?|represents?|denotes?|marks?|stands? for)\b"
    r"|\b(?:blue|red|green|black|gr[ae]y|orange|purple|pink|yellow|light|dark) (?:\w+ )?(?:cells?|lines?"
    r"|curves?|bars?|colou?rs?|points|dots|boxes|area)\b",
    re.I,
)
SENDS_AWAY = re.compile(
    r"\bfor (?:more |further |full |the )?(?:details?|information|an? (?:overview|introduction|discussion))\b"
    r"|\brefer(?:red)? (?:the reader )?to the\b|\binterested readers?\b|\bthe reader\b|\bcan be found\b"
    r"|\bis organi[sz]ed\b|\bas follows\b|\bthanks? |\bgrateful\b"
    r"|General Public License|\bwarrant(?:y|ies)\b|\bSoftware Foundation\b|\b(?:pdf|html|printed) version\b"
    r"|\bother languages\b|\bfamiliarity with\b"
    r"|\backnowledge[sd]? (?:the )?(?:support|funding)|\bsupported by (?:the )?[A-Z]|\bgrants?\b|\bour code\b"
    r"|\bthese authors\b|\b(?:available for|any|your) questions\b|\bpage \d|\bpp?\. \d|\btheir code\b",
    re.I,
)
