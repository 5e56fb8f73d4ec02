"""What may be said of a sentence, and what a check of faithfulness finds."""

from __future__ import annotations

import pytest

from hpcwise.core.faithful import names
from hpcwise.core.screenplay import Line
from hpcwise.models.screenplay.host import Host
from hpcwise.models.screenplay.leaning import leans_on_previous
from hpcwise.models.screenplay.questions import about
from hpcwise.models.screenplay.speakable import (
    as_second,
    check_line,
    to_speech,
    without_also,
)
from hpcwise.models.screenplay.timing import expected_s, lines_s

SAID = {
    "We show that our method saves 37.78% of the energy [3, 12].": (
        "The authors show that their method saves 37.78 percent of the energy."
    ),
    "Furthermore, large language models (LLMs) are costly to serve (Smith et al., 2019; Lee, 2020).": (
        "Large language models are costly to serve."
    ),
    "The kite flew 8.4× longer (see Figure 3) than any kite (e.g., those of sailors) before it.": (
        "The kite flew 8.4 times longer than any kite, for example, those of sailors, before it."
    ),
    "Runs took 5–10 minutes, i.e., less than the ~20 minutes of a walk.": (
        "Runs took 5 to 10 minutes, that is, less than the about 20 minutes of a walk."
    ),
    "clusterSEs covers linear models and “panel” data & their errors.": (
        'clusterSEs covers linear models and "panel" data and their errors.'
    ),
    "We've seen that the kite turns, and we'll fly it again.": (
        "The authors have seen that the kite turns, and they will fly it again."
    ),
    # Too long: what the end adds may be left out, and the purpose that it opens with.
    "We use the resulting data set to train a network that predicts the pull of the kite from the wind, "
    "where the "
    "wind is given as its speed and direction at the height of the bridge, measured ten times in every "
    "second.": (
        "The authors use the resulting data set to train a network that predicts the pull of the kite "
        "from the wind."
    ),
    "The planner has the highest success rate on a set of 10 new kites and achieves 99% precision on a "
    "set of 40 "
    "household kites, some of which are torn in more than one place or were mended by people who had "
    "little training.": (
        "The planner has the highest success rate on a set of 10 new kites and achieves 99 percent "
        "precision on a "
        "set of 40 household kites."
    ),
    "To reduce the time for the collection of data at sea and on land in all kinds of bad weather, we "
    "train on 6.7 "
    "million pictures that were made by a program which draws kites and clouds.": (
        "The authors train on 6.7 million pictures that were made by a program which draws kites and clouds."
    ),
    "The Lemaître–Tolman model of a kite — ie a kite at rest — was flown.": (
        "The Lemaître-Tolman model of a kite, that is, a kite at rest, was flown."
    ),
    "Farewell!—the kites of Yahoo!, Fjord and two others were flown together.": (
        "Farewell! the kites of Yahoo!, Fjord and two others were flown together."
    ),
    "As shown in Table 5, the kite is faster than all of the sails.": (
        "The kite is faster than all of the sails."
    ),
    "The kite has three lines, as outlined in Fig. 3, and a winch for each.": (
        "The kite has three lines, and a winch for each."
    ),
    "The user’s experiments show that during a storm the parts of both algorithms work in most cases.": (
        "The user’s experiments show that during a storm the parts of both algorithms work in most cases."
    ),
    "During the first flight, we only considered a kite with an F1 score of 85%.": (
        "During the first flight, the authors only considered a kite with an F1 score of 85 percent."
    ),
    "To combine both of them, we need some patterns of the kites.": (
        "To combine both of them, one needs some patterns of the kites."
    ),
    "The winner of a round is known with +- 92% accuracy.": (
        "The winner of a round is known with plus or minus 92 percent accuracy."
    ),
    "The method is closely related to reweighting of the kites (not shown).": (
        "The method is closely related to reweighting of the kites."
    ),
    "The kite supports two winches since version 1.20.0–.": "The kite supports two winches since version "
    "1.20.0.",
}

