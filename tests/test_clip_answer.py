"""An answer about a clip in parts: what was measured, in order, with links to moments and places."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from assistant.clip_answer import SHOWN, clip_in_parts
from assistant.suggest import follow_ups
from assistant.types import ClipFacts, Finding, FrameScore, Look, Region, Span

GREY = np.full((60, 90, 3), 120, np.uint8)
SPOT = Region((20, 10, 40, 30), "top left", 0.05, 0.97, 0.8, "darker", "elongated")
SPAN = Span(2.1, 3.4, 2.4, 0.81, "top left", "something moves left")
FACTS = ClipFacts(
    8.0, "still", (FrameScore(2.4, 0.81),), (SPAN,), (), "Two things move.", "6.0 s of a normal clip", ("Nobody runs.",)
)
MAP = np.zeros((60, 90), np.float32)
LOOK = Look((90, 60), 0.81, MAP, (SPOT,), GREY, {}, time=2.4, clip=FACTS, warnings=("A hint.",))
FINDING = Finding("anomalous", 0.81, 0.81, 0.81, 0.5, "", (SPOT,), "Yes.", clip=FACTS)


def test_verdict_when_where_why_camera_terms_and_hint_stand_in_order() -> None:
    head, *lines = clip_in_parts("Yes, from 2.1 s to 3.4 s in the top left.", LOOK, FINDING, 3).splitlines()
    assert head == "**Anomalous, 81 % sure.** Yes, from 2.1 s to 3.4 s in the [top left](#spot-3-1)."
    assert [line for line in lines if line] == [
        "- **When:** [0:02.1–0:03.4](#span-3-1-2100)",
        "- **Where:** [top left](#spot-3-1), 5.0 % of the picture, at 2.4 s",
        "- **Why:** something moves left",
        "- **Camera:** still. Two things move.",
        "- **Held against:** 6.0 s of a normal clip",
        "- **Rules of normality:** Nobody runs.",
        "- **Note:** A hint.",
    ]


def test_what_the_words_say_already_is_not_said_twice() -> None:
    text = clip_in_parts("Yes. Held against 6.0 s of a normal clip.", LOOK, FINDING, 1)
    assert text.count("6.0 s of a normal clip") == 1


def test_a_calm_clip_has_no_moments_and_many_are_counted() -> None:
    calm = replace(LOOK, clip=replace(FACTS, spans=(), rules=(), normal=""), regions=())
    text = clip_in_parts("No.", calm, replace(FINDING, verdict="normal", regions=()), 1)
    assert "When" not in text and "Where" not in text and "Why" not in text and "Camera" in text
    unsure = replace(FINDING, verdict="unsure", verdict_probability=0.52)
    assert "- **Why unsure:** What was seen speaks about as much" in clip_in_parts("Yes.", LOOK, unsure, 1)
    many = replace(LOOK, clip=replace(FACTS, spans=(SPAN,) * (SHOWN + 2)))
    assert "; and 2 more" in clip_in_parts("Yes.", many, FINDING, 1)


def test_rules_and_names_are_text() -> None:
    foreign = replace(LOOK, clip=replace(FACTS, rules=("<img src=x onerror=ran=1> [x](javascript:y)",)))
    text = clip_in_parts("<script>x</script>", foreign, FINDING, 1)
    assert "<img" not in text and "<script" not in text and "[x](" not in text


def test_what_is_suggested_of_a_clip_can_be_asked_of_a_clip() -> None:
    assert follow_ups(FINDING)[0] == "When is it?"
    assert "When is it?" not in follow_ups(replace(FINDING, clip=None))
    assert "When is it?" not in follow_ups(replace(FINDING, verdict="normal"))
