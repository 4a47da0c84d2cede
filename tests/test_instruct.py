"""Conversations say only what the facts say: every clause of every answer is read back and held against them."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from assistant.knowledge import KINDS, SEVERITIES, UNKNOWN, kinds_in, severity
from assistant.picture import BRIGHTNESSES, COLOURS, ORIENTATIONS, STRUCTURES, PictureFacts
from assistant.prompts import DEFAULT_QUESTION, SPOKEN_REGIONS, percent, places_in, says_yes, size_word
from assistant.types import PLACES, Region
from data.instruct import COUNTS, TOPICS, Facts, ask, conversation, verdict_answer
from data.layouts_talks import llava
from data.phrases import ANSWERS, expand, say
from data.questions import BRIEF, FINE, QUESTIONS, VERDICT

TONES = ("darker", "brighter", "differently coloured", "similar in tone")
SHAPES = ("compact", "elongated", "spread out")
SIZES = ("tiny", "small", "medium-sized", "large")
CLAUSES: dict[str, set[str]] = {}
for _kind in (*KINDS.values(), UNKNOWN):
    for _clause in (*_kind.causes, *_kind.effects, *_kind.actions):
        CLAUSES.setdefault(_clause, set()).add(_kind.name)
BUILDING_BLOCKS = {"looks"}
"""Keys of ANSWERS with one wording on purpose: what follows is facts alone."""


def words(names) -> re.Pattern[str]:
    return re.compile(rf"(?<![\w-])({'|'.join(map(re.escape, names))})(?![\w-])", re.IGNORECASE)


PERCENT = re.compile(r"less than 0\.1 %|\d+(?:\.\d+)? %")
MEASURED = {
    "size": (words(SIZES), lambda region: size_word(region.area)),
    "shape": (words(SHAPES), lambda region: region.shape),
    "tone": (words(TONES), lambda region: region.tone),
}
PICTURE = {
    "brightness": words(["dark", "medium-bright", "bright"]), "colour": words(COLOURS),
    "orientation": words(ORIENTATIONS), "structure": words(STRUCTURES),
}  # fmt: skip
ANY_CLAUSE = re.compile("|".join(map(re.escape, sorted(CLAUSES, key=len, reverse=True))), re.IGNORECASE)
SEVERITY = words(SEVERITIES)
COUNTED = re.compile(rf"\b(at least )?({'|'.join(COUNTS[1:])}) spots?\b", re.IGNORECASE)
MORE = re.compile(rf"\b({'|'.join(COUNTS)}) more on the map")
REFERENCES = re.compile(r"(?:(\d+) )?(references?)\b")


def check(question: str, answer: str, facts: Facts) -> None:
    """AssertionError for any clause of the answer that does not follow from the facts."""
    assert answer and not set("{}[]|") & set(answer) and answer.endswith("."), answer
    assert answer[0].isupper() and "  " not in answer and len(answer) < 400, answer
    body = re.sub(r"^(Yes|No)\. ", "", answer)
    sentences = re.split(r"(?<=\.) (?=[A-Z])", body)
    assert len(sentences) <= 4, answer
    for sentence in sentences:
        main, _, rest = re.sub(r", and (another spot|other spots) ", r"\n\1 ", sentence).partition("\n")
        check_spots(main, facts)
        if rest:
            check_others(rest, facts)
    check_counts(answer, facts)
    check_kind(answer, facts)
    check_references(answer, facts)
    check_picture(answer, facts)
    if not facts.label:
        assert not re.search(r"\b(there is|I see|I find|it has) an? ", answer, re.IGNORECASE), answer
    if question == DEFAULT_QUESTION or re.match(r"Yes\.|No\.", answer):
        assert says_yes(answer) is bool(facts.label), answer


def check_spots(text: str, facts: Facts) -> None:
    """Whatever is measured in one sentence is true of one and the same spoken region."""
    regions = facts.regions[:SPOKEN_REGIONS] if facts.label else ()
    # A wrong place is named nowhere, so one sentence never has more than one.
    named = places_in(text)
    assert len(named) <= 1, text
    shares = PERCENT.findall(text)
    found = {key: {word.lower() for word in pattern.findall(text)} for key, (pattern, _) in MEASURED.items()}
    if not (named or shares or any(found.values())):
        rated = ()
    else:
        rated = tuple(
            region
            for region in regions
            if set(named) <= {region.place}
            and set(shares) <= {percent(region.area)}
            and all(found[key] <= {value(region)} for key, (_, value) in MEASURED.items())
        )
        assert rated, f"{text!r} does not fit {regions}"
    if rates := SEVERITY.findall(text):
        assert "judging by size" in text.lower()
        assert {word.lower() for word in rates} == {severity(facts.kind, region.area) for region in rated[:1]}, text


def check_others(text: str, facts: Facts) -> None:
    others = facts.regions[1:SPOKEN_REGIONS]
    assert len(others) == 1 if text.startswith("another") else len(others) > 1, text
    if "in the same part" in text:
        assert {region.place for region in others} == {facts.regions[0].place}, text
    else:
        assert set(places_in(text)) == {region.place for region in others} - {facts.regions[0].place}, text
    assert bool(MORE.search(text)) is (len(facts.regions) > SPOKEN_REGIONS), text


def check_counts(text: str, facts: Facts) -> None:
    for at_least, word in COUNTED.findall(text):
        assert facts.label and len(facts.regions) == COUNTS.index(word.lower()), text
        assert bool(at_least) is (len(facts.regions) >= 6), text
    for word in MORE.findall(text):
        assert facts.label and len(facts.regions) - SPOKEN_REGIONS == COUNTS.index(word), text


def check_kind(text: str, facts: Facts) -> None:
    own = {facts.kind_name} - {""} if facts.label else set()
    assert set(kinds_in(text)) <= own, text
    for clause in ANY_CLAUSE.findall(text):
        assert facts.label and facts.kind_name in CLAUSES[clause[0].lower() + clause[1:]], f"{text!r}: {clause}"


def check_references(text: str, facts: Facts) -> None:
    for number, noun in REFERENCES.findall(text):
        if number:
            assert int(number) == facts.references > 1 and noun == "references", text
        elif re.search(r"no reference", text, re.IGNORECASE):
            assert facts.references == 0, text
        else:
            assert facts.references == 1 and noun == "reference", text


def check_picture(text: str, facts: Facts) -> None:
    picture = facts.picture
    for key, pattern in PICTURE.items():
        for word in pattern.findall(text):
            assert picture is not None and word.lower().replace("medium-bright", "medium") == getattr(picture, key), (
                text
            )


def random_picture(rng) -> PictureFacts:
    return PictureFacts(*(str(rng.choice(names)) for names in (BRIGHTNESSES, COLOURS, ORIENTATIONS, STRUCTURES)))


def random_facts(rng) -> Facts:
    label = int(rng.integers(2))
    count = int(rng.integers(0, 7)) if label else int(rng.random() < 0.2)
    regions = tuple(
        Region(
            (0, 0, 9, 9), PLACES[rng.integers(9)], float(np.exp(rng.uniform(np.log(2e-4), np.log(0.4)))), 0.9, 0.7,
            TONES[rng.integers(4)], SHAPES[rng.integers(3)],
        )
        for _ in range(count)
    )  # fmt: skip
    kind = list(KINDS.values())[rng.integers(len(KINDS))] if rng.random() < 0.8 else UNKNOWN
    picture = random_picture(rng) if rng.random() < 0.8 else None
    product = "bottle" if rng.random() < 0.5 else ""
    return Facts(label, regions, kind, product, picture, references=int(rng.integers(0, 5)))


@pytest.fixture(scope="module")
def talks() -> list[tuple[Facts, list[tuple[str, str]]]]:
    made = []
    for seed in range(2000):
        rng = np.random.default_rng(seed)
        facts = random_facts(rng)
        made.append((facts, conversation(facts, rng, turns=6)))
    return made


def test_every_clause_follows_from_the_facts(talks):
    for facts, said in talks:
        assert len({question for question, _ in said}) == len(said) == 6
        assert says_yes(said[0][1]) is bool(facts.label)
        for question, answer in said:
            assert not set("{}[]|") & set(question), question
            check(question, answer, facts)


def shifted(word: str, words: tuple[str, ...]) -> str:
    return words[(words.index(word) + 1) % len(words)]


def with_regions(change):
    return lambda facts: replace(facts, regions=tuple(change(region) for region in facts.regions))


def other_kind(facts: Facts) -> Facts:
    return replace(facts, kind=KINDS["crack" if facts.kind_name != "crack" else "misprint"], kind_name="")


def other_picture(facts: Facts) -> Facts:
    look = facts.picture or random_picture(np.random.default_rng(0))
    return replace(facts, picture=PictureFacts(
        shifted(look.brightness, BRIGHTNESSES), shifted(look.colour, COLOURS),
        shifted(look.orientation, ORIENTATIONS), shifted(look.structure, STRUCTURES),
    ))  # fmt: skip


def moved(facts: Facts) -> Facts:
    free = next((place for place in PLACES if place not in {region.place for region in facts.regions}), "centre")
    return replace(facts, regions=tuple(replace(region, place=free) for region in facts.regions))


def names_picture(answer: str) -> bool:
    return any(pattern.search(answer) for pattern in PICTURE.values())


LIES = {
    "place": (moved, lambda answer: places_in(answer)),
    "share": (with_regions(lambda r: replace(r, area=0.5 * r.area if r.area > 0.01 else 0.6)), PERCENT.search),
    "size": (with_regions(lambda r: replace(r, area=0.0005 if r.area > 0.001 else 0.3)), MEASURED["size"][0].search),
    "tone": (with_regions(lambda r: replace(r, tone=shifted(r.tone, TONES))), None),
    "shape": (with_regions(lambda r: replace(r, shape=shifted(r.shape, SHAPES))), None),
    "kind": (other_kind, kinds_in),
    "count": (lambda facts: replace(facts, regions=facts.regions[:-1]), COUNTED.search),
    "references": (lambda facts: replace(facts, references=facts.references + 1), REFERENCES.search),
    "picture": (other_picture, names_picture),
    "no picture": (lambda facts: replace(facts, picture=None), names_picture),
    "label": (lambda facts: replace(facts, label=1 - facts.label), lambda answer: re.match(r"(Yes|No)\.", answer)),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_wrong_fact_is_noticed(lie, talks):
    """The check itself: answers about true facts fail it against facts that differ in one thing."""
    change, says = LIES[lie]
    noticed = 0
    for facts, said in talks[:600]:
        # one region only, so that a wrong fact is not by chance another region's
        if lie in ("tone", "shape", "share", "size") and len(facts.regions) != 1:
            continue
        for question, answer in said:
            if not (says or MEASURED[lie][0].search)(answer):
                continue
            with pytest.raises(AssertionError):
                check(question, answer, change(facts))
            noticed += 1
    assert noticed > 40


def test_wrong_causes_effects_and_advice_are_noticed():
    rng = np.random.default_rng(0)
    facts = Facts(1, (), kind_name="crack")
    for topic in ("cause", "effect", "action"):
        for _ in range(40):
            question, answer = ask(topic, facts, rng)
            check(question, answer, facts)
            with pytest.raises(AssertionError):
                check(question, answer, replace(facts, kind=KINDS["misprint"], kind_name=""))


def test_every_topic_answers_whatever_is_known():
    for seed in range(150):
        rng = np.random.default_rng([7, seed])
        facts = random_facts(rng)
        for name, topic in TOPICS.items():
            if topic.fits(facts):
                check(*ask(name, facts, rng), facts)
            else:
                assert facts.picture is None


def test_a_kind_in_a_question_is_confirmed_or_corrected():
    seen = set()
    for seed in range(400):
        rng = np.random.default_rng(seed)
        facts = random_facts(rng)
        question, answer = ask("named", facts, rng)
        supposed = kinds_in(question)
        assert len(supposed) == 1
        right = facts.label == 1 and supposed[0] == facts.kind_name
        if facts.label and not facts.kind_name:
            assert says_yes(answer) is None
        else:
            assert says_yes(answer) is right, (question, answer)
            seen.add((facts.label, right))
    assert seen == {(0, False), (1, False), (1, True)}


def test_a_question_that_supposes_a_defect_is_set_right():
    facts = Facts(1, (Region((0, 0, 9, 9), "top left", 0.01, 0.9, 0.7, "darker", "compact"),), kind_name="crack")
    corrected = 0
    for seed in range(300):
        rng = np.random.default_rng(seed)
        question, answer = ask("where", facts, rng)
        if kinds_in(question) not in ((), ("crack",)):
            assert kinds_in(answer)[0] == "crack" and places_in(answer) == ("top left",)
            corrected += 1
        question, answer = ask("where", Facts(0), rng)
        assert not kinds_in(answer) and not places_in(answer)
    assert corrected > 3


def test_a_place_in_a_question_is_looked_up():
    for seed in range(300):
        rng = np.random.default_rng(seed)
        facts = replace(random_facts(rng), label=1)
        if not facts.regions:
            continue
        question, answer = ask("there", facts, rng)
        (place,) = places_in(question)
        marked = place in {region.place for region in facts.regions}
        elsewhere = re.search(r"elsewhere|instead|No spot of the map lies there", answer)
        assert bool(elsewhere) is not marked, (question, answer)
        assert marked or place not in places_in(answer)


def test_normals_are_called_normal_without_a_place():
    for seed in range(40):
        for regions in ((), (Region((0, 0, 9, 9), "top left", 0.01, 0.6, 0.5, "darker", "compact"),)):
            facts = Facts(0, regions, references=seed % 3)
            answer = verdict_answer(facts, np.random.default_rng(seed))
            assert answer.startswith("No.") and places_in(answer) == () and not kinds_in(answer)


def test_the_first_answer_carries_the_whole_finding():
    region = Region((0, 0, 9, 9), "top left", 0.0071, 0.9, 0.7, "darker", "elongated")
    for seed in range(40):
        answer = verdict_answer(Facts(1, (region,), kind_name="crack"), np.random.default_rng(seed))
        assert answer.startswith("Yes.") and "a crack in the top left, about 0.7 % of the picture" in answer
        assert "small, elongated and darker than its surroundings" in answer
        assert ANY_CLAUSE.search(answer), "a cause or an advice"


def test_a_small_share_is_not_about_less_than_something():
    region = Region((0, 0, 9, 9), "centre", 0.0004, 0.9, 0.7, "darker", "compact")
    for seed in range(20):
        answer = verdict_answer(Facts(1, (region,)), np.random.default_rng(seed))
        assert "less than 0.1 % of the picture" in answer and "about less" not in answer


def test_a_brief_question_gets_one_word():
    rng = np.random.default_rng(0)
    assert verdict_answer(Facts(1), rng, brief=True) == "Yes."
    assert verdict_answer(Facts(0), rng, brief=True) == "No."
    said = [conversation(Facts(1), np.random.default_rng(seed), 1)[0] for seed in range(200)]
    assert all((answer == "Yes.") is ("'Yes' or 'No'" in question) for question, answer in said)
    assert any(answer == "Yes." for _, answer in said)


def test_what_the_picture_cannot_show_is_not_answered():
    answers = {ask("beyond", Facts(seed % 2), np.random.default_rng(seed))[1] for seed in range(80)}
    assert answers == set(ANSWERS["beyond"])


def test_kind_and_kind_name_say_the_same():
    assert Facts(1, kind_name="crack").kind is KINDS["crack"]
    assert Facts(1, kind=KINDS["crack"]).kind_name == "crack"
    assert Facts(1).kind is UNKNOWN and Facts(1).kind_name == ""


@pytest.mark.parametrize("topic", [*QUESTIONS, "verdict", "brief", "fine"])
def test_there_are_many_ways_to_ask(topic):
    templates = {"verdict": VERDICT, "brief": BRIEF, "fine": FINE}.get(topic) or QUESTIONS[topic]
    ways = {text for template in templates for text in expand(template)}
    assert len(ways) >= (5 if topic == "brief" else 12)
    assert len({way.lower() for way in ways}) == len(ways)
    assert (set(QUESTIONS) == set(TOPICS)) and all("'Yes' or 'No'" in way for way in ways if topic == "brief")


@pytest.mark.parametrize("key", sorted(set(ANSWERS) - BUILDING_BLOCKS))
def test_there_are_several_ways_to_answer(key):
    assert len({text for template in ANSWERS[key] for text in expand(template)}) >= 4


def test_conversations_differ():
    facts = Facts(1, (Region((0, 0, 9, 9), "centre", 0.01, 0.9, 0.7, "darker", "compact"),), kind_name="crack")
    said = [turn for seed in range(400) for turn in conversation(facts, np.random.default_rng(seed), 4)]
    assert len({question for question, _ in said}) > 400
    assert len({answer for _, answer in said}) > 100


def test_the_grammar_expands_what_it_says():
    template = "[Where|In which [part|area]] is it?"
    ways = expand(template)
    assert set(ways) == {"Where is it?", "In which part is it?", "In which area is it?"}
    drawn = {say((template,), np.random.default_rng(seed)) for seed in range(40)}
    assert drawn == set(ways)


def test_the_same_seed_says_the_same():
    for seed in range(20):
        facts = random_facts(np.random.default_rng(seed))
        first, second = (conversation(facts, np.random.default_rng(seed), 6) for _ in range(2))
        assert first == second


def test_llava_json_has_the_picture_in_the_first_human_turn():
    row = llava("x-1", "a.png", [("Bad?", "No."), ("Sure?", "Yes.")])
    assert row["conversations"][0] == {"from": "human", "value": "<image>\nBad?"}
    assert [turn["from"] for turn in row["conversations"]] == ["human", "gpt", "human", "gpt"]
    assert row["conversations"][2]["value"] == "Sure?"
