"""Words about clips: when and where, rules as sentences, and what asks for them."""

from __future__ import annotations

import pytest

from assistant.clip_words import (
    MAX_RULES,
    checked_rules,
    clip_head,
    clip_lines,
    clip_opening,
    clip_sentence,
    drafted_rules,
    seconds,
)
from assistant.errors import QuestionError
from assistant.prompts import places_in, says_yes
from assistant.types import ClipFacts, Finding, FrameScore, Span

SPAN = Span(2.1, 4.0, 3.0, 0.9, "top left", "something stays")
LATER = Span(70.0, 75.0, 71.0, 0.8, "", "something moves")
FACTS = ClipFacts(80.0, "still", (FrameScore(0.5, 0.1),), (SPAN, LATER), normal="8.0 s of a normal clip", rules=("A.",))


def test_the_sentence_says_whether_when_where_and_why():
    text = clip_sentence(FACTS)
    assert says_yes(text) is True and places_in(text) == ("top left",)
    assert (
        "from 2.1 s to 4.0 s" in text and "something stays" in text and "1 min 10 s" in text and "normal clip" in text
    )
    nothing = clip_sentence(ClipFacts(6.0, "still", ()))
    assert says_yes(nothing) is False and "6.0 s" in nothing
    assert "2 more" in clip_sentence(ClipFacts(9.0, "still", (), (SPAN,) * 5))


@pytest.mark.parametrize("question", ["Is there anything wrong?", "When does it happen?", "How long is it there?"])
def test_questions_whether_and_when_get_it(question):
    assert clip_opening(FACTS, question) == clip_sentence(FACTS)
    assert clip_opening(FACTS, "What colour is it?") == ""


def test_what_the_camera_does_is_measured():
    assert clip_opening(FACTS, "Does the camera move?") == "No, the camera is still."
    assert clip_opening(FACTS, "is the camera still") == clip_opening(FACTS, "Does the camera stand still?")
    assert clip_opening(FACTS, "Is the camera still?") == "Yes, the camera is still."
    assert clip_opening(FACTS, "What does the camera do?") == "The camera is still."
    moving = ClipFacts(6.0, "moving", ())
    assert clip_opening(moving, "Is the camera moving?") == "Yes, the camera is moving."
    assert clip_opening(moving, "Is the camera fixed?") == "No, the camera is moving."
    assert clip_opening(FACTS, "Is the camera dirty?") == ""


def test_the_prompt_names_spans_camera_and_rules():
    head = clip_head(FACTS)
    assert head.startswith("Clip: 1 min 20 s, the camera is still.") and "from 2.1 s to 4.0 s in the top left" in head
    assert head.endswith("Rules: A.\n") and "never" in clip_head(ClipFacts(6.0, "moving", ()))
    assert any("top left" in line for line in clip_lines(FACTS)) and "Rule: A." in clip_lines(FACTS)


def test_rules_are_sentences_and_bounded():
    assert checked_rules(" only pedestrians here;nobody runs\n\nNo bicycles! ") == (
        "only pedestrians here.", "nobody runs.", "No bicycles!",
    )  # fmt: skip
    assert checked_rules("") == () == checked_rules(" ; \n")
    with pytest.raises(QuestionError, match="characters"):
        checked_rules("x" * (MAX_RULES + 1))
    with pytest.raises(QuestionError, match="rules"):
        checked_rules("a;" * 9)


def test_drafted_rules_say_what_was_measured():
    rules = drafted_rules("still", 3, [0.1, 0.2, 0.3], ["right"] * 9 + ["left"], ["centre"] * 3, 0.012)
    assert rules[1] == "At most 3 things move at once." and "goes right," in rules[2] and "0.10 to 0.30" in rules[2]
    assert "centre" in rules[3] and "1.2 %" in rules[4]
    assert drafted_rules("moving", 0, [], [], [], 0.0) == ("The camera is moving.", "Nothing moves.")
    assert checked_rules(" ".join(rules)) == rules  # an unchanged draft comes back as it was


def test_json_carries_spans_and_frames_of_clips_only():
    finding = Finding("anomalous", 0.9, 0.9, 0.9, 0.5, "", (), "Yes.", clip=FACTS)
    found = finding.to_dict()
    assert found["spans"][0] == {
        "start": 2.1, "end": 4.0, "peak": 3.0, "place": "top left", "reason": "something stays",
    }  # fmt: skip
    assert found["frames"] == [{"time": 0.5, "score": 0.1}] and found["camera"] == "still" and found["rules"] == ["A."]
    assert "spans" not in Finding("normal", 0.9, 0.1, 0.1, 0.5, "", (), "No.").to_dict()


def test_times_in_words():
    assert [seconds(one) for one in (0.04, 59.94, 59.96, 125.2)] == ["0.0 s", "59.9 s", "1 min 0 s", "2 min 5 s"]
