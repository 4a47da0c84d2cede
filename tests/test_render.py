"""Drawing and words: an absolute scale, boxes where they belong, and nothing foreign that becomes markup."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from assistant import render
from assistant.errors import MediaError
from assistant.gauge import gauge_html
from assistant.types import Finding, Look, Region

GREY = np.full((60, 90, 3), 120, np.uint8)
HOSTILE = "<img src=x onerror=alert(1)> ![p](https://evil.example/p.png) [l](javascript:x) **b** `c`\n# h\n- i\n1. j"


def region(box: tuple[int, int, int, int] = (20, 10, 40, 30), place: str = "top left") -> Region:
    return Region(box, place, 0.05, 0.97, 0.8, "darker", "elongated")


def look(heat: np.ndarray, regions: tuple[Region, ...] = (), thumbnail: np.ndarray = GREY, scale: int = 1) -> Look:
    height, width = thumbnail.shape[:2]
    return Look((width * scale, height * scale), 0.9, heat.astype(np.float32), regions, thumbnail, {})


def finding(**changes: object) -> Finding:
    values = dict(
        verdict="anomalous", confidence=0.934, verdict_probability=0.934, score=0.8, threshold=0.5,
        threshold_source="set on held-out pictures", regions=(region(),), explanation="Yes.", warnings=("Look there.",),
    )  # fmt: skip
    return Finding(**{**values, **changes})  # type: ignore[arg-type]


def test_a_quiet_map_leaves_the_picture_untouched() -> None:
    quiet = np.random.default_rng(0).uniform(0, render.CLEAR_BELOW, (60, 90))
    assert np.array_equal(render.overlay(look(quiet)), GREY)


def test_the_scale_is_absolute() -> None:
    heat = np.zeros((60, 90))
    heat[10:30, 20:40] = 0.5
    alone = render.overlay(look(heat), boxes=False)
    heat[40:50, 60:80] = 1.0
    beside_a_stronger_one = render.overlay(look(heat), boxes=False)
    assert np.array_equal(alone[:35, :50], beside_a_stronger_one[:35, :50])
    assert (alone[20, 30] != GREY[20, 30]).any()


def test_colour_grows_with_the_value_and_the_opacity() -> None:
    def change(value: float, opacity: float) -> float:
        drawn = render.overlay(look(np.full((60, 90), value)), opacity, boxes=False)
        return float(np.abs(drawn.astype(int) - GREY).mean())

    assert change(0.9, 0.0) == 0 < change(0.9, 0.3) < change(0.9, 0.9)
    assert change(0.25, 0.55) < change(0.5, 0.55) < change(1.0, 0.55)
    with pytest.raises(ValueError, match="opacity"):
        render.overlay(look(np.zeros((60, 90))), 1.5)


def test_the_colours_grow_lighter_evenly() -> None:
    table = render.colour_table().astype(float)
    assert table.shape == (256, 3)
    assert (np.diff(table @ [0.299, 0.587, 0.114]) > -1).all()


def test_a_map_of_another_size_is_fitted() -> None:
    heat = np.zeros((30, 45))
    heat[5:15, 10:20] = 1
    drawn = render.overlay(look(heat), boxes=False)
    assert drawn.shape == GREY.shape and (drawn[20, 30] != 120).any() and (drawn[50, 80] == 120).all()


def test_boxes_are_in_pixels_of_the_picture_as_given() -> None:
    drawn = render.overlay(look(np.zeros((60, 90)), (region((200, 300, 400, 500)),), scale=10), boxes=True)
    changed = np.argwhere((drawn != GREY).any(axis=2))
    below_label = changed[changed[:, 0] >= 40]
    assert below_label.min(axis=0)[1] >= 17 and below_label.max(axis=0).tolist()[0] <= 53
    assert 38 <= below_label.max(axis=0)[1] <= 43


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (200, 3), (8, 8)])
def test_tiny_and_narrow_pictures_can_be_drawn(size: tuple[int, int]) -> None:
    thumbnail = np.zeros((*size, 3), np.uint8)
    whole = region((0, 0, size[1], size[0]))
    assert render.overlay(look(np.ones(size), (whole,), thumbnail)).shape == (*size, 3)


def test_the_overlay_is_written_as_png_or_not_at_all(tmp_path: Path) -> None:
    file = tmp_path / "out.jpg"
    render.save_overlay(look(np.ones((60, 90)), (region(),)), file)
    with Image.open(file) as image:
        assert (image.format, image.size) == ("PNG", (90, 60))
    with pytest.raises(MediaError, match="could not be written"):
        render.save_overlay(look(np.ones((60, 90))), tmp_path / "no" / "out.png")
    (tmp_path / "folder").mkdir()
    with pytest.raises(MediaError, match="could not be written"):
        render.save_overlay(look(np.ones((60, 90))), tmp_path / "folder")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["folder", "out.jpg"]


def test_the_lines_say_verdict_score_places_and_warnings() -> None:
    lines = render.summary_lines(finding())
    assert lines[0] == "Anomalous, 93 % sure"
    assert lines[1] == "Score 0.80, threshold 0.50 (set on held-out pictures)"
    assert lines[2].startswith("1. top left: 5.0 % of the picture, peak 0.97, darker, elongated, box 20,10 to 40,30")
    assert lines[3] == "Note: Look there."


def test_kinds_are_shown_unless_the_verdict_is_normal() -> None:
    kinds = (("crack", 0.78), ("scratch", 0.12), ("cut", 0.05))
    assert "Could be: crack 78 %, scratch 12 %" in render.summary_lines(finding(kinds=kinds))
    assert not any("Could be" in line for line in render.summary_lines(finding(kinds=kinds, verdict="normal")))
    assert "Could be: crack 78 %" in render.evidence_markdown((region(),), (), kinds)
    assert "<b>" not in render.evidence_markdown((), (), (("<b>", 0.9),))
    hardly = (("wrinkle", 0.07), ("crack", 0.06))  # of twenty kinds: it says nothing
    assert not any("Could be" in line for line in render.summary_lines(finding(kinds=hardly)))
    assert "Could be" not in render.evidence_markdown((region(),), (), hardly)


def test_odd_findings_are_worded() -> None:
    assert render.verdict_line(finding(confidence=0.9999)) == "Anomalous, more than 99 % sure"
    unsure = finding(verdict="unsure", confidence=0.52, verdict_probability=0.48)
    assert render.verdict_line(unsure) == "Unsure, 52 % for normal"
    assert "Nothing stands out on the map." in render.summary_lines(finding(regions=()))
    assert "Nothing stands out" in render.evidence_markdown((), ())


def test_foreign_text_never_becomes_markup_or_steers_a_terminal() -> None:
    hostile = finding(warnings=(HOSTILE + "\x1b[31m\u202e",), threshold_source="<script>x</script>")
    for line in render.summary_lines(hostile):
        assert line.isprintable()
    markup = re.compile(r"<(img|script)|(?<!\\)\[[lp]|(?<!\\)\*\*b|https://|^(#|-) [hi]$|^1\. j", re.MULTILINE)
    assert markup.search(HOSTILE)
    for text in (
        render.evidence_markdown(hostile.regions, hostile.warnings),
        gauge_html(hostile),
        render.escape(HOSTILE),
    ):
        assert not markup.search(text)


def test_ordinary_sentences_are_not_changed_by_escaping() -> None:
    text = "Yes. There is a dark-ish mark (2.1 %) in the top left; is it a scratch? No: a crack!\nLook there."
    assert render.escape(text) == text
