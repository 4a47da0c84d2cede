"""Facts about a picture -> conversations. Every clause follows from the facts: nothing is said that was not measured.

Places, areas, tones and shapes come from regions (of a map or of a known mask, by the same rules); the kind, and with
it causes, effects and advice, from the record; the yes or no from its label; words about the picture as a whole from
its pixels. The questions are in `questions`, the words of the answers in `phrases`; here is what may be said when.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from assistant.knowledge import KINDS, UNKNOWN, Kind, severity
from assistant.picture import PictureFacts
from assistant.prompts import DEFAULT_QUESTION, SPOKEN_REGIONS, in_place, percent, size_word
from assistant.regions import MAX_REGIONS
from assistant.types import PLACES, Region
from data.phrases import ANSWERS, say, sentence_case, spoken
from data.questions import BRIEF, FINE, QUESTIONS, VERDICT

Turn = tuple[str, str]
COUNTS = ("no", "one", "two", "three", "four", "five", "six")
GENERIC = ("defect", "flaw", "problem", "spot")
THINGS = ("part", "object", "piece", "item", "product")
NAMING = 0.35
"""How often a question about a defect names a kind, right or wrong."""
FINE_SHARE = 0.15
"""How often a conversation begins with "is it normal?" instead of "is anything wrong?"."""
WRONG_KIND = 0.25
"""How often a kind named in a question about an anomalous picture is not the true one."""


@dataclass(frozen=True)
class Facts:
    """What is known of one picture. `kind` and `kind_name` say the same; either may be given.

    Attributes:
        label: 0 normal, 1 anomalous.
        regions: measured regions, most suspicious first; may be empty.
        kind: words for the kind of defect; UNKNOWN when it is not to be named.
        product: plain name of the product, used in questions only: answers name no product the picture may not be of.
        picture: words about the whole picture; None when nobody is to ask about them.
        references: normal pictures that were given to compare with.
        kind_name: canonical name of the kind, "" when unknown.
    """

    label: int
    regions: tuple[Region, ...] = ()
    kind: Kind = UNKNOWN
    product: str = ""
    picture: PictureFacts | None = None
    references: int = 0
    kind_name: str = ""

    def __post_init__(self) -> None:
        if self.kind is UNKNOWN and self.kind_name:
            object.__setattr__(self, "kind", KINDS[self.kind_name])
        object.__setattr__(self, "kind_name", self.kind.name)

    @property
    def known(self) -> bool:
        """Whether the kind may be named."""
        return self.kind is not UNKNOWN


@dataclass(frozen=True)
class Asked:
    """What a question supposes.

    Attributes:
        kind: the kind it names, None when it names none.
        place: the place it asks about, "" for none.
    """

    kind: Kind | None = None
    place: str = ""


Answer = Callable[[Facts, np.random.Generator, Asked], str]


def conversation(facts: Facts, rng: np.random.Generator, turns: int = 3) -> list[Turn]:
    """A conversation of `turns` questions and answers: the yes/no first, then other topics, none twice."""
    if rng.random() < FINE_SHARE:
        said = [fine(facts, rng)]
    else:
        question, thing = _first_question(facts, rng)
        said = [(question, verdict_answer(facts, rng, brief="'Yes' or 'No'" in question, thing=thing))]
    topics = [name for name, topic in TOPICS.items() if topic.fits(facts)]
    weights = np.array([TOPICS[name].weight for name in topics])
    count = min(turns - 1, len(topics))
    drawn = [topics[i] for i in rng.choice(len(topics), size=count, replace=False, p=weights / weights.sum())]
    for name in sorted(drawn, key=lambda name: name == "thanks"):  # thanks come last
        said.append(ask(name, facts, rng))
    return said


def fine(facts: Facts, rng: np.random.Generator) -> Turn:
    """The question whether all is normal; its answer is that of the verdict, with a first word that is no yes or no."""
    thing = _thing(facts, rng)
    question = spoken(say(FINE, rng, thing=thing), rng)
    answer = verdict_answer(facts, rng, thing=thing if thing in question else "picture")
    return question, answer.replace("Yes.", "Not normal.", 1).replace("No.", "Normal.", 1)


def ask(topic: str, facts: Facts, rng: np.random.Generator) -> Turn:
    """A follow-up question of a topic of TOPICS and its answer."""
    kind = _kind_asked(facts, rng, even=topic == "named")
    noun = _one((kind.noun, *kind.also), rng) if kind else ""
    bare = noun.removeprefix("an ").removeprefix("a ")
    place = _place_asked(facts, rng) if topic == "there" else ""
    slots = {"defect": bare or _one(GENERIC, rng), "noun": noun, "place": place, "thing": _thing(facts, rng)}
    question = say(QUESTIONS[topic], rng, in_place=in_place(place) if place else "", **slots)
    # Few phrasings have a slot for the kind; only what was said is answered.
    asked = Asked(kind if kind and bare in question.lower() else None, place)
    return spoken(question, rng), TOPICS[topic].answer(facts, rng, asked)


def verdict_answer(facts: Facts, rng: np.random.Generator, brief: bool = False, thing: str = "picture") -> str:
    """The answer to "is there anything wrong?": yes or no first, then what and where, its looks, cause or advice.

    Args:
        facts: of the picture.
        rng: source of chance.
        brief: one word only.
        thing: the question's own word for what is inspected.
    """
    if brief:
        return "Yes." if facts.label else "No."
    compared = facts.references > 0 and rng.random() < 0.5
    if facts.label == 0:
        suffix = ", references" if compared else ", lit" if facts.regions else ""
        return _say(f"verdict, normal{suffix}", facts, rng, thing=thing)
    if not facts.regions:
        return f"{_say('verdict, no region', facts, rng)} {_advice(facts, rng)}"
    sentences = [
        _say("verdict, references" if compared else "verdict", facts, rng),
        # with other spots just named, "it" could be any of them
        _say("looks", facts, rng, subject=_the(facts) if len(facts.regions) > 1 else "it"),
        _say("cause", facts, rng) if facts.known and rng.random() < 0.5 else _advice(facts, rng),
    ]
    return " ".join(sentences)


def tone_clause(region: Region) -> str:
    """A region's tone against its surroundings, fits after "It is"."""
    return f"{region.tone} {'to' if region.tone.startswith('similar') else 'than'} its surroundings"