REFUSED = [
    "In Figure 3, the pull follows the wind with a delay.",
    "The parts of the kite were sewn as in Part B of the book of sails.",
    "The value of α grows with the square root of the length of the line.",
    "The rest of this paper is organized as follows in five sections.",
    "Smith et al. showed that kites can pull large ships at sea.",
    "The code is available at https://example.org/kites for everybody.",
    "Calling fit(x) returns the model with all of its coefficients.",
    "Too short, it is.",
    "How can the authors find a better kite for the open sea?",
    "Accepts a formula and returns the model matrix of the kite.",
    "For details, the authors refer to the files of the kite in that directory.",
    "The pull of the kite is a linear function of the form!",
    "The pull of a kite depends on the joint distribution of Y and Z.",
    "Ada Lindqvist thanks Bo Marsh for his help with all of the kites.",
    "Now compute the pull of the kite for all the hours of the day.",
    "The pull, as the left panel shows (top row, was large in all of the runs.",
    "17 is that any measure over six months old is no longer relevant.",
    "Preserve everything else: copy all other cells of the kite unchanged.",
    "Number of winches, weapons etc. on each side of the ship.",
    "Lets applications talk to each other over a common line.",
    "Each entry of the table requires about 3\U0001d44f passes of the model.",
    "We'd have liked to see the kite again on another day.",
    "The authors are available for questions about the kite.",
    'The "unrolled loop" variant of the program in modified code.',
    "How to continue with kites after the end of this workshop.",
    "Go complain to its vendor if the kite is still in the box.",
    "In kites of both kinds, which were flown on a single line by a crew of two who had been trained for "
    "a month and "
    "more at the harbour of the town in which all of them live, the pull is the same.",
    "The planner has the highest success rate of all on a set of 10 new kites that were flown from the "
    "bridge in the "
    "harbour by a crew of two, some of which had no line to hold them and came down at once.",
    "The planner has the highest success rate of all on a set of 10 new kites that were flown from the "
    "bridge in the "
    "harbour by a crew of two for a month, assuming that the wind blows as it did in spring.",
    # A citation that is a word of its sentence, and authors on their own text.
    "According to [12], if the pull is less than 0.1 the kite comes down.",
    "In [7] the modification of the kite is studied for several winds.",
    "We now specify the kite that is to be flown in the harbour.",
    "In the following a kite of two parts is used as the source of the pull.",
    "An overview of the harbour is given that includes all of its kites.",
    "The design of the kite has been outlined.",
    "Are they meant to fly, or are they only seen on the bridge of the ship.",
    "Optionally, document what steps are needed before the kite is flown.",
    "For instance, consider the kite of a ship that lies in the harbour.",
    "The arrows show which of the ways are open to the kite.",
    "The story of the kite should be read along with the log of the ship.",
    # Phrases out of tables, captions and examples.
    "Results for the larger kite of the harbour and for its winch.",
    "A single word naming the kite as described by its crew on board.",
    "Called during the launch of a kite that failed after its line broke.",
    "Hypothesis: Steve Webster won ten races with a kite of his own.",
    # What would be heard wrongly.
    "The error of the pull that comes with this kite is .040 in all.",
    "Lines range in size up to \u20444 inch for all of the kites.",
    "To end a line put use . on a line by itself for the winch.",
    "Kite-V3demonstrates that lines can be longer than the ship is.",
    "We feel the void which the kite makes, With joy and sorrow of the sea.",
    "Next, we present several ways to fly the kite from the bridge.",
    "We are thy sisters, and the kite is free on the open sea.",
    # What is too long ends in the middle of its second half.
    "A key point is that it is far from obvious whether the pulls of a kite over a line of that length, "
    "such as the pull of the averaged kite in the harbour, are really the pulls which are measured by crews.",
    "A very long sentence " + "that goes on about the kite and the sea " * 6 + "ends here.",
]


@pytest.mark.parametrize("sentence", SAID)
def test_a_sentence_is_cleaned_for_speech_and_stays_faithful(sentence: str) -> None:
    said = to_speech(sentence)
    assert said == SAID[sentence]
    assert check_line(Line(speaker="e", text=said, source=sentence)) == []


@pytest.mark.parametrize("sentence", REFUSED)
def test_what_cannot_be_said_faithfully_is_refused(sentence: str) -> None:
    assert to_speech(sentence) is None


def test_a_figure_may_be_named_only_while_it_is_on_screen() -> None:
    sentence = "As shown in Figure 3, the pull follows the wind with a delay."
    assert to_speech(sentence, figure="Figure 3") == sentence
    assert to_speech(sentence, figure="Figure 2") is None
    assert (
        to_speech("As shown in Fig. 3, the pull follows the wind with a delay.", figure="Figure 3")
        == sentence
    )


