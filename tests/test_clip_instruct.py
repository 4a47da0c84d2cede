"""Conversations about looks at clips: every clause stands in the prompt, or is true of the record and was seen."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from assistant.clip_words import (
    clip_head,
    clip_opening,
    clip_sentence,
    drafted_rules,
    frame_head,
    key_line,
    reason_words,
)
from assistant.motion import Motion, Mover, motion_words
from assistant.prompts import asks_verdict, look_text, places_in, says_yes
from assistant.types import PLACES, ClipFacts, FrameScore, Look, Region, Span
from assistant.worded import wording
from data.clip_instruct import TOPICS, Asked, ClipTold, ask, bare, clip_conversation, told
from data.clip_phrases import ANSWERS, QUESTIONS
from data.clip_rules import MEASURED, SEEN_AS, WRITTEN, broken_rules, has_seen, seen_as, written_rules
from data.phrases import expand
from data.places import EVENTS

DIRECTIONS = ("left", "right", "down and left")
COUNTS = {"visual": 1, "suspicious": 1, "map": 1, "comparison": 1}
MARKS = dict.fromkeys(COUNTS, "#")
CLAUSE = re.compile(r"(?:something|the picture itself)(?:[^.;:]|\.(?=\d))*", re.IGNORECASE)
"""What was measured, as far as the sentence goes."""


def facts_of(rng: np.random.Generator, normal: bool) -> ClipFacts:
    """What might be measured of a clip, in the words of the real thing."""
    duration = float(rng.uniform(4, 90))
    movers = tuple(
        Mover(str(rng.choice(PLACES)), 0.01, float(rng.uniform(0.05, 0.6)), str(rng.choice(DIRECTIONS)))
        for _ in range(int(rng.integers(0, 4)))
    )
    motion = Motion(np.zeros((2, 1, 1), np.float32), 0.0, movers)
    held = bool(rng.random() < 0.5)
    spans = []
    starts = np.sort(rng.uniform(0, duration, 0 if normal else int(rng.integers(1, 6))))
    for start, end in pairwise([*starts, duration]):
        place = str(rng.choice(PLACES)) if rng.random() < 0.8 else ""
        reason = reason_words(int(rng.integers(4)), motion if movers else None, place, held)
        last = end if rng.random() < 0.3 else float(rng.uniform(start, end))
        spans.append(
            Span(float(start), last, float(rng.uniform(start, last)), float(rng.uniform(0.5, 1)), place, reason)
        )
    times = sorted({0.0, duration, *(span.peak for span in spans)})[:4]
    keys = tuple(look_at(rng, at) for at in times)
    rules = drafted_rules("still", 2, [0.1, 0.2], ["left"], ["centre"], 0.03) if held else ()
    return ClipFacts(
        duration, str(rng.choice(["still", "moving"])), (FrameScore(0.0, 0.1),), tuple(spans), keys,
        motion_words([motion]), f"{rng.uniform(3, 9):.1f} s of a normal clip" if held else "", rules,
    )  # fmt: skip


def look_at(rng: np.random.Generator, at: float) -> Look:
    regions = ()
    if rng.random() < 0.7:
        area = float(rng.uniform(0.0005, 0.1))
        regions = (Region((0, 0, 5, 5), str(rng.choice(PLACES)), area, 0.9, 0.7, "darker", "compact"),)
    blank = np.zeros((0, 0), np.float32)
    return Look((64, 64), float(rng.uniform(0, 1)), blank, regions, blank, {}, time=float(at))


def clips(count: int):
    """(what may be said, its prompt's head, chance) of made-up looks, half of them normal."""
    for number in range(count):
        rng = np.random.default_rng([number, 3])
        facts = facts_of(rng, normal=number % 2 == 0)
        event = str(rng.choice(EVENTS))
        if rng.random() < 0.4:
            facts = replace(facts, rules=written_rules(rng, event))
        look = replace(facts.keys[int(rng.integers(len(facts.keys)))], clip=facts)
        row = {"label": 0}
        if facts.spans and rng.random() < 0.7:
            top = max(facts.spans[:3], key=lambda span: span.score)
            place = str(rng.choice(PLACES)) if rng.random() < 0.3 or not top.place else top.place
            words = f"A person does {event} through the {place}, from 77.7 s to 88.8 s."
            row = {"label": 1, "event": event, "spans": [[top.start, top.end]], "place": place, "words": words}
        yield told(look, row), head_of(look), rng


def head_of(look: Look) -> str:
    """The prompt's words about a clip, as the processor puts them together."""
    others = [key_line(key, "#") for key in look.clip.keys if key.time != look.time]
    text = look_text(look.relative, look.regions, COUNTS, MARKS)
    return "".join([clip_head(look.clip), frame_head(look), text, *others])


def numbers(text: str) -> set[str]:
    return set(re.findall(r"\d+(?:\.\d+)?", text))


def test_every_number_place_band_and_reason_of_an_answer_stands_in_the_prompt():
    answered = 0
    for clip, head, rng in clips(240):
        for topic in TOPICS:
            if not TOPICS[topic].fits(clip):
                continue
            question, answer = ask(topic, clip, rng)
            answered += 1
            assert numbers(answer) <= numbers(head + question), (question, answer, head)
            assert set(places_in(answer)) <= set(places_in(head)), (question, answer, head)
            assert all(word in head for word in ("slightly", "moderately", "highly") if word in answer)
            for found in CLAUSE.findall(answer):
                clause = re.sub(r",? from \d.*$", "", found[0].lower() + found[1:])
                moved = re.fullmatch(r"something moves in the (.*)", clause)  # by the place of a stretch in motion
                assert clause in head or (moved and "something moves" in head and moved[1] in head), (clause, head)
            unruled = re.sub(r'"[^"]*"', "", answer) if topic != "rules" else ""
            for camera in re.findall(r"camera is (\w+)", unruled):
                assert camera == clip.facts.camera
            if clip.top is None:
                assert topic in ("rules", "broken") or says_yes(answer) is not True
    assert answered > 5000


def test_what_happens_is_named_only_where_the_look_has_seen_it():
    named = {True: 0, False: 0}
    for clip, _, rng in clips(300):
        said = " ".join(ask("what", clip, rng)[1] for _ in range(6))
        named[bool(clip.event)] += "person does" in said.lower()
        if clip.event:
            assert seen_as(clip.top) in SEEN_AS[clip.event]
            assert "77.7" not in said and "88.8" not in said
        else:
            assert "person does" not in said.lower()
    assert named[True] > 10


SEEN = Span(1.0, 3.0, 2.0, 0.9, "centre", reason_words(0, None, "centre", held=True))


def seen(**changes: object) -> Look:
    rng = np.random.default_rng(0)
    facts = ClipFacts(6.0, "still", (), (SEEN,), tuple(look_at(rng, at) for at in (0.0, 2.0)), "Nothing moves.")
    return replace(facts.keys[1], clip=replace(facts, **changes))


@pytest.mark.parametrize(
    ("change", "known"),
    [
        ({}, True), ({"event": "runs"}, False), ({"spans": [[2.5, 5.0]]}, False), ({"spans": [[3.5, 5.0]]}, False),
        ({"label": 0}, False), ({"place": "bottom right"}, True), ({"place": "bottom left"}, True),
    ],
)  # fmt: skip
def test_an_event_is_known_where_time_and_reason_fit(change, known):
    row = {
        "label": 1, "event": "appears", "spans": [[1.2, 4.0]], "place": "top left",
    } | change  # fmt: skip
    row["words"] = f"An object appears in the {row['place']} and stays there, from 1.2 s to 4.0 s."
    clip = told(seen(), row)
    assert bool(clip.event) == bool(clip.words) == known
    if known:
        assert clip.words == "An object appears and stays there"


@pytest.mark.parametrize(
    ("event", "moves", "usual", "place", "known"),
    [
        ("runs", "left at 0.45", "left, at about 0.15", "centre left", True),
        ("runs", "left at 0.16", "left, at about 0.15", "centre left", False),
        ("runs", "down at 0.45", "left, at about 0.15", "centre left", False),
        ("runs", "left at 0.45", "left, at about 0.15", "bottom right", True),
        ("against the flow", "left at 0.15", "right, at about 0.15", "centre", True),
        ("against the flow", "left at 0.15", "left or right, at about 0.15", "centre", False),
        ("appears", "left at 0.45", "left, at about 0.15", "centre", False),
    ],
)  # fmt: skip
def test_what_moves_is_seen_by_its_way_and_speed(event, moves, usual, place, known):
    span = replace(SEEN, reason=f"something moves {moves} picture widths a second, which is unusual there")
    facts = ClipFacts(
        6.0, "still", (), (span,), (), f"At most 2 things move at once, mostly {usual} picture widths a second."
    )
    row = {"event": event, "spans": [[1.2, 4.0]], "place": place}
    assert has_seen(span, facts, row) == known
    assert not has_seen(replace(span, place=""), facts, row)


def test_what_stays_is_seen_near_its_place_only():
    row = {"event": "vanishes", "spans": [[1.2, 4.0]]}
    near = [place for place in PLACES if has_seen(replace(SEEN, place="top left"), seen().clip, row | {"place": place})]
    assert near == ["top left", "top centre", "centre left", "centre"]


@pytest.mark.parametrize(
    ("words", "clause"),
    [
        ("A person runs through the top left, from 1.0 s to 2.0 s.", "A person runs"),
        ("A part moves against the flow, through the centre, from 1.0 s to 2.0 s.", "A part moves against the flow"),
        ("The object that stood in the centre is gone, from 1.0 s to 2.0 s.", "The object that stood there is gone"),
        ("A uneven grows in the centre, from 1.0 s to 2.0 s.", "A defect grows"),
        ("A cart passes through the object that stands in the top centre, from 1.0 s to 2.0 s.",
         "A cart passes through the object there"),
        ("A cart comes through the centre, where only people move otherwise, from 1.0 s to 2.0 s.",
         "A cart comes through where only people move otherwise"),
        ("A person stands still in the centre left while the others go on, from 1.0 s to 2.0 s.",
         "A person stands still while the others go on"),
    ],
)  # fmt: skip
def test_the_records_sentence_loses_time_and_place(words, clause):
    assert bare(words, next(iter(places_in(words)))) == clause


def test_what_lasts_to_the_end_is_there_at_the_end():
    rng = np.random.default_rng(1)
    for end in (3.0, 6.0):
        clip = ClipTold(seen(spans=(replace(SEEN, end=end),)))
        for _ in range(40):
            question, answer = ask("end", clip, rng)
            over = "over" in question.lower() or "gone" in question.lower()
            assert answer.startswith("Yes") == (over != (end == 6.0)), (question, answer)


def test_a_time_is_in_a_stretch_or_out_of_it():
    clip, rng = ClipTold(seen()), np.random.default_rng(0)
    for at, begins in ((0.5, "out"), (1.0, "in"), (2.9, "in"), (3.2, "out"), (9.0, "over")):
        answer = TOPICS["time"].answer(clip, rng, Asked("", at))
        assert any(expanded_fits(answer, template) for template in ANSWERS[f"time, {begins}"]), (at, answer)


def expanded_fits(answer: str, template: str) -> bool:
    return any(
        re.fullmatch(re.sub(r"\\{\w+\\}", ".+", re.escape(text)), answer, re.IGNORECASE) for text in expand(template)
    )


def test_rules_are_broken_by_what_was_measured_and_by_nothing_else():
    fast = Span(1.0, 3.0, 2.0, 0.9, "top left", "something moves left at 0.45 picture widths a second, which is odd")
    draft = drafted_rules("still", 2, [0.1, 0.2], ["left"], ["centre"], 0.03)
    motion = "At most 3 things move at once, mostly left, at about 0.12 picture widths a second."
    facts = ClipFacts(6.0, "moving", (), (fast,), (), motion, rules=draft)
    assert [one.rule for one in broken_rules(facts)] == list(draft[:4])
    kept = replace(facts, camera="still", motion=motion.replace("3", "2"))
    kept = replace(kept, spans=(replace(fast, reason=fast.reason.replace("0.45", "0.15"), place="centre"),))
    assert broken_rules(kept) == []
    written = replace(kept, rules=("Nobody runs.", "Nothing is taken away."))
    assert broken_rules(written) == []
    assert [(one.rule, one.instead) for one in broken_rules(written, "runs")] == [
        ("Nobody runs.", written.spans[0].reason)
    ]
    assert broken_rules(replace(written, spans=()), "runs") == []
    assert broken_rules(replace(kept, rules=("Nothing moves.",)))[0].instead == "at most 2 things move at once"


def test_a_broken_rule_is_one_of_the_prompt():
    for clip, _, rng in clips(200):
        _, answer = ask("broken", clip, rng)
        quoted = re.findall(r'"([^"]*)"', answer)
        assert bool(quoted) == bool(broken_rules(clip.facts, clip.event))
        assert set(quoted) <= set(clip.facts.rules)
        if not clip.facts.rules:
            assert "rules" in answer or "given" in answer


def test_written_rules_are_of_one_kind_of_event_each():
    pools = [*WRITTEN.values(), MEASURED]
    assert len({rule for pool in pools for rule in pool}) == sum(map(len, pools)) and set(WRITTEN) == set(EVENTS)
    found = [written_rules(np.random.default_rng(seed), "runs") for seed in range(60)]
    assert 0.5 < np.mean([any(rule in WRITTEN["runs"] for rule in rules) for rules in found]) < 1


def test_a_conversation_begins_as_the_assistant_does_and_ends_with_what_the_model_is_asked():
    last = set()
    for clip, _, rng in clips(120):
        turns = clip_conversation(clip, rng, turns=int(rng.integers(2, 5)))
        assert 2 <= len(turns) <= 4 and asks_verdict(turns[0][0])
        for question, answer in turns[:-1]:
            assert not clip_opening(clip.facts, question) or answer == clip_sentence(clip.facts)
        question, answer = turns[-1]
        assert not clip_opening(clip.facts, question) and not wording(question, clip=True) and answer
        last.add(question)
    assert len(last) > 60


def test_no_question_of_the_model_is_one_that_is_answered_by_what_was_measured():
    for topic, templates in QUESTIONS.items():
        for template in templates:
            for question in expand(template):
                question = question.format(time="2.0 s") if "{" in question else question
                assert not clip_opening(seen().clip, question) and not wording(question, clip=True), (topic, question)
    assert set(QUESTIONS) == set(TOPICS)