def share_clause(region: Region) -> str:
    """A region's measured extent, fits after "It covers"."""
    share = percent(region.area)
    return f"{'' if share.startswith('less') else 'about '}{share} of the picture"


def _first_question(facts: Facts, rng: np.random.Generator) -> tuple[str, str]:
    """A verdict question and its word for the thing; "picture" when it has none."""
    thing = _thing(facts, rng)
    style = rng.random()
    if style < 0.35:
        return DEFAULT_QUESTION, "picture"
    if style < 0.45:
        return say(BRIEF, rng, thing=thing), thing
    question = spoken(say(VERDICT, rng, thing=thing), rng)
    return question, thing if thing in question else "picture"


def _kind_asked(facts: Facts, rng: np.random.Generator, even: bool) -> Kind | None:
    """A kind for a question to name, true or wrong; `even` always names one, right half of the time."""
    # Of an unknown kind nobody could say whether it is the one supposed: only "is it ...?" asks that, and gets a hedge.
    if not even and (rng.random() >= NAMING or (facts.label and not facts.known)):
        return None
    if facts.label and facts.known and rng.random() >= (0.5 if even else WRONG_KIND):
        return facts.kind
    return KINDS[_one(tuple(name for name in KINDS if name != facts.kind_name), rng)]


def _place_asked(facts: Facts, rng: np.random.Generator) -> str:
    """A place to ask about: one that is spoken of in the prompt half of the time, never that of an unspoken spot."""
    spoken_of = [region.place for region in facts.regions[:SPOKEN_REGIONS]]
    if facts.label and spoken_of and rng.random() < 0.5:
        return _one(tuple(spoken_of), rng)
    unspoken = {region.place for region in facts.regions} - set(spoken_of)
    return _one(tuple(place for place in PLACES if place not in unspoken), rng)


def _thing(facts: Facts, rng: np.random.Generator) -> str:
    return facts.product if facts.product and rng.random() < 0.5 else _one(THINGS, rng)


def _one(choices: tuple[str, ...], rng: np.random.Generator) -> str:
    return choices[rng.integers(len(choices))]