@pytest.mark.parametrize(
    ("sentence", "leans"),
    [
        ("However, the sensors drift when they are wet.", True),
        ("This leads to a longer delay of the pull.", True),
        ("To mitigate this, the authors dry the sensors.", True),
        ("Following the storm of 1987, it was withdrawn.", True),
        ("This paper presents a controller for large kites.", False),
        ("There is no better way to cross the sea.", False),
        ("Although kites are old, they are still useful.", False),
        ("Large kites can pull ships.", False),
        ("An alternative approach is to plan the flight before the ship leaves.", True),
        ("As shown in Figure 3, it follows the wind with a delay.", True),
        ("As shown in Figure 3, the pull follows the wind.", False),
        ("If chosen carefully, this may improve the pull of the kite.", True),
        ("The next step is to fly the kite from the bridge.", True),
        ("The measured pull of the larger kite is significantly better.", True),
        ("The wish of its crew is different as well.", True),
        ("An alternating current flows through the winch of the kite.", False),
        ("This paper describes how these goals are met by the crew of the ship.", True),
        ("This paper describes how kites are flown from the bridge of the ship.", False),
    ],
)
def test_a_sentence_that_points_back_is_known(sentence: str, leans: bool) -> None:
    assert leans_on_previous(sentence) is leans


def test_a_changed_number_or_name_is_found() -> None:
    source = "Fjord kept the kite of Marsh in the air for 96 hours and used 2.9 kWh."
    wrong = Line(speaker="e", text="Fiord kept the kite of March in the air for 69 hours.", source=source)
    assert check_line(wrong) == [
        "number 69 is not in the source",
        "name Fiord is not in the source",
        "name March is not in the source",
    ]
    assert check_line(Line(speaker="e", text="The kite of Marsh used 2.9 kWh.", source=source)) == []
    assert check_line(Line(speaker="h", text="What did Anna find in 1999?")) == []


def test_numbers_and_acronyms_take_longer_to_say_than_their_letters() -> None:
    assert (
        expected_s("the year of the kite")
        < expected_s("the year 1987 it was")
        < expected_s("the XML of 1987 it was")
    )
    # spoken by the default voice this line took 6.5 s
    line = Line(
        speaker="e",
        text="The authors observe that using multiple ensembles of Crawler during inference can help.",
    )
    assert 5.0 < lines_s([line]) < 7.5


@pytest.mark.parametrize(
    ("text", "source", "wrong"),
    [
        ("It took five minutes.", "It took 5 minutes.", []),
        ("It took twenty-five minutes.", "It took 25 minutes.", []),
        ("Two thousand boats came.", "About 2,000 boats came.", []),
        ("This one is fast.", "It is fast.", []),
        ("It took six minutes.", "It took 5 minutes.", ["number six is not in the source"]),
        ("It saves 43 percent.", "It saves 43% of the fuel.", []),
        ("It saves 43 percent.", "It saves 43 kg.", ["43 percent is no percentage in the source"]),
        ("It is twice as fast.", "It is faster by 20%.", ["number twice is not in the source"]),
        ("It is not safe.", "It is safe.", ['a "not" is in one of line and source only']),
        ("It is safe.", "It isn't safe.", ['a "not" is in one of line and source only']),
        ("The Fjord's motor is small.", "Fjord has a small motor.", []),
        ("Fjords are small.", "A fjord is small.", []),
        (
            "GPT-5 did it.",
            "GPT-4 did it.",
            ["number 5 is not in the source", "name GPT-5 is not in the source"],
        ),
        ("Where does Einstein come in?", "", []),
    ],
)
def test_what_a_line_adds_to_its_source_is_found(text: str, source: str, wrong: list[str]) -> None:
    assert check_line(Line(speaker="e", text=text, source=source)) == wrong


def test_a_name_of_the_title_may_be_said_and_a_heading_too() -> None:
    line = Line(speaker="e", text="Fjord steers the kite.", source="It steers the kite.")
    assert check_line(line) == ["name Fjord is not in the source"]
    assert check_line(line, ["Fjord: Steering Large Kites"]) == []


