"""A small paper and a cast, for tests of the screenplay."""

from __future__ import annotations

from hpcwise.core.document import Document, Figure, Section, Sentence

CAST: list[dict[str, str]] = [
    {"id": "dan", "name": "Dan", "role": "expert", "voice": "v2", "look": "l2"},
    {"id": "maya", "name": "Maya", "role": "host", "voice": "v1", "look": "l1"},
]

TOPICS = {
    "Introduction": [
        "Ships burn a great deal of heavy fuel when they cross the ocean.",
        "Winches are heavy, and they are costly to maintain on long journeys.",
        "Large kites can pull ships, but they are difficult to steer in gusts of wind.",
        "Crews need months of training before they can fly a kite at night.",
        "However, trained crews are rare in most harbours.",
    ],
    "Controller Design": [
        "The controller measures the pull of the kite at three points of the line.",
        "As shown in Figure 1, the pull follows the wind with a delay of two minutes.",
        "A small motor turns the kite by shortening one of its two lines.",
        "The software predicts gusts from the change of the pull over ten seconds.",
        "Batteries store the energy that the motor gives back when lines are let out.",
        "Three sensors vote, so that a wet one cannot mislead the motor.",
    ],
    "Experiments": [
        "The kite stayed in the air for 96 hours without a landing.",
        "Energy for steering fell from 5.1 kWh to 2.9 kWh a day.",
        "The crew of the Bergen Star flew 14 kites over two summers.",
        "Compared with winches, the motor reacted twice as fast to a gust.",
        "Landings at night were successful in 31 of 33 trials.",
        "A second ship repeated the trials with similar results in the Baltic Sea.",
    ],
    "Limitations": [
        "The trials covered summer weather only, so ice on the lines remains a challenge.",
        "Very light winds below 3 metres a second cannot lift the kite.",
    ],
    "Conclusion": [
        "Small motors are enough to steer large kites on the open sea.",
        "Future work will bring the controller to fishing boats and ferries.",
    ],
}


def kite_paper(title: str = "Fjord: Steering Large Kites with Small Motors") -> Document:
    abstract = [
        "We present Fjord, a controller that steers large kites with small motors at sea.",
        "Fjord uses 43% less energy than winches do in trials on the open ocean.",
    ]
    sections = [
        Section(heading=heading, page=page, sentences=tuple(Sentence(text=t, page=page) for t in texts))
        for page, (heading, texts) in enumerate({"Abstract": abstract, **TOPICS}.items(), 1)
    ]
    figure = Figure(
        index=0,
        label="Figure 1",
        caption="Pull of the kite over one day. The dashed line is the speed of the wind in metres a second",
        file="fig-0.png",
        width_px=900,
        height_px=600,
        page=3,
    )
    return Document(
        title=title,
        authors=("Ada Lindqvist", "Bo Marsh", "Chen Wei"),
        sections=tuple(sections),
        figures=(figure,),
        n_pages=6,
    )