def _the(facts: Facts) -> str:
    return f"the {facts.kind_name or 'defect'}"


def _say(key: str, facts: Facts, rng: np.random.Generator, region: Region | None = None, **slots: str) -> str:
    """The answer of a key of ANSWERS, its slots filled from the facts and from `region` (the first by default)."""
    region = region or (facts.regions[0] if facts.regions else None)
    known = {"noun": facts.kind.noun, "the": _the(facts), "subject": "it", "thing": "picture"}
    if facts.references:
        known["references"] = "the reference" if facts.references == 1 else f"the {facts.references} references"
    if facts.label:
        known["cause"] = _one(facts.kind.causes, rng) if facts.known else ""
        known["effect"], known["action"] = _one(facts.kind.effects, rng), _one(facts.kind.actions, rng)
    if facts.label and region is not None:
        known |= {
            "in_place": in_place(region.place), "share": share_clause(region), "size": size_word(region.area),
            "shape": region.shape, "tone": tone_clause(region), "severity": severity(facts.kind, region.area),
            "others": _others(facts),
        }  # fmt: skip
    if facts.picture is not None:
        look = facts.picture
        known |= {
            "brightness": "medium-bright" if look.brightness == "medium" else look.brightness, "colour": look.colour,
            "orientation": look.orientation, "structure": look.structure,
        }  # fmt: skip
    return _capitals(say(ANSWERS[key], rng, **(known | slots)))


def _capitals(text: str) -> str:
    """Every sentence begun with a capital: a slot may stand first in the second one."""
    return ". ".join(sentence_case(sentence) for sentence in text.split(". "))


def _others(facts: Facts) -> str:
    """The spots after the first, as they stand in the prompt: two with their places, the rest as a number."""
    first, *others = facts.regions[:SPOKEN_REGIONS]
    if not others:
        return ""
    places = list(dict.fromkeys(region.place for region in others if region.place != first.place))
    where = " and ".join(in_place(place) for place in places) or "in the same part"
    more = len(facts.regions) - SPOKEN_REGIONS
    rest = f"; {COUNTS[min(more, MAX_REGIONS)]} more on the map" if more > 0 else ""
    return f", and {'another spot' if len(others) == 1 else 'other spots'} {where}{rest}"


def _advice(facts: Facts, rng: np.random.Generator) -> str:
    return _say("action", facts, rng)


def _state(facts: Facts) -> str:
    """The ending of a key of ANSWERS: what is known of the picture."""
    return ", normal" if facts.label == 0 else "" if facts.regions else ", no region"


def _by_state(key: str) -> Answer:
    """Answers with `key` for a picture with spots, "key, no region" and "key, normal" for the others."""
    return lambda facts, rng, asked: _corrected(facts, rng, asked) + _say(key + _state(facts), facts, rng)


def _by_label(key: str) -> Answer:
    """Answers that need no spot: `key` and "key, normal"."""
    return lambda facts, rng, asked: (
        _corrected(facts, rng, asked) + _say(key if facts.label else f"{key}, normal", facts, rng)
    )


def _always(key: str) -> Answer:
    """Answers that are the same for every picture."""
    return lambda facts, rng, asked: _say(key, facts, rng)


def _corrected(facts: Facts, rng: np.random.Generator, asked: Asked) -> str:
    """A sentence that names the kind when the question supposed another, else ""."""
    if facts.label == 0 or asked.kind is None or asked.kind is facts.kind:
        return ""
    return _say("correction", facts, rng) + " "


def _kind(facts: Facts, rng: np.random.Generator, asked: Asked) -> str:
    return _say("kind, normal" if facts.label == 0 else "kind" if facts.known else "kind, unknown", facts, rng)


def _severity(facts: Facts, rng: np.random.Generator, asked: Asked) -> str:
    if facts.label and facts.regions:
        area = facts.regions[0].area
        if severity(facts.kind, area) != severity(UNKNOWN, area):
            return _corrected(facts, rng, asked) + _say("severity, by kind", facts, rng)
    return _by_state("severity")(facts, rng, asked)


def _many(facts: Facts, rng: np.random.Generator, asked: Asked) -> str:
    count = len(facts.regions)
    if facts.label and count == 1:
        return _say("many, one", facts, rng)
    # find_regions stops at MAX_REGIONS: there may be more.
    words = f"at least {COUNTS[MAX_REGIONS]}" if count >= MAX_REGIONS else COUNTS[count]
    return _say(f"many{_state(facts)}", facts, rng, count=words)


