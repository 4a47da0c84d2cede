"""Facts about a picture -> conversations. Every clause follows from the facts: nothing is said that was not measured.

Places, areas, tones and shapes come from regions (of a map or of a known mask, by the same rules); the kind, and with
it cause and advice, from the record; the yes or no from its label.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from assistant.prompts import DEFAULT_QUESTION, percent, size_word
from assistant.types import Region
from data.knowledge import UNKNOWN, Kind

Turn = tuple[str, str]


@dataclass(frozen=True)
class Facts:
    """What is known of one picture.

    Attributes:
        label: 0 normal, 1 anomalous.
        regions: measured regions, most suspicious first; may be empty.
        kind: words for the kind of defect.
        product: plain name of the product, "" when it is not to be named.
    """

    label: int
    regions: tuple[Region, ...] = ()
    kind: Kind = UNKNOWN
    product: str = ""


WRONG = (
    DEFAULT_QUESTION, "Is there anything wrong here?", "Is something wrong with this {thing}?", "Any defects?",
    "Is this {thing} defective?", "Do you see a defect?", "Are there any defects in the picture?",
    "Does this {thing} have a flaw?", "Can you find any damage?", "Is anything unusual here?",
    "Are there any defects for the object in the image? Please reply with 'Yes' or 'No'.",
    "Please check this {thing}. Is there a problem?", "Inspect this picture: is there an anomaly?",
)  # fmt: skip
WHERE = (
    "Where is it?", "Where exactly?", "Where is the defect?", "Can you tell me the location?",
    "In which part of the picture?", "Show me where.", "Where should I look?",
)  # fmt: skip
KIND = (
    "What kind of defect is it?", "What is it?", "What is wrong?", "Which type of defect?", "Name the defect.",
    "What do you see there?",
)  # fmt: skip
LOOKS = (
    "What does it look like?", "How does it look?", "Describe the defect.", "Describe it.", "Why do you think so?",
    "Why?",
)  # fmt: skip
SIZE = ("How large is it?", "How big is the defect?", "How much of the picture does it cover?", "What is its size?")
MANY = ("How many defects are there?", "How many spots are there?", "Is it only one?", "Are there more?")
CAUSE = ("What may have caused it?", "What is the likely cause?", "Where does it come from?", "How could this happen?")
EFFECT = ("What could it lead to?", "Is it serious?", "What happens if I ignore it?", "Does it matter?")
ACTION = (
    "What should I do?", "What do you recommend?", "What is the next step?", "How do I fix it?", "Can I still use it?",
)  # fmt: skip
CHECKED = ("What did you check?", "Why is it normal?", "How do you know it is fine?", "Are you sure?")
BEYOND = (
    "Who made it?", "What does it weigh?", "When was it made?", "What is the serial number?", "How much does it cost?",
    "What is on the back?", "Which machine made it?", "What temperature does it have?",
)  # fmt: skip
GREETING = ("Thanks!", "Thank you.", "Okay, thanks.", "Great, thank you!")


def conversation(facts: Facts, rng: np.random.Generator, turns: int = 3) -> list[Turn]:
    """A conversation of `turns` questions and answers: the yes/no first, then others, none twice."""
    first = DEFAULT_QUESTION if rng.random() < 0.4 else _one(WRONG, rng).format(thing=_thing(facts, rng))
    said = [(first, verdict_answer(facts, rng, brief="'Yes' or 'No'" in first))]
    topics = [topic for topic in _TOPICS if _fits(topic, facts)]
    weights = np.array([_TOPICS[topic][2] for topic in topics], dtype=float)
    count = min(turns - 1, len(topics))
    for index in rng.choice(len(topics), size=count, replace=False, p=weights / weights.sum()):
        questions, answer, _ = _TOPICS[topics[index]]
        said.append((_one(questions, rng), answer(facts, rng)))
    return said


def verdict_answer(facts: Facts, rng: np.random.Generator, brief: bool = False) -> str:
    """The answer to "is there anything wrong?": yes or no first, then where, what it looks like, cause and advice."""
    if facts.label == 0:
        if brief:
            return "No."
        thing = _thing(facts, rng)
        return _one(
            (
                f"No. I find nothing wrong with this {thing}: the first look and the map are calm.",
                f"No. This {thing} looks normal: nothing stands out on the map.",
                f"No. I see no defect on this {thing}.",
            ) if not facts.regions else (
                f"No. This {thing} looks normal; the faint trace on the map is within its usual variation.",
            ),
            rng,
        )  # fmt: skip
    if brief:
        return "Yes."
    if not facts.regions:
        return _one(
            (
                "Yes. Something is wrong with the picture as a whole, but the map shows no single place.",
                "Yes. The look is suspicious, but I cannot point to one place on the map.",
            ),
            rng,
        )
    noun, place = facts.kind.noun, in_place(facts.regions[0].place)
    opening = _one(
        (f"Yes. There is {noun} {place}", f"Yes. I see {noun} {place}", f"Yes. It looks like {noun} {place}"), rng
    )
    rest = looks_clause(facts.regions[0])
    more = _others(facts)
    sentences = [f"{opening}, about {percent(facts.regions[0].area)} of the picture.", f"It is {rest}.", more]
    sentences.append(f"Likely cause: {facts.kind.cause}." if rng.random() < 0.7 else "")
    sentences.append(f"To do: {facts.kind.action}." if rng.random() < 0.5 else "")
    return " ".join(sentence for sentence in sentences if sentence)


def in_place(place: str) -> str:
    """A place as words: "top left" -> "in the top left"; "centre left" -> "at the centre left"."""
    return f"{'at' if place.startswith('centre ') else 'in'} the {place}"


def looks_clause(region: Region) -> str:
    """What was measured of a region, fits after "It is"."""
    tone = {
        "darker": "darker than its surroundings",
        "brighter": "brighter than its surroundings",
        "differently coloured": "differently coloured than its surroundings",
        "similar in tone": "similar in tone to its surroundings",
    }[region.tone]
    return f"{size_word(region.area)}, {region.shape} and {tone}"


def _others(facts: Facts) -> str:
    others = facts.regions[1:3]
    if not others:
        return ""
    places = list(dict.fromkeys(region.place for region in others if region.place != facts.regions[0].place))
    return f"Another spot is {' and '.join(in_place(place) for place in places)}." if places else ""


def _where(facts: Facts, rng: np.random.Generator) -> str:
    if facts.label == 0:
        return _one(("Nowhere: I find nothing wrong.", "There is no place to point to: nothing is wrong."), rng)
    if not facts.regions:
        return "The map shows no single place."
    first = facts.regions[0]
    text = f"{in_place(first.place)}, about {percent(first.area)} of the picture."
    return " ".join(part for part in (text[0].upper() + text[1:], _others(facts)) if part)


def _kind(facts: Facts, rng: np.random.Generator) -> str:
    if facts.label == 0:
        return _one(("There is no defect to name.", "None: this looks normal."), rng)
    if facts.kind is UNKNOWN:
        return "I see a defect but cannot tell its kind from the picture."
    return _one((f"It looks like {facts.kind.noun}.", f"Most likely {facts.kind.noun}."), rng)


def _looks(facts: Facts, rng: np.random.Generator) -> str:
    if facts.label == 0:
        return _one(("Nothing stands out on the map.", "The surface is even on the map: nothing stands out."), rng)
    if not facts.regions:
        return "The first look is suspicious, but nothing stands out on the map."
    return f"It is {looks_clause(facts.regions[0])}."


def _size(facts: Facts, rng: np.random.Generator) -> str:
    if facts.label == 0:
        return "There is no defect to measure."
    if not facts.regions:
        return "The map shows no single place to measure."
    area = facts.regions[0].area
    return f"It is {size_word(area)}: about {percent(area)} of the picture."


def _many(facts: Facts, rng: np.random.Generator) -> str:
    if facts.label == 0:
        return "None: I find nothing wrong."
    count = len(facts.regions)
    if count <= 1:
        return "I see one spot on the map." if count else "The map shows no single spot."
    words = {2: "two", 3: "three"}.get(count, "several")
    return f"I see {words} spots on the map."


def _cause(facts: Facts, rng: np.random.Generator) -> str:
    return "There is no defect to explain." if facts.label == 0 else f"Likely cause: {facts.kind.cause}."


def _effect(facts: Facts, rng: np.random.Generator) -> str:
    return "Nothing to worry about: I find no defect." if facts.label == 0 else f"It may {facts.kind.effect}."


def _action(facts: Facts, rng: np.random.Generator) -> str:
    return "Nothing: it looks normal to me." if facts.label == 0 else f"To do: {facts.kind.action}."


def _checked(facts: Facts, rng: np.random.Generator) -> str:
    if facts.label == 0:
        return "I looked at the whole picture, then at each patch again: the first look and the map are calm."
    return "I looked at the whole picture, then at each patch again: the look is suspicious."


def _beyond(facts: Facts, rng: np.random.Generator) -> str:
    return _one(("The picture does not show that.", "I cannot tell that from the picture."), rng)


def _greeting(facts: Facts, rng: np.random.Generator) -> str:
    return "You are welcome."


_TOPICS: dict[str, tuple[tuple[str, ...], Callable[[Facts, np.random.Generator], str], float]] = {
    "where": (WHERE, _where, 3.0),
    "kind": (KIND, _kind, 3.0),
    "looks": (LOOKS, _looks, 2.0),
    "size": (SIZE, _size, 1.0),
    "many": (MANY, _many, 0.7),
    "cause": (CAUSE, _cause, 1.5),
    "effect": (EFFECT, _effect, 1.0),
    "action": (ACTION, _action, 1.5),
    "checked": (CHECKED, _checked, 0.7),
    "beyond": (BEYOND, _beyond, 0.6),
    "greeting": (GREETING, _greeting, 0.3),
}
"""Questions, answer and weight of each topic of a follow-up."""


def _fits(topic: str, facts: Facts) -> bool:
    return topic != "many" or facts.label == 1


def _thing(facts: Facts, rng: np.random.Generator) -> str:
    return (
        facts.product if facts.product and rng.random() < 0.5 else _one(("part", "picture", "object", "surface"), rng)
    )


def _one(choices: tuple[str, ...], rng: np.random.Generator) -> str:
    return choices[rng.integers(len(choices))]


def llava(identifier: str, image: str, turns: list[Turn]) -> dict[str, object]:
    """LLaVA conversation JSON: {"id", "image", "conversations": [{"from": "human" | "gpt", "value"}]}."""
    values = []
    for index, (question, answer) in enumerate(turns):
        values.append({"from": "human", "value": f"<image>\n{question}" if index == 0 else question})
        values.append({"from": "gpt", "value": answer})
    return {"id": identifier, "image": image, "conversations": values}
