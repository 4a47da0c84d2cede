"""Answers that are worded from the finding."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from assistant.knowledge import KINDS
from assistant.prompts import DEFAULT_QUESTION, asks_verdict, places_in
from assistant.types import ClipFacts, Finding, FrameScore, Region, Timings
from assistant.worded import (
    asks_action,
    asks_cause,
    asks_checked,
    asks_kind,
    asks_place,
    asks_sure,
    asks_use,
    asks_where,
    founded,
    sure_words,
    use_words,
    wording,
)
from data.phrases import ANSWERS, expand


@pytest.mark.parametrize(
    "question",
    ["Can I ship it?", "Can I still use this part?", "May it be delivered?", "Would you accept this tile?",
     "Should I reject it?", "Is it usable?", "Is this part good enough?", "Does it pass?", "can we sell it",
     "So can I use the part anyway?", "Can the casting be sold?", "Must this be rejected?"],
)  # fmt: skip
def test_questions_for_use_are_known(question):
    assert asks_use(question) and not asks_verdict(question)


@pytest.mark.parametrize(
    "question",
    ["Where is it?", "Is there anything wrong?", "How do I repair it?", "Is it a scratch?", "Pass or fail?",
     "Can I use a reference?", "Can I use the reference picture?", "Can you use the map?", "Do I use it for food?",
     "Can I use it to hold water at 90 degrees?", "Is it normal?"],
)  # fmt: skip
def test_other_questions_are_not_for_use(question):
    assert not asks_use(question)


def test_a_decision_follows_verdict_and_measures():
    spot = Region((0, 0, 4, 4), "top left", 0.021, 0.9, 0.7, "brighter", "compact")
    sure = "From this clip nothing speaks against it: it looks normal, 61 % sure."
    assert use_words("normal", 0.61, (), (), "clip") == sure
    assert use_words("unsure", 0.5, (spot,), ()).endswith("have a person check it, the top left first.")
    assert "top left, 2.1 % of the picture" in use_words("anomalous", 0.9, (spot,), (("crack", 0.8),))
    assert "crack at the top left" in use_words("anomalous", 0.9, (spot,), (("crack", 0.8),))
    unlikely = use_words("anomalous", 0.9, (spot,), (("crack", 0.23), ("hole", 0.2)))
    assert "something is wrong at the top left" in unlikely and "crack" not in unlikely
    assert "no single place" in use_words("anomalous", 0.9, (), (("crack", 0.8),))
    said = [use_words(verdict, 0.9, (spot,), ()) for verdict in ("anomalous", "unsure")]
    assert all(set(places_in(words)) == {"top left"} for words in said)


@pytest.mark.parametrize(
    "question",
    ["How sure are you?", "how certain is that", "Are you sure?", "So how confident are you about it?",
     "Is that certain?", "Are you really sure about this?"],
)  # fmt: skip
def test_questions_for_certainty_are_known(question):
    assert (
        asks_sure(question)
        and wording(question, False)
        and wording(question, True)
        and not asks_use(question)
        and not asks_verdict(question)
    )


@pytest.mark.parametrize(
    "question",
    ["How sure are you that it is a scratch?", "Make sure it is dry.", "Where is it?", "How do I make sure of it?",
     "Are you sure it is a crack?"],
)  # fmt: skip
def test_other_questions_are_not_for_certainty(question):
    assert not asks_sure(question)


def worded(question: str, found: Finding) -> str:
    answer = wording(question, found.clip is not None)
    return answer(found) if answer else ""


def finding(verdict: str, confidence: float) -> Finding:
    return Finding(
        verdict=verdict, confidence=confidence, verdict_probability=confidence, score=0.22, threshold=0.5,
        threshold_source="", regions=(), kinds=(), explanation="", warnings=(), timings=Timings(0, 0, 0, 0), profile="",
        references=0, clip=None, view=0,
    )  # fmt: skip


def test_how_sure_is_what_the_panel_shows():
    said = "80 % sure that this picture is normal: the score is 0.22, and from 0.50 on it would count as anomalous."
    assert sure_words(finding("normal", 0.8)) == said
    assert sure_words(finding("anomalous", 0.8), "clip").startswith("80 % sure that this clip is anomalous")
    assert sure_words(finding("unsure", 0.5)).startswith("Not sure either way")
    assert worded("How sure are you?", finding("normal", 0.8)) == said
    assert worded("Where is it?", finding("normal", 0.8)) == "" and "speaks against" in worded(
        "Can I ship it?", finding("normal", 0.8)
    )


def test_what_was_checked_is_what_was_done():
    assert (
        asks_checked("What did you check?")
        and asks_checked("so what have you looked at")
        and not asks_checked("What did you check it for?")
    )
    alone = worded("What did you check?", finding("normal", 0.8))
    assert "whole picture" in alone and "reference" not in alone
    assert "held against the 3 references" in worded(
        "What did you check?", replace(finding("normal", 0.8), references=3)
    )
    clip = ClipFacts(6.0, "still", (FrameScore(0.5, 0.1),) * 24, normal="6.3 s of a normal clip")
    said = worded("What did you check?", replace(finding("normal", 0.8), clip=clip))
    assert said.startswith("24 frames of the clip") and "held against 6.3 s of a normal clip" in said


@pytest.mark.parametrize(
    ("question", "place"),
    [("Is the top left all right?", "top left"), ("What about the bottom right corner?", "bottom right"),
     ("Is there anything wrong in the centre?", "centre"), ("Is there a scratch at the top left?", "top left"),
     ("Is it in the top left?", ""), ("Is the part all right?", ""), ("Is the top left or the centre fine?", ""),
     ("Is there anything wrong?", "")],
)  # fmt: skip
def test_a_place_that_is_asked_about(question, place):
    assert asks_place(question) == place


def test_a_place_is_as_the_map_shows_it():
    spot = Region((0, 0, 4, 4), "top left", 0.021, 0.9, 0.7, "brighter", "compact")
    found = replace(finding("anomalous", 0.8), regions=(spot,))
    assert worded("Is the top left all right?", found) == (
        "In the top left the map marks a spot, 2.1 % of the picture, brighter, compact."
    )
    assert worded("What about the centre right?", found) == "At the centre right nothing stands out."
    lit = worded("Is the top left all right?", replace(found, verdict="normal"))
    assert lit.endswith("The picture as a whole: normal.")


@pytest.mark.parametrize(
    ("question", "asked"),
    [("What may have caused it?", True), ("What caused the scratch?", True), ("Likely cause?", True),
     ("What went wrong?", True), ("So what is the root cause of this?", True), ("How did it happen?", True),
     ("Where does it come from?", True), ("Any idea what caused it?", True),
     ("Could this cause a leak?", False), ("What would a leak cause?", False), ("Is it because of the light?", False),
     ("What is wrong?", False)],
)  # fmt: skip
def test_questions_for_a_cause_are_told_from_others(question: str, asked: bool) -> None:
    assert asks_cause(question) is asked


def test_a_cause_is_named_only_of_a_kind_that_is_likely():
    found = replace(finding("anomalous", 0.8), kinds=(("scratch", 0.31), ("crack", 0.2)))
    said = worded("What may have caused it?", found)
    assert "cannot be told" in said and "scratch is the likeliest kind of defect, at 31 % only" in said
    for little in ((), (("wrinkle", 0.07),)):
        assert "likeliest" not in worded("Cause?", replace(found, kinds=little))
    assert worded("Cause?", replace(found, kinds=(("scratch", 0.8),))) == (
        "A scratch may come from rubbing against something hard, from careless handling or transport, or from a hard "
        "particle dragged over the surface; the picture alone cannot tell."
    )
    assert worded("Cause?", replace(found, kinds=(("unheard of", 0.8),))) == ""  # the language model's to answer
    assert "no cause to name" in worded("What caused it?", finding("normal", 0.9))
    unsure = worded("What caused it?", replace(found, verdict="unsure", kinds=(("scratch", 0.8),)))
    assert "is not sure" in unsure and "defect" not in unsure  # nothing is presumed that the verdict does not say
    assert wording("What caused it?", clip=True) is None


@pytest.mark.parametrize(
    ("question", "asked"),
    [("What should I do?", True), ("What should I do now?", True), ("What should we do about the scratch?", True),
     ("What now?", True), ("And what next?", True), ("What do you recommend?", True), ("Next steps?", True),
     ("How should we proceed?", True), ("What would you do with it?", False), ("What did you do?", False),
     ("What does it do?", False), ("Should I reject it?", False)],
)  # fmt: skip
def test_questions_for_what_to_do_are_told_from_others(question: str, asked: bool) -> None:
    assert asks_action(question) is asked


def test_advice_is_given_of_a_likely_kind_and_else_a_person_is_to_look() -> None:
    spot = Region((0, 0, 4, 4), "top left", 0.021, 0.9, 0.7, "brighter", "compact")
    found = replace(finding("anomalous", 0.8), kinds=(("wrinkle", 0.23), ("crack", 0.2)), regions=(spot,))
    said = worded("What should I do?", found)
    assert said.startswith("Set it aside and have a person check the top left: what to do depends on what kind")
    likely = replace(found, kinds=(("scratch", 0.8),))
    assert worded("What should I do?", likely) == (
        "Check the handling path for hard contacts, then feel its depth and compare with the finish limits."
    )
    assert worded("What should I do?", replace(found, kinds=(("unheard of", 0.8),))) == ""
    assert "nothing has to be done" in worded("What now?", finding("normal", 0.9))
    unsure = worded("What should I do?", replace(likely, verdict="unsure"))
    assert unsure == "This picture cannot decide it: have a person check it, the top left first."
    assert "check it:" in worded("What now?", replace(found, regions=()))
    assert wording("What should I do?", clip=True) is None


@pytest.mark.parametrize("size", [1, 3, 200])
def test_a_cause_is_left_out_of_an_answer_where_no_kind_is_likely(size: int) -> None:
    said = "Yes, 2.5 % of it. It lies in the top left. Likely cause: a sharp edge. Most of it is dark. It"
    without = "Yes, 2.5 % of it. It lies in the top left. Most of it is dark. It"
    pieces = [said[start : start + size] for start in range(0, len(said), size)]
    assert "".join(founded(pieces, DEFAULT_QUESTION, [("scratch", 0.4), ("crack", 0.3)])) == without
    assert "".join(founded(pieces, DEFAULT_QUESTION, ())) == without
    assert "".join(founded(pieces, DEFAULT_QUESTION, [("unheard of", 0.6)])) == said


@pytest.mark.parametrize("size", [1, 3, 200])
def test_causes_and_advice_are_those_of_the_kind(size: int) -> None:
    def told(said: str) -> str:
        pieces = [said[start : start + size] for start in range(0, len(said), size)]
        return "".join(founded(pieces, DEFAULT_QUESTION, [("scratch", 0.9)]))

    made_up = (
        "Yes. I see a scratch. Most likely it comes from scale that was underestimated; who knows. Next step: sing."
    )
    assert told(made_up) == (
        "Yes. I see a scratch. It may come from rubbing against something hard; the picture alone cannot prove it. "
        "Next step: check the handling path for hard contacts."
    )
    fine = "No. I would pass it. Best to leave it as it is."  # nothing is wrong: there is no advice to mend
    assert told(fine) == fine
    known = KINDS["scratch"]
    for cause, action in zip(known.causes, known.actions, strict=False):
        said = f"Yes. I see a scratch. A likely cause is {cause}. To do: {action}."
        assert told(said) == said
    for phrase in ANSWERS["action"]:
        for plain in expand(phrase):
            assert told(f"Yes. {plain.format(action='sing')}") == f"Yes. Next step: {known.actions[0]}.", plain


@pytest.mark.parametrize("size", [1, 3, 200])
def test_a_kind_that_is_not_likely_is_said_to_be_unclear(size: int) -> None:
    said = "Yes. I find a wrinkle in the top left. Likely cause: a sharp edge."
    pieces = [said[start : start + size] for start in range(0, len(said), size)]
    unclear = "Yes. I find a wrinkle in the top left. What kind of defect it is stays unclear."
    assert "".join(founded(pieces, DEFAULT_QUESTION, [("wrinkle", 0.23)])) == unclear
    likely = "".join(founded(pieces, DEFAULT_QUESTION, [("wrinkle", 0.5)]))
    assert likely.startswith("Yes. I find a wrinkle in the top left. It may come from ") and "unclear" not in likely
    assert "".join(founded(pieces, "What do you see in the top left?", [("wrinkle", 0.23)])) == said
    assert (
        "".join(founded(["No. ", "Nothing is wrong."], DEFAULT_QUESTION, [("wrinkle", 0.23)]))
        == "No. Nothing is wrong."
    )


@pytest.mark.parametrize("size", [1, 5, 200])
def test_what_says_that_there_is_no_place_says_where_the_map_has_one(size: int) -> None:
    spot = Region((0, 0, 4, 4), "centre right", 0.0053, 0.9, 0.7, "darker", "compact")
    said = "Yes. I suspect a defect, but cannot point to one place on the map. Next step: inspect it by hand."
    pieces = [said[start : start + size] for start in range(0, len(said), size)]
    told = "".join(founded(pieces, DEFAULT_QUESTION, (), [spot]))
    assert told.startswith("Yes. I suspect a defect at the centre right, 0.5 % of the picture. Next step:")
    assert "".join(founded(pieces, DEFAULT_QUESTION, ())).startswith(said)  # where the map has none it is true


def test_where_it_is_follows_from_the_map_where_no_kind_is_likely() -> None:
    spots = [Region((0, 0, 4, 4), place, area, 0.9, 0.7, "darker", "compact")
             for place, area in (("centre right", 0.0053), ("centre right", 0.001), ("top left", 0.002))]  # fmt: skip
    found = replace(finding("anomalous", 0.8), kinds=(("wrinkle", 0.23),), regions=tuple(spots))
    wanted = "At the centre right, about 0.5 % of the picture; another spot in the top left."
    assert worded("Where exactly is the defect?", found) == wanted
    assert worded("Where is it?", replace(found, regions=tuple(spots[:1]))).endswith("0.5 % of the picture.")
    for other in (
        replace(found, kinds=(("wrinkle", 0.8),)),
        replace(found, regions=()),
        replace(found, verdict="normal"),
    ):
        assert worded("Where is it?", other) == ""  # the language model's to answer
    assert wording("Where is it?", clip=True) is None


@pytest.mark.parametrize(
    ("question", "asked"),
    [("What kind of defect is it?", True), ("Which type is it?", True), ("What sort of damage could it be?", True),
     ("What kind?", True), ("What defect is this?", True), ("And what is the defect?", True),
     ("What kind of part is it?", False), ("What is it?", False), ("Is it a crack?", False)],
)  # fmt: skip
def test_questions_for_the_kind_are_told_from_others(question: str, asked: bool) -> None:
    assert asks_kind(question) is asked


def test_a_kind_is_named_only_where_it_is_likely() -> None:
    found = replace(finding("anomalous", 0.8), kinds=(("wrinkle", 0.23), ("crack", 0.2)))
    ask = "What kind of defect is it?"
    assert worded(ask, found) == (
        "I cannot tell from the picture: wrinkle is the likeliest kind of defect, at 23 % only."
    )
    assert "wrinkle" not in worded(ask, replace(found, kinds=(("wrinkle", 0.07),)))
    assert "not sure" in worded(ask, replace(found, verdict="unsure", kinds=(("wrinkle", 0.8),)))
    for other in (
        replace(found, kinds=(("wrinkle", 0.8),)),
        replace(found, verdict="normal"),
        replace(found, kinds=()),
    ):
        assert worded(ask, other) == ""  # the language model's to answer, also where the look judges no kinds at all
    assert wording(ask, clip=True) is None


def test_every_sentence_that_is_taught_for_no_place_is_known_as_one() -> None:
    spot = Region((0, 0, 4, 4), "top left", 0.021, 0.9, 0.7, "darker", "compact")
    for phrase in ANSWERS["verdict, no region"]:
        told = "".join(founded([phrase.format(noun="a defect")], DEFAULT_QUESTION, (), [spot]))
        assert "a defect in the top left, 2.1 % of the picture. What" in told, told


def test_every_sentence_that_is_taught_for_a_cause_is_known_as_one() -> None:
    for phrase in ANSWERS["cause"]:
        assert (
            "".join(founded(["Yes. ", phrase], DEFAULT_QUESTION, ())) == "Yes. What kind of defect it is stays unclear."
        ), phrase


def test_long_questions_are_read_at_once():
    start = time.process_time()
    for text in ("is the " + "a " * 1000, "is there anything in the " + "top " * 490, "what about the " + "x" * 1990):
        assert wording(text, clip=False) is None
    assert time.process_time() - start < 0.5


@pytest.mark.parametrize(
    ("question", "asked"),
    [
        ("Where is it?", True), ("Where exactly?", True), ("So where is the dark spot?", True), ("Location?", True),
        ("Where should I look?", True), ("Where was it made?", False), ("Where does it come from?", False),
        ("Where in production would this happen?", False), ("Is anything wrong?", False),
    ],
)  # fmt: skip
def test_questions_for_a_place_are_told_from_others(question: str, asked: bool) -> None:
    assert asks_where(question) is asked
