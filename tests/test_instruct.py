"""Conversations say only what the facts say."""

from __future__ import annotations

import numpy as np
import pytest

from assistant.prompts import percent, places_in, says_yes, size_word
from assistant.types import PLACES, Region
from data.instruct import BEYOND, Facts, conversation, llava, verdict_answer
from data.knowledge import KINDS, UNKNOWN, kind_of

TONES = ("darker", "brighter", "differently coloured", "similar in tone")
SHAPES = ("compact", "elongated", "spread out")


def random_facts(rng) -> Facts:
    label = int(rng.integers(2))
    count = int(rng.integers(0, 4)) if label else int(rng.random() < 0.2)
    regions = tuple(
        Region(
            (0, 0, 9, 9), PLACES[rng.integers(9)], float(rng.uniform(0.0002, 0.2)), 0.9, 0.7,
            TONES[rng.integers(4)], SHAPES[rng.integers(3)],
        )
        for _ in range(count)
    )  # fmt: skip
    kind = list(KINDS.values())[rng.integers(len(KINDS))] if rng.random() < 0.8 else UNKNOWN
    return Facts(label, regions, kind, "bottle" if rng.random() < 0.5 else "")


@pytest.mark.parametrize("seed", range(60))
def test_every_clause_follows_from_the_facts(seed):
    rng = np.random.default_rng(seed)
    facts = random_facts(rng)
    said = conversation(facts, rng, turns=6)
    assert len({question for question, _ in said}) == len(said)
    known_places = {region.place for region in facts.regions} if facts.label else set()
    for _, answer in said:
        assert answer and "{" not in answer
        assert set(places_in(answer)) <= known_places, answer
        for kind in KINDS.values():
            if kind.noun in answer and kind.noun not in facts.kind.noun:
                pytest.fail(f"{answer!r} names {kind.noun}")
        if "%" in answer:
            assert facts.label and any(percent(region.area) in answer for region in facts.regions)
        for tone in TONES[:3]:
            if tone in answer:
                assert facts.label and tone in {region.tone for region in facts.regions}
        if "It is" in answer and " and " in answer and facts.regions:
            assert size_word(facts.regions[0].area) in answer
    assert says_yes(said[0][1]) is bool(facts.label)


def test_normals_are_called_normal_without_a_place():
    for seed in range(20):
        answer = verdict_answer(Facts(0), np.random.default_rng(seed))
        assert answer.startswith("No.") and places_in(answer) == ()


def test_a_brief_question_gets_one_word():
    rng = np.random.default_rng(0)
    assert verdict_answer(Facts(1), rng, brief=True) == "Yes."
    assert verdict_answer(Facts(0), rng, brief=True) == "No."


def test_what_the_picture_cannot_show_is_not_answered():
    answers = {
        a for seed in range(80) for q, a in conversation(Facts(0), np.random.default_rng(seed), 5) if q in BEYOND
    }
    assert answers == {"The picture does not show that.", "I cannot tell that from the picture."}


def test_defect_types_of_the_sets_have_words():
    assert kind_of("open,short,mousebite") is KINDS["circuit"]
    assert kind_of("crack").noun == "a crack"
    assert kind_of("cell_defect") is UNKNOWN


def test_the_same_seed_says_the_same():
    facts = Facts(1, (), KINDS["crack"])
    assert conversation(facts, np.random.default_rng(3)) == conversation(facts, np.random.default_rng(3))


def test_llava_json_has_the_picture_in_the_first_human_turn():
    row = llava("x-1", "a.png", [("Bad?", "No."), ("Sure?", "Yes.")])
    assert row["conversations"][0] == {"from": "human", "value": "<image>\nBad?"}
    assert [turn["from"] for turn in row["conversations"]] == ["human", "gpt", "human", "gpt"]
    assert row["conversations"][2]["value"] == "Sure?"
