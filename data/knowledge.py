"""What an inspector says about each kind of defect: its name, where it usually comes from, what it leads to, what to do."""

from __future__ import annotations

from typing import NamedTuple


class Kind(NamedTuple):
    """Words for one kind of defect.

    Attributes:
        noun: with its article, fits after "There is" and "looks like".
        cause, effect, action: whole clauses that fit after "Likely cause:", "It may" and "To do:".
    """

    noun: str
    cause: str
    effect: str
    action: str


UNKNOWN = Kind("a defect", "not clear from the picture alone", "affect function or looks", "inspect the spot by hand")
"""For records that say only that something is wrong."""

KINDS: dict[str, Kind] = {
    "crack": Kind("a crack", "stress, impact or cooling strain", "grow under load", "reject the part and check the load or cooling"),
    "scratch": Kind("a scratch", "rubbing against a hard edge during handling", "spoil the surface and its coating", "check the handling path for sharp contacts"),
    "stain": Kind("a stain", "liquid or grease that dried on the surface", "spoil the looks and the adhesion of coatings", "clean the spot and look again"),
    "hole": Kind("a hole", "a puncture or missing material", "weaken the part or let it leak", "reject the part"),
    "foreign_object": Kind("a foreign object", "something dropped or left behind", "block or damage what follows", "remove it and look where it came from"),
    "chip": Kind("a chipped edge", "an impact at the edge", "weaken the edge and leave loose pieces", "check the fixtures and packing for impacts"),
    "texture": Kind("a foreign patch", "foreign material on the surface", "disturb later steps", "remove the material and look again"),
    "patch": Kind("a misplaced patch", "material that belongs elsewhere", "break the pattern", "compare with a good part"),
    "contamination": Kind("contamination", "dust, fibres or drops from the surroundings", "spoil the looks and later coating", "clean the part and the station"),
    "dent": Kind("a dent", "pressure or a knock", "disturb fit and looks", "check the fixtures for pressure points"),
    "wrinkle": Kind("a wrinkle", "uneven tension or folding", "spoil the looks and the fit", "check tension and feed"),
    "misprint": Kind("a misprint", "a shifted or worn print form", "make the print unreadable", "check the registration of the print"),
    "discolouration": Kind("a discoloured area", "heat, chemicals or uneven dye", "spoil the looks", "check temperature and chemicals"),
    "blur": Kind("a blurred spot", "a film or a smear on the surface", "hide other defects", "clean the part and the lens, then look again"),
    "blowhole": Kind("a blowhole", "gas trapped while the material set", "weaken the part", "check degassing and moisture"),
    "break": Kind("a break", "an impact or too much load", "make the part unusable", "reject the part"),
    "fray": Kind("a frayed edge", "wear or a blunt tool", "grow with use", "check the cutting tool"),
    "uneven": Kind("an uneven surface", "uneven grinding or pressing", "disturb the fit", "check grinding and pressing"),
    "cut": Kind("a cut", "a blade or a sharp edge", "open further under load", "reject the piece and look for the edge"),
    "line": Kind("a line mark", "a fold, a tool or a vein", "spoil the looks", "check rollers and tools for marks"),
    "impurity": Kind("an impurity", "foreign particles in the material", "spoil looks and strength", "check the raw material and filters"),
    "crazing": Kind("crazing", "surface tension during cooling", "grow into cracks", "check the cooling"),
    "inclusion": Kind("an inclusion", "slag or foreign particles rolled in", "weaken the material", "check the melt and its cleaning"),
    "patches": Kind("patches", "uneven scale or chemistry on the surface", "disturb coating", "check descaling"),
    "pitted_surface": Kind("pitting", "corrosion or particles pressed in", "start corrosion and cracks", "check storage and rollers"),
    "rolled-in_scale": Kind("rolled-in scale", "scale that was not removed before rolling", "spoil the surface", "check descaling before rolling"),
    "scratches": Kind("scratches", "rubbing against a hard edge during handling", "spoil the surface and its coating", "check the handling path for sharp contacts"),
    "circuit": Kind("a circuit fault", "etching or exposure that went wrong", "open or short a track", "test the board electrically"),
}  # fmt: skip

BOARD_TYPES = ("open", "short", "mousebite", "spur", "copper", "pinhole")


def kind_of(defect: str) -> Kind:
    """The words for a record's defect type; UNKNOWN when the type says nothing about the kind."""
    if any(part in BOARD_TYPES for part in defect.split(",")):
        return KINDS["circuit"]
    return KINDS.get(defect, UNKNOWN)
