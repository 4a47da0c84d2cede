"""Plain facts about a picture as a whole, measured from its pixels: brightness, colour, orientation, structure.

They answer questions about the picture that have nothing to do with defects, so that the language model need not
guess. The thresholds were set by eye on photographs and inspection pictures; each is far from most pictures.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

BRIGHTNESSES = ("dark", "medium", "bright")
COLOURS = (
    "grey", "red", "orange", "brown", "beige", "yellow", "green", "blue", "purple", "pink", "colourful",
)  # fmt: skip
ORIENTATIONS = ("upright", "wide", "square")
STRUCTURES = ("plain", "finely structured", "coarsely structured")

SIDE = 192
"""Longest side everything is measured at, pixels: what is finer than that is noise of the camera."""
DARK, BRIGHT = 85.0, 170.0
"""Mean grey level (0..255) below which a picture is dark and above which it is bright."""
SQUARE = 1.1
"""Longer side over shorter side up to which a picture is square."""
COLOURED = 10.0
"""CIELAB chroma from which a pixel has a colour of its own; JPEG noise on grey stays below."""
GREY_SHARE = 0.2
"""Share of coloured pixels (0..1) below which a picture is grey."""
ONE_HUE = 0.75
"""Length of the mean colour vector over the mean chroma (0..1) from which one hue dominates; below: colourful."""
TILE = 16
"""Side of the tiles whose median decides on structure, pixels at SIDE: edges of an object fill few tiles."""
PLAIN = 3.5
"""Median standard deviation of a tile (grey levels) below which a picture is plain."""
COARSE = 1.3
"""Detail wider than about 4 pixels over finer detail (both at SIDE) from which a structure is coarse."""


@dataclass(frozen=True)
class PictureFacts:
    """What was measured of a picture as a whole.

    Attributes:
        brightness: one of BRIGHTNESSES.
        colour: one of COLOURS: "grey" without colour, "colourful" when several hues share the picture.
        orientation: one of ORIENTATIONS.
        structure: one of STRUCTURES.
    """

    brightness: str
    colour: str
    orientation: str
    structure: str

    def words(self) -> str:
        """One line, for example "dark, grey, square, finely structured"; medium is said as "medium-bright"."""
        brightness = "medium-bright" if self.brightness == "medium" else self.brightness
        return f"{brightness}, {self.colour}, {self.orientation}, {self.structure}"


def picture_facts(pixels: np.ndarray) -> PictureFacts:
    """Facts of a picture [H, W, 3] uint8 RGB; the orientation is that of the picture as given."""
    height, width = pixels.shape[:2]
    small = _shrunken(pixels)
    grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.float32)
    level = float(grey.mean())
    ratio = width / height
    return PictureFacts(
        brightness="dark" if level < DARK else "bright" if level > BRIGHT else "medium",
        colour=_colour(small),
        orientation="wide" if ratio > SQUARE else "upright" if ratio < 1 / SQUARE else "square",
        structure=_structure(grey),
    )


def _shrunken(pixels: np.ndarray) -> np.ndarray:
    """The picture with a longest side of SIDE; smaller ones stay as they are."""
    longest = max(pixels.shape[:2])
    if longest <= SIDE:
        return np.ascontiguousarray(pixels)
    # Area averaging reads every pixel; of large pictures every second to fourth is enough.
    step = max(1, longest // (2 * SIDE))
    height, width = (max(1, round(side * SIDE / longest)) for side in pixels.shape[:2])
    return cv2.resize(np.ascontiguousarray(pixels[::step, ::step]), (width, height), interpolation=cv2.INTER_AREA)


def _colour(small: np.ndarray) -> str:
    lab = cv2.cvtColor(small.astype(np.float32) / 255, cv2.COLOR_RGB2LAB).reshape(-1, 3)
    chroma = np.hypot(lab[:, 1], lab[:, 2])
    coloured = chroma > COLOURED
    if coloured.mean() < GREY_SHARE:
        return "grey"
    # The length of the mean vector tells one hue from several without deciding where one hue ends.
    light, green_red, blue_yellow = (float(value) for value in lab[coloured].mean(axis=0))
    strength = float(chroma[coloured].mean())
    if np.hypot(green_red, blue_yellow) < ONE_HUE * strength:
        return "colourful"
    return _hue_word(float(np.degrees(np.arctan2(blue_yellow, green_red))) % 360, light, strength)


def _hue_word(angle: float, light: float, strength: float) -> str:
    """The word for a CIELAB hue angle in degrees, lightness 0..100 and chroma."""
    # Between red and yellow a hue is called beige when pale, brown when weak or dark.
    if 35 <= angle < 110 and (strength < 40 or (angle > 50 and light < 50)):
        return "beige" if light > 68 else "brown"
    edges = (
        (20, "pink"), (50, "red"), (75, "orange"), (110, "yellow"), (195, "green"), (308, "blue"), (335, "purple"),
    )  # fmt: skip
    return next((word for edge, word in edges if angle < edge), "pink")


def _structure(grey: np.ndarray) -> str:
    blurred = cv2.GaussianBlur(grey, (0, 0), 1.2)
    fine, coarse = grey - blurred, blurred - cv2.GaussianBlur(grey, (0, 0), 6)
    if _tile_spread(fine + coarse) < PLAIN:
        return "plain"
    return "coarsely structured" if _tile_spread(coarse) > COARSE * _tile_spread(fine) else "finely structured"


def _tile_spread(plane: np.ndarray) -> float:
    """Median over tiles of the standard deviation inside a tile; the whole plane when it is smaller than a tile."""
    height, width = (side - side % TILE for side in plane.shape)
    if not height or not width:
        return float(plane.std())
    tiles = plane[:height, :width].reshape(height // TILE, TILE, width // TILE, TILE)
    return float(np.median(tiles.std(axis=(1, 3))))