def _cause(facts: Facts, rng: np.random.Generator, asked: Asked) -> str:
    if facts.label and not facts.known:
        return _say("cause, unknown", facts, rng)
    return _by_label("cause")(facts, rng, asked)


def _compare(facts: Facts, rng: np.random.Generator, asked: Asked) -> str:
    if facts.references:
        return _say(f"compare{_state(facts)}", facts, rng)
    return f"{_say('compare, alone', facts, rng)} {_say(f'finding{_state(facts)}', facts, rng)}"


def _checked(facts: Facts, rng: np.random.Generator, asked: Asked) -> str:
    return _say("checked, references" if facts.references else "checked", facts, rng)


def _named(facts: Facts, rng: np.random.Generator, asked: Asked) -> str:
    if facts.label == 0:
        return _say("named, normal", facts, rng)
    if not facts.known:
        return _say("named, unknown", facts, rng)
    return _say("named, yes" if asked.kind is facts.kind else "named, no", facts, rng)


def _there(facts: Facts, rng: np.random.Generator, asked: Asked) -> str:
    if facts.label == 0:
        return _say("there, normal", facts, rng)
    if not facts.regions:
        return _say("where, no region", facts, rng)
    for number, region in enumerate(facts.regions[:SPOKEN_REGIONS]):
        if region.place == asked.place:
            return _say("there, other" if number else "there, first", facts, rng, region)
    return _say("there, none", facts, rng)


def _describe(facts: Facts, rng: np.random.Generator, asked: Asked) -> str:
    return _say("describe", facts, rng, finding=_say(f"finding{_state(facts)}", facts, rng))


def _colour(facts: Facts, rng: np.random.Generator, asked: Asked) -> str:
    colour = facts.picture.colour if facts.picture else ""
    return _say(f"colour, {colour}" if colour in ("grey", "colourful") else "colour", facts, rng)


def _summary(facts: Facts, rng: np.random.Generator, asked: Asked) -> str:
    advice = _say("action", facts, rng) if facts.label else ""
    return _say(f"summary{_state(facts)}", facts, rng, advice=advice)


@dataclass(frozen=True)
class Topic:
    """A follow-up topic.

    Attributes:
        answer: makes the answer.
        weight: how often it is asked, against the others.
        needs_picture: whether it is about `Facts.picture`.
    """

    answer: Answer
    weight: float
    needs_picture: bool = False

    def fits(self, facts: Facts) -> bool:
        """Whether the facts hold what the answer needs."""
        return not self.needs_picture or facts.picture is not None


TOPICS: dict[str, Topic] = {
    "where": Topic(_by_state("where"), 3.0),
    "kind": Topic(_kind, 2.5),
    "looks": Topic(_by_state("look"), 2.0),
    "size": Topic(_by_state("size"), 1.0),
    "severity": Topic(_severity, 1.0),
    "many": Topic(_many, 0.8),
    "cause": Topic(_cause, 1.5),
    "effect": Topic(_by_label("effect"), 1.0),
    "action": Topic(_by_label("action"), 1.5),
    "usable": Topic(_by_state("usable"), 0.7),
    "compare": Topic(_compare, 1.0),
    "checked": Topic(_checked, 0.7),
    "sure": Topic(_always("sure"), 0.4),
    "named": Topic(_named, 1.5),
    "there": Topic(_there, 1.0),
    "describe": Topic(_describe, 0.6, needs_picture=True),
    "brightness": Topic(_always("brightness"), 0.3, needs_picture=True),
    "colour": Topic(_colour, 0.4, needs_picture=True),
    "orientation": Topic(_always("orientation"), 0.2, needs_picture=True),
    "structure": Topic(_always("structure"), 0.2, needs_picture=True),
    "summary": Topic(_summary, 0.6),
    "beyond": Topic(_always("beyond"), 0.6),
    "about": Topic(_always("about"), 0.2),
    "thanks": Topic(_always("thanks"), 0.3),
}
"""Every follow-up topic; its questions are in `questions.QUESTIONS` under the same name."""
