"""How each member of the cast can look: colours and shapes, no behaviour."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Hair = Literal["long", "short", "curly", "parted", "bob", "bun", "quiff", "scarf"]
Top = Literal["sweater", "blazer", "turtleneck", "shirt", "hoodie", "cardigan", "draped"]


@dataclass(frozen=True, slots=True)
class Look:
    """Colours as #rrggbb. shoulders: half their width, in units of which a head is about 94 wide."""

    skin: str
    shade: str
    light: str
    lip: str
    hair: Hair
    hair_colour: str
    hair_light: str
    top: Top
    top_colour: str
    top_shade: str
    accent: str
    iris: str
    shoulders: float
    jaw: float
    brow: float
    lashes: bool = False
    glasses: bool = False
    beard: bool = False
    blush: float = 0.2
    round_glasses: bool = False
    earrings: bool = False
    freckles: bool = False
    cuffs: bool = False
    #: Lines of laughter beside mouth and eyes, 0 to 1.
    age: float = 0.0

    @property
    def crown(self) -> float:
        """The hair's highest point above the neck's base."""
        return 66.0 + {"bun": 112.0, "quiff": 98.0}.get(self.hair, 86.0)


LOOKS: dict[str, Look] = {
    "maya": Look(
        skin="#F0BE98",
        shade="#D79871",
        light="#FBD9BC",
        lip="#C4544F",
        hair="long",
        hair_colour="#3B2320",
        hair_light="#70453A",
        top="sweater",
        top_colour="#1F8A8C",
        top_shade="#15676C",
        accent="#F4E9D8",
        iris="#5F3D22",
        shoulders=82,
        jaw=0.9,
        brow=3.0,
        lashes=True,
        blush=0.3,
    ),
    "dan": Look(
        skin="#C68C62",
        shade="#A06A45",
        light="#DDAA7E",
        lip="#B4665A",
        hair="short",
        hair_colour="#1D1918",
        hair_light="#3D3531",
        top="blazer",
        top_colour="#31436E",
        top_shade="#22305A",
        accent="#EDF1F7",
        iris="#3A2518",
        shoulders=98,
        jaw=1.04,
        brow=4.4,
        glasses=True,
        beard=True,
        blush=0.12,
        cuffs=True,
    ),
    "ada": Look(
        skin="#8D5A3B",
        shade="#6E4229",
        light="#A97049",
        lip="#8E3F3C",
        hair="curly",
        hair_colour="#1E1715",
        hair_light="#43332C",
        top="turtleneck",
        top_colour="#D99A2B",
        top_shade="#B27A1C",
        accent="#F6D489",
        iris="#2A1912",
        shoulders=84,
        jaw=0.92,
        brow=3.4,
        lashes=True,
        blush=0.14,
        earrings=True,
    ),
    "ken": Look(
        skin="#EBC2A0",
        shade="#CD9C78",
        light="#F7DBC2",
        lip="#B0685C",
        hair="parted",
        hair_colour="#8C8F96",
        hair_light="#B9BCC3",
        top="shirt",
        top_colour="#5D7F5B",
        top_shade="#466345",
        accent="#F3F1EA",
        iris="#39566B",
        shoulders=96,
        jaw=1.0,
        brow=3.8,
        blush=0.22,
        age=0.8,
    ),
    "lin": Look(
        skin="#F3CDA6",
        shade="#D8A67C",
        light="#FDE3C8",
        lip="#C9525A",
        hair="bob",
        hair_colour="#17151C",
        hair_light="#3F3A4C",
        top="blazer",
        top_colour="#B23A55",
        top_shade="#86283F",
        accent="#F6EEE6",
        iris="#2B1B14",
        shoulders=82,
        jaw=0.88,
        brow=3.0,
        lashes=True,
        blush=0.26,
        cuffs=True,
    ),
    "noor": Look(
        skin="#D9A679",
        shade="#B68156",
        light="#EDC59D",
        lip="#B04A50",
        hair="scarf",
        hair_colour="#5B4B9A",
        hair_light="#8A7AC6",
        top="draped",
        top_colour="#2E3560",
        top_shade="#212748",
        accent="#E8C46B",
        iris="#3C2415",
        shoulders=84,
        jaw=0.9,
        brow=3.6,
        lashes=True,
        blush=0.22,
    ),
    "leo": Look(
        skin="#F6CDB0",
        shade="#DDA283",
        light="#FFE4D0",
        lip="#C0675C",
        hair="quiff",
        hair_colour="#A9491F",
        hair_light="#DB7F42",
        top="hoodie",
        top_colour="#E0B23C",
        top_shade="#B58A22",
        accent="#FFF7E2",
        iris="#3E6B4E",
        shoulders=92,
        jaw=0.97,
        brow=3.6,
        freckles=True,
        blush=0.3,
    ),
    "sol": Look(
        skin="#B77B52",
        shade="#935B38",
        light="#D29A6E",
        lip="#A6484A",
        hair="bun",
        hair_colour="#D9D6D2",
        hair_light="#F8F6F2",
        top="cardigan",
        top_colour="#4D7C8A",
        top_shade="#37606C",
        accent="#F3E7D3",
        iris="#2F1E14",
        shoulders=86,
        jaw=0.93,
        brow=3.0,
        lashes=True,
        round_glasses=True,
        earrings=True,
        blush=0.2,
        age=1.0,
    ),
}
