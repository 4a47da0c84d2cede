"""What an inspector knows of each kind of defect: its names, where it likely comes from, what it leads to, what to do.

One kind holds whatever a single picture cannot tell apart: a blowhole is a hole, a chip is a break, a stain is a
discolouration, an impurity is a contamination. Clauses are general enough to hold on any product, and none names a
kind other than its own, so that the kinds an answer names can be read back from its words.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from assistant.prompts import size_word

SEVERITIES = ("minor", "moderate", "serious")
_BY_SIZE = {"tiny": 0, "small": 0, "medium-sized": 1, "large": 2}


@dataclass(frozen=True)
class Kind:
    """Words for one kind of defect.

    Attributes:
        name: the canonical name, lower case; "" for UNKNOWN.
        noun: with its article, fits after "There is" and "looks like".
        causes: noun phrases that fit after "Likely cause:" and "It probably comes from".
        effects: verb phrases that fit after "It may".
        actions: verb phrases that fit after "To do:" and "I would".
        least, most: range of SEVERITIES, whatever the size.
        types: defect types of records and drawn defects that mean this kind, besides the name.
        words: what it is called in an answer, besides the name; plural endings are understood.
        also: other nouns, with their articles, that people ask with.
    """

    name: str
    noun: str
    causes: tuple[str, ...]
    effects: tuple[str, ...]
    actions: tuple[str, ...]
    least: str = "minor"
    most: str = "serious"
    types: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    also: tuple[str, ...] = ()


UNKNOWN = Kind(
    "", "a defect", (), ("affect function or looks",), ("inspect the spot by hand", "have a person look at the spot")
)
"""For records that say only that something is wrong; without causes, which nobody could know."""

# fmt: off
_ALL = (
    Kind(
        "crack", "a crack",
        ("stress or overload", "an impact", "fatigue or ageing of the material", "strain from heat and cold"),
        ("grow under load", "let moisture in and grow", "weaken the piece until it fails"),
        ("take it out of use until the crack is assessed", "measure its length and check whether it grows", "look for more cracks nearby and check the load"),
        least="serious", types=("hairline", "dead area"), words=("cracked", "cracking", "fissure"), also=("a fissure",),
    ),
    Kind(
        "scratch", "a scratch",
        ("rubbing against something hard", "careless handling or transport", "a hard particle dragged over the surface"),
        ("spoil the finish", "damage a coating", "let corrosion or moisture start there"),
        ("check the handling path for hard contacts", "feel its depth and compare with the finish limits", "polish it out if it is shallow"),
        most="moderate", types=("scratches", "scratch head", "scratch neck"), words=("scratches", "scratched", "scuff", "scuffed", "abrasion"), also=("an abrasion",),
    ),
    Kind(
        "break", "a break",
        ("an impact", "too much load", "a knock at the edge during handling"),
        ("leave loose pieces and sharp edges", "make the piece unusable", "spread under load"),
        ("reject the piece", "collect loose pieces and check the fixtures for impacts", "check packing and handling for knocks"),
        least="moderate", types=("chip", "shatter", "broken", "broken large", "broken small", "broken teeth", "damaged case"),
        words=("broken", "breakage", "chip", "chipped", "fracture", "fractured"), also=("a chip", "a fracture", "breakage"),
    ),
    Kind(
        "hole", "a hole",
        ("a puncture", "missing material", "gas trapped while the material set"),
        ("weaken the piece", "let liquid or air through", "collect moisture"),
        ("check how deep it goes", "reject the piece if it has to be tight or strong", "check the steps before for punctures and trapped gas"),
        least="moderate", types=("blowhole", "pores", "poke", "poke insulation"), words=("blowhole", "puncture", "punctured", "pore", "perforation"), also=("a puncture", "a pore", "a blowhole"),
    ),
    Kind(
        "cut", "a cut",
        ("a blade or a sharp edge", "a slip of a tool", "contact with something sharp in transport"),
        ("open further under tension", "weaken the piece"),
        ("look for the sharp edge that made it", "reject the piece if it goes through", "check its depth"),
        least="moderate", types=("cut lead", "cut inner insulation", "cut outer insulation"), words=("slit", "gash"), also=("a slit",),
    ),
    Kind(
        "frayed edge", "a frayed edge",
        ("wear at the edge", "a blunt tool", "rubbing at the edge"),
        ("grow with use", "shed loose material"),
        ("check the tool and trim the edge", "check the edge for loose material"),
        most="moderate", types=("fray",), words=("fray", "frayed", "fraying"), also=("fraying",),
    ),
    Kind(
        "deformation", "a deformation",
        ("pressure or a knock", "squeezing in a fixture or in packing", "too much force in handling"),
        ("disturb the fit", "hinder assembly", "spoil the looks"),
        ("check the shape against the drawing", "check fixtures and packing for pressure points"),
        types=("dent", "bent", "bend", "squeeze", "bent lead", "bent wire", "squeezed teeth"),
        words=("deformed", "dent", "dented", "bend", "bent", "squeezed"), also=("a dent", "a bend"),
    ),
    Kind(
        "wrinkle", "a wrinkle",
        ("uneven tension", "folding or slack material", "pressure while the material was soft"),
        ("spoil the looks", "disturb the fit", "become a weak line with use"),
        ("check tension and feed", "smooth it out and see whether it stays"),
        most="moderate", types=("fold",), words=("wrinkled", "fold", "folded", "crease", "creased"), also=("a fold", "a crease"),
    ),
    Kind(
        "contamination", "contamination",
        ("foreign particles or fibres from the surroundings", "foreign particles in the raw material", "residue of an earlier step"),
        ("spoil the looks", "disturb coating or sealing", "get into the product"),
        ("clean the spot and look again", "clean the station and find the source", "check the raw material and the filters"),
        types=("impurity", "metal contamination", "glue", "glue strip", "thread"),
        words=("contaminations", "contaminant", "contaminated", "impurity", "impurities", "dirt"), also=("dirt", "an impurity"),
    ),
    Kind(
        "discolouration", "a discoloured area",
        ("liquid or grease on the surface", "heat or chemicals", "uneven colour of the material"),
        ("spoil the looks", "point to heat or chemical damage", "disturb a later coating"),
        ("wipe it and see whether it stays", "clean it and look again", "check for heat and chemicals in the steps before"),
        most="moderate", types=("stain", "discoloration", "color", "colour", "patches", "oil", "liquid", "gray stroke"),
        words=("discoloration", "discoloured", "discolored", "stain", "stained"), also=("a stain",),
    ),
    Kind(
        "smear", "a smear",
        ("a film on the surface", "something wiped or smeared over it", "a dirty lens of the camera"),
        ("hide what lies under it", "spoil the looks"),
        ("clean the surface and the lens, then look again", "take a second picture to rule out the lens"),
        most="moderate", types=("blur",), words=("smeared", "blur", "blurred", "blurry"), also=("a blurred spot",),
    ),
    Kind(
        "foreign object", "a foreign object",
        ("something dropped or left behind", "a loose piece from a step before", "something carried in with the material"),
        ("block or damage what follows", "get into the product"),
        ("remove it and find out where it came from", "remove it and check the pieces before and after"),
        least="moderate", words=("foreign body", "foreign bodies", "foreign item"), also=("a foreign body",),
    ),
    Kind(
        "foreign patch", "a foreign patch",
        ("material that belongs elsewhere", "another material on the surface", "a faulty repair or a mix-up of materials"),
        ("disturb the pattern of the surface", "disturb later steps"),
        ("compare it with a good piece", "check whether it can be removed"),
        types=("texture", "patch"), words=("foreign patches", "misplaced patch", "misplaced patches", "foreign texture"),
    ),
    Kind(
        "misprint", "a misprint",
        ("a shift of the print", "a worn or dirty print form", "too little ink or pressure"),
        ("make the print unreadable", "lead to a mix-up of products"),
        ("check the registration of the print", "check whether it can still be read"),
        types=("faulty imprint", "print"), words=("misprinted", "faulty print", "faulty imprint", "printing fault"), also=("a faulty print",),
    ),
    Kind(
        "uneven surface", "an uneven surface",
        ("uneven grinding or pressing", "a worn tool", "uneven feed or pressure"),
        ("disturb the fit", "change how it wears"),
        ("check grinding and pressing", "measure the flatness"),
        types=("uneven", "rough"), words=("unevenness", "uneven area", "uneven place"), also=("unevenness",),
    ),
    Kind(
        "line mark", "a line mark",
        ("a tool or roller mark", "a natural vein of the material", "pressure along a line"),
        ("spoil the looks",),
        ("check rollers and tools for marks", "decide by the finish limits"),
        most="moderate", types=("line",), words=("line-like mark", "streak"), also=("a streak",),
    ),
    Kind(
        "pitting", "pitting",
        ("corrosion", "particles pressed into the surface", "worn rollers"),
        ("start corrosion", "weaken the surface", "disturb a later coating"),
        ("check storage for moisture", "check the rollers and clean the surface"),
        least="moderate", types=("pitted surface",), words=("pit", "pitted"), also=("a pit",),
    ),
    Kind(
        "crazing", "crazing",
        ("surface tension during cooling", "repeated heating and cooling"),
        ("deepen with time", "weaken the surface"),
        ("check heating and cooling", "check how deep it goes"),
        least="moderate", words=("crazed",),
    ),
    Kind(
        "inclusion", "an inclusion",
        ("slag or foreign particles in the material", "particles caught in the material while it was made"),
        ("weaken the material", "open up in later forming"),
        ("check the melt or the raw material", "test the strength at the spot"),
        least="moderate",
    ),
    Kind(
        "rolled-in scale", "rolled-in scale",
        ("scale that was not removed before rolling", "weak descaling"),
        ("spoil the surface", "disturb a later coating"),
        ("check descaling before rolling", "clean the surface and measure what stays"),
        most="moderate", words=("rolled in scale",),
    ),
    Kind(
        "circuit fault", "a circuit fault",
        ("etching that went wrong", "a fault in exposure or in the mask", "a particle on the board during exposure"),
        ("interrupt or bridge a track", "make the board fail"),
        ("test the board electrically", "compare the track with the layout"),
        least="serious", types=("circuit", "artwork fault", "open", "short", "mousebite", "spur", "copper", "pinhole"),
        words=("circuit defect", "short circuit", "open circuit", "mouse bite", "mousebite"), also=("a short circuit",),
    ),
)
# fmt: on

KINDS: dict[str, Kind] = {kind.name: kind for kind in _ALL}
"""The kinds by their canonical names."""
_TYPES = {kind_type: kind.name for kind in _ALL for kind_type in (kind.name, *kind.types)}
_WORDS = {word: kind.name for kind in _ALL for word in (kind.name, *kind.words)}
# The longest first: "foreign patches" before "foreign patch" before anything shorter that begins alike.
_NAMED = re.compile(
    rf"(?<![\w-])({'|'.join(re.escape(word) for word in sorted(_WORDS, key=len, reverse=True))})(?:s|es)?(?![\w-])",
    re.IGNORECASE,
)


def canonical(defect: str) -> str | None:
    """The canonical kind of a record's defect type or of a drawn defect.

    Several types in one string ("open,short") count when they all mean the same kind.

    Returns:
        A key of KINDS; None for types that say nothing about the kind ("good", "casting_defect").
    """
    kinds = {_TYPES.get(" ".join(part.replace("_", " ").lower().split())) for part in defect.split(",")}
    return kinds.pop() if len(kinds) == 1 else None


def kind_of(defect: str) -> Kind:
    """The words for a record's defect type; UNKNOWN when the type says nothing about the kind."""
    name = canonical(defect)
    return UNKNOWN if name is None else KINDS[name]


def kinds_in(text: str) -> tuple[str, ...]:
    """Canonical kinds named in an answer's words, in order, each once."""
    return tuple(dict.fromkeys(_WORDS[match[1].lower()] for match in _NAMED.finditer(text)))


def kind_in(text: str) -> str | None:
    """The first canonical kind named in an answer's words, None when none is."""
    match = _NAMED.search(text)
    return None if match is None else _WORDS[match[1].lower()]


def severity(kind: Kind, area: float) -> str:
    """One of SEVERITIES: by size first (tiny and small are minor), then held within the range of the kind.

    Args:
        kind: UNKNOWN is judged by size alone.
        area: share of the picture, 0..1.
    """
    least, most = SEVERITIES.index(kind.least), SEVERITIES.index(kind.most)
    return SEVERITIES[min(max(_BY_SIZE[size_word(area)], least), most)]
