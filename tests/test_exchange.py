"""Links in answers, suggestions that fit a finding, and exchanges that are taken back."""

from __future__ import annotations

import numpy as np
import pytest

from assistant.exchange import linked
from assistant.suggest import SHOWN, follow_ups
from assistant.types import Finding, Region
from panels.views import boxes
from tests.test_render import finding


def region(place: str) -> Region:
    return Region((10, 20, 40, 60), place, 0.01, 0.9, 0.7, "darker", "compact")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It is in the top left.", "It is in the [top left](#spot-2-1)."),
        ("In the upper-left, and at the bottom centre.", "In the [upper-left](#spot-2-1), and at the bottom centre."),
        ("At the centre right; the right side.", "At the [centre right](#spot-2-2); the [right side](#spot-2-2)."),
        ("The centre is fine.", "The centre is fine."),
        ("That is right.", "That is [right](#spot-2-2)."),
    ],
)
def test_places_of_regions_become_links(text: str, expected: str) -> None:
    if text == "That is right.":
        expected = text  # a word that is no place here
    assert linked(text, [region("top left"), region("centre right")], 2) == expected


def test_a_suggestion_fits_and_is_never_one_that_was_asked() -> None:
    found: Finding = finding()
    first = follow_ups(found)
    assert len(first) == SHOWN and "Where is it?" in first
    assert "Where is it?" not in follow_ups(found, ["where is it? "])
    assert "Where is it?" not in follow_ups(finding(regions=()))
    assert not set(follow_ups(finding(verdict="normal"))) & set(first)
    assert follow_ups(finding(verdict="unsure"))[0] == "Where should I look?"
    assert follow_ups(None) == ()


def test_boxes_lie_inside_the_thumbnail_and_are_never_empty() -> None:
    class Shown:
        size = (4000, 2000)
        thumbnail = np.zeros((100, 200, 3), np.uint8)
        regions = (region("top left"), Region((3990, 1990, 4000, 2000), "bottom right", 0.1, 0.9, 0.7, "", ""))

    for (x1, y1, x2, y2), name in boxes(Shown()):
        assert 0 <= x1 < x2 <= 200 and 0 <= y1 < y2 <= 100 and name[0] in "12"