def test_the_host_never_asks_twice_and_takes_up_only_headings_that_fit() -> None:
    host = Host(seed=5, common={"motors", "small"})
    headings = ("Why it works", "42", "Results", "The \ufffd", "On ships", "Small Motors", "Fjord")
    asked = [host.opens("body", heading) for heading in headings * 8]
    asked += [host.asks("It was 3 percent faster than before.") for _ in range(40)]
    asked += [host.shows() for _ in range(20)]
    said = [line for line in asked if line is not None]
    # Templates are used once each, whatever topic they were filled with.
    assert len(said) > 35
    assert len(said) == len(set(said))
    assert any("small motors" in line for line in said)
    assert any("Fjord" in line for line in said)
    for odd in ("\ufffd", "Why it works", "42", "On ships", "Results"):
        assert not any(odd in line for line in said)


@pytest.mark.parametrize(
    ("claim", "question"),
    [
        ("Fjord is a controller for large kites.", "What is Fjord?"),
        ("The controller measures the pull at three points.", "What does the controller do?"),
        ("Batteries store the energy of the motor.", "What do batteries do?"),
        ("Pilots can modify existing test procedures.", None),
        ("The permutation tests are a good choice.", "What are the permutation tests?"),
        ("The chi squared test uses all of the data.", "What does the chi squared test do?"),
        ("The system consists of two agents.", "What is the system made of?"),
        ("PaSa outperforms all baselines.", "And how well does PaSa do?"),
        ("The authors use a small motor.", None),
        ("This is a problem.", None),
        ("An example is a kite with two lines.", None),
        ("In summer it works.", None),
        ("The pull of the kite is a function.", None),
    ],
)
def test_a_question_is_one_that_the_claim_answers(claim: str, question: str | None) -> None:
    found = about(claim, {"batteries"})
    assert (found[1] if found else None) == question


@pytest.mark.parametrize(
    ("claim", "cue"),
    [
        ("The kite saved 12 percent more than the sail.", "How big is the difference?"),
        ("In July they sold a share of 50 percent.", "Do they put a number on that?"),
        ("The kite fell because its line broke.", None),
        ("After a power failure the winch asks for its state.", None),
        ("Two or more crews might fly it at the same time.", None),
        ("It gives beginners a way to fly.", "Who is that for?"),
        ("It will handle more lines than many people suspect.", None),
    ],
)
def test_a_cue_is_taken_up_only_by_what_answers_it(claim: str, cue: str | None) -> None:
    asked = Host(seed=0).asks(claim)
    assert asked == (cue or "Tell me more.")


def test_nobody_asks_what_the_title_named() -> None:
    claim = "Fjord is a controller for large kites."
    assert Host(seed=0).asks(claim) == "What is Fjord?"
    assert Host(seed=0, title="Fjord").asks(claim) == "Tell me more."


def test_no_question_of_the_hosts_is_taken_for_a_name() -> None:
    host = Host(seed=0)
    roles = ("problem", "background", "core", "idea", "related", "method", "evidence", "example", "limits")
    asked = [host.opens(role, "") for role in (*roles, "conclusion") * 6]
    asked += [host.opens("body", heading) for heading in ("kites", "Why it works") * 12]
    asked += [host.asks("A kite flies.") for _ in range(20)] + [host.shows() for _ in range(9)]
    said = [line for line in asked if line is not None]
    assert len(said) > 70
    assert [name for line in said for name in names(line, [])] == []


def test_a_line_alone_looks_back_at_nothing() -> None:
    assert without_also("Fjord also has a motor.") == "Fjord has a motor."
    assert without_also("It is not only light but also strong.") == "It is not only light but also strong."
    assert as_second("The authors show that.") == "They show that."
    assert as_second("The authors' kite flew.") == "Their kite flew."


def test_the_length_of_a_number_is_that_of_its_words() -> None:
    for digits, words in (
        ("It took 12 weeks.", "It took twelve weeks."),
        ("It took 2.5 weeks.", "It took two point five weeks."),
        ("It fell by 64 percent in 100 trials.", "It fell by sixty four percent in one hundred trials."),
    ):
        assert expected_s(digits, "af_heart") == expected_s(words, "af_heart")
    assert expected_s("It was built in 1170.") > expected_s("It was built in time.")
