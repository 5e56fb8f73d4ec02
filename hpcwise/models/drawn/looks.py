"""How each member of the cast can look: colours and shapes, no behaviour."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Hair = Literal["long", "short", "curly", "parted"]
Top = Literal["sweater", "blazer", "turtleneck", "shirt"]


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
        lip="#A65A4E",
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
    ),
}
