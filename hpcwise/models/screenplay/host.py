"""What the host says. Questions a listener would ask, chosen by the claim that answers them.

Each line is used at most once in a film.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from hpcwise.models.screenplay import questions

_BY_ROLE: dict[str, tuple[str, ...]] = {
    "problem": (
        "Before we get to the answer, what is the problem here?",
        "Why does anyone need this? Where do they start from?",
        "Set the scene for me. What was missing?",
    ),
    "background": (
        "Give me some background first.",
        "What should I know to begin with?",
        "What does one need to know first?",
    ),
    "core": (
        "What is the heart of it?",
        "And what is the main point?",
    ),
    "idea": (
        "All right, so what is the idea?",
        "And what do they bring to the table?",
        "So what do they do about it?",
    ),
    "related": (
        "What was there before this?",
        "They are surely not the first to try. What came earlier?",
        "How does that fit with earlier work?",
    ),
    "method": (
        "Let's open the box. How does it work?",
        "Walk me through it. What happens inside?",
        "How is that actually done?",
        "I would like to see the moving parts. What are they?",
        "What does that look like in detail?",
    ),
    "evidence": (
        "Nice in theory. Does it hold up in practice?",
        "How did they put it to the test?",
        "What did they find when they tried it?",
        "What do the results say?",
        "And what is the evidence for that?",
    ),
    "example": (
        "Is there an example?",
        "Can we see it at work?",
        "Where has that been tried?",
        "What does it look like on real data?",
    ),
    "limits": (
        "Every piece of work has its limits. What are the ones here?",
        "What should I be careful about?",
        "Where are the weak spots, and what is still open?",
    ),
    "conclusion": (
        "So where does that leave us?",
        "If I remember only one thing, what should it be?",
        "What is the take-home message?",
    ),
}

_BY_TOPIC = (
    "Let's talk about {h}.",
    "Tell me about {h}.",
    "Next, {h}. What matters there?",
    "On to {h}. What should I know?",
    "Let's turn to {h}.",
    "What about {h}?",
    "I would like to hear about {h}.",
    "Let's move on to {h}. Where do we start?",
    "And {h}? What is the point there?",
    "How about {h}?",
    "So, {h}. Can you sum it up for me?",
    "Which brings us to {h}.",
)

#: The first part of all, whose name does not fit into a sentence.
_FIRST = ("Where should we begin?",)
#: A new part whose name does not fit into a sentence.
_NEXT = (
    "Let's move on. What comes next?",
    "What else is in there?",
    "On to the next part. What should I know?",
    "What is the next thing to look at?",
    "And after that?",
)

_SHARE = r"(?:\d percent|\b\d+(?:\.\d+)? times\b)"
_COMPARED = (
    r"better|worse|higher|lower|faster|slower|larger|smaller|improv\w+|reduc\w+|increas\w+|decreas\w+|drops?|gains?"
    r"|outperform\w*|exceed\w*|than"
)
_BY_CUE: tuple[tuple[re.Pattern[str], tuple[str, ...]], ...] = (
    (
        re.compile(
            rf"{_SHARE}.*\b(?:more|less|fewer|{_COMPARED})\b|\b(?:more|less|fewer|{_COMPARED})\b.*{_SHARE}",
            re.I,
        ),
        ("How big is the difference?", "By how much?"),
    ),
    (re.compile(_SHARE, re.I), ("Do they put a number on that?", "What do the numbers say?")),
    (
        re.compile(
            r"\b(?:outperform|better than|compared|exceed|surpass|faster|higher than|lower than)", re.I
        ),
        ("How does that compare?", "And against the alternatives?", "Is that better than what we had?"),
    ),
    (
        # Only a sentence that is itself a reason answers a "why".
        re.compile(
            r"^(?:because|since|due to|owing to|the (?:main )?reason)\b|^\w+ (?:is|was) (?:because|due to)\b",
            re.I,
        ),
        ("Why is that?", "What is the reason?", "Do we know why?"),
    ),
    (
        re.compile(r"\b(?:for example|for instance)\b", re.I),
        ("Can you give me an example?", "What would that be, concretely?", "Such as what?"),
    ),
    (
        re.compile(r"\b(?:however|cannot|limit|drawback|difficult|challeng|fails?\b|failed\b)", re.I),
        ("Is there a catch?", "Where does it get difficult?", "What is the hard part?", "Any caveats?"),
    ),
    (
        re.compile(
            r"\b(?:dataset|data set|benchmark|corpus|collected|sampled|participants|patients|trial)\b", re.I
        ),
        ("What data does that rest on?", "What did they work with?", "Where does the data come from?"),
    ),
    (
        re.compile(
            r"\b(?:authors|they|one|is|are|was|were) (?:\w+ )?(?:train|optimi[sz]|learn|fit|estimat"
            r"|comput|calculat)",
            re.I,
        ),
        ("How do they get there?", "What is the recipe?", "How is that computed?"),
    ),
    (
        re.compile(
            r"\b(?:for|helps?|allows?|enables?|lets?|gives?|offers?) (?:\w+ ){0,3}(?:user|researcher"
            r"|practitioner|developer|reader|beginner|student|scientist)s?\b",
            re.I,
        ),
        ("Who is that for?", "What does it mean for the people who use it?"),
    ),
    (
        re.compile(
            r"\b(?:package|library|interface|tool|software)\b.*\b(?:provides?|offers?|supports?|allows?|lets?|can"
            r"|comes? with)\b",
            re.I,
        ),
        ("What does that look like in use?", "And on the practical side?", "What do I get as a user?"),
    ),
    (
        re.compile(
            r"\b(?:consists? of|is composed of|are composed of|is made up of)\b"
            r"|\b(?:two|three|four|five) (?:\w+ ){0,2}(?:components|parts|modules|stages|steps|phases"
            r"|layers|pieces|blocks)\b",
            re.I,
        ),
        ("What are the pieces?", "How is it put together?", "What is it made of?"),
    ),
    (
        re.compile(r"\b(?:future|plan|hope|could be|will be)\b", re.I),
        ("What comes next?", "Where could this go from here?"),
    ),
)

_ANY = (
    "Tell me more.",
    "What else is there?",
    "Okay, and then?",
    "I am with you so far. What follows?",
    "Interesting. What else?",
    "That makes sense. Is there more to it?",
    "And what does that mean?",
    "What else stood out to you?",
    "Good. What should I add to that picture?",
    "What would you add?",
    "Help me with the details here.",
    "And beyond that?",
    "I see. What comes on top of that?",
    "Go on.",
    "All right. What then?",
    "I follow. And further?",
)

_FIGURE = (
    "Let's look at the picture. What do we see?",
    "There is a figure for this. What am I looking at?",
    "Can you show me?",
    "What does this one show?",
    "Here is another picture. How do I read it?",
    "Let's put that on the screen.",
    "And this figure?",
    "I would like to see that.",
)


#: A question of the same shape is asked so often in a film.
_MOST_OF_A_SHAPE = 4


class Host:
    """The memory of those who ask: which lines were used. `seed` turns the order of equal choices.

    common: words of the document that are no names, see `questions.common_words`. title: what nobody asks
    after any more.
    """

    def __init__(self, seed: int, common: Collection[str] = (), title: str = "") -> None:
        self._seed = seed
        self._common = common
        self._used: set[str] = {f"What is {title}?", f"What are {title}?", f"What does {title} do?"}
        self._opened: set[str] = set()
        self._shapes: dict[str, int] = {}
        self._last_shape = ""

    def _take(self, pool: Sequence[str]) -> str | None:
        start = self._seed % len(pool) if pool else 0
        for line in [*pool[start:], *pool[:start]]:
            if line not in self._used:
                self._used.add(line)
                return line
        return None

    def opens(self, role: str, heading: str) -> str | None:
        """A line that opens a scene of this role: by its topic, unless the role says more."""
        opening, first = not self._opened, role not in self._opened
        self._opened.add(role)
        topic = questions.topic(heading, self._common)
        if first or not topic:
            line = self._take(_BY_ROLE.get(role, ()))
            if line is not None:
                return line
        if topic:
            shape = self._take(_BY_TOPIC)
            if shape is not None:
                return shape.replace("{h}", topic)
        return (self._take(_FIRST if opening else _NEXT) if heading else None) or self._take(_ANY)

    def asks(self, claim: str) -> str | None:
        """A short question that this claim answers; None when all were used."""
        found = questions.about(claim, self._common)
        if found is not None:
            shape, question = found
            fresh = shape != self._last_shape and self._shapes.get(shape, 0) < _MOST_OF_A_SHAPE
            if fresh and question not in self._used:
                self._used.add(question)
                self._shapes[shape] = self._shapes.get(shape, 0) + 1
                self._last_shape = shape
                return question
        self._last_shape = ""
        for cue, pool in _BY_CUE:
            if cue.search(claim):
                line = self._take(pool)
                if line is not None:
                    return line
        return self._take(_ANY)

    def shows(self) -> str | None:
        """A line that brings a picture on the screen."""
        return self._take(_FIGURE)
