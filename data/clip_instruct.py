"""A look at a clip -> conversations. Every clause follows from what the prompt says was measured.

Times, places, bands, motion and reasons are the prompt's own words and numbers, never the record's, which the prompt
does not hold. What happens is said by its name only where the look has seen it: its verdict is right, and what it
measured, when and where, is how such an event shows. What is broken of the rules is in `clip_rules`, the words are in
`clip_phrases`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from assistant.clip_words import SPOKEN_SPANS, clip_sentence, seconds, span_words
from assistant.prompts import DEFAULT_QUESTION, asks_verdict, band, in_place, size_word
from assistant.types import ClipFacts, Look, Span
from data.clip_phrases import ANSWERS, QUESTIONS
from data.clip_rules import MOTION_WORDS, WRITTEN, broken_rules, has_seen, most_moving
from data.instruct import COUNTS, Turn, share_clause
from data.phrases import expand, say, spoken
from data.questions import VERDICT

WHEN = ("When does it happen?", "When is that?", "At what time?", "When exactly?", "How long does it last?")
_LATER = (
    (" that stood in the {place} is gone", " that stood there is gone"), (" that stands in the {place}", " there"),
    (" comes through the {place}, where", " comes through where"), (", through the {place}", ""),
    (" through the {place}", ""), (" in the {place}", ""),
)  # fmt: skip
"""How the record's sentence is put without its place."""
STANDS = 0.05
"""Seconds before the end of a clip from which a stretch lasts until it ends: what times in words can differ by."""


@dataclass(frozen=True)
class Asked:
    """A question, and the time in seconds that it names where it names one."""

    question: str
    at: float


@dataclass(frozen=True, eq=False)
class ClipTold:
    """What may be said of a clip.

    Attributes:
        look: at it, with `look.clip`.
        event: kind of event, one of `places.EVENTS`, "" where the look does not let it be known.
        words: what happens, a clause without time, place and full stop; "" likewise.
    """

    look: Look
    event: str = ""
    words: str = ""

    @property
    def facts(self) -> ClipFacts:
        """What was measured over the clip."""
        return self.look.clip

    @property
    def top(self) -> Span | None:
        """The stretch that is spoken of: the highest of those in the prompt; None where nothing is called."""
        return max(self.facts.spans[:SPOKEN_SPANS], key=lambda span: span.score, default=None)

    @property
    def lasts(self) -> bool:
        """Whether that stretch lasts until the clip ends."""
        return self.top is not None and self.top.end >= self.facts.duration - STANDS


Answer = Callable[[ClipTold, np.random.Generator, Asked], str]


def told(look: Look, row: dict[str, Any]) -> ClipTold:
    """What may be said of a look at a clip with this row of a manifest, see `event_sets.write_events`."""
    clip = ClipTold(look)
    if not row["label"] or clip.top is None:
        return clip
    if not has_seen(clip.top, look.clip, row):
        return clip
    return ClipTold(look, row["event"], bare(row["words"], row["place"]))


def bare(words: str, place: str) -> str:
    """The record's sentence without time, place and full stop."""
    clause = re.sub(r", from \d.*$", "", words)
    clause = re.sub(r"^An? .+ grows", "A defect grows", clause)  # of which kind the look need not have seen
    for found, instead in _LATER:
        clause = clause.replace(found.format(place=place), instead)
    return clause


def clip_conversation(clip: ClipTold, rng: np.random.Generator, turns: int) -> list[Turn]:
    """A conversation of `turns` questions and answers, the last of which is the language model's to answer.

    Whether something is wrong and when are answered before it as the assistant does, with `clip_words.clip_sentence`.
    """
    topics = [name for name, topic in TOPICS.items() if topic.fits(clip)]
    weights = np.array([TOPICS[name].weight for name in topics])
    count = max(1, min(turns - 1, len(topics)))
    drawn = rng.choice(len(topics), size=count, replace=False, p=weights / weights.sum())
    said = [(_verdict_question(rng), clip_sentence(clip.facts))]
    said += [ask(topics[number], clip, rng) for number in drawn]
    if len(said) > 2 and rng.random() < 0.25:
        said[-2] = (say(WHEN, rng), clip_sentence(clip.facts))
    return said


def ask(topic: str, clip: ClipTold, rng: np.random.Generator) -> Turn:
    """A question of a topic of TOPICS and its answer."""
    at = _some_time(clip, rng)
    question = say(QUESTIONS[topic], rng, time=seconds(at))
    return spoken(question, rng), TOPICS[topic].answer(clip, rng, Asked(question, at))


def _verdict_question(rng: np.random.Generator) -> str:
    return DEFAULT_QUESTION if rng.random() < 0.5 else spoken(say(_WHETHER, rng), rng)


def _say(key: str, clip: ClipTold, rng: np.random.Generator, **slots: str) -> str:
    """An answer of ANSWERS with its slots filled from the clip; every sentence begins with a capital."""
    facts, top = clip.facts, clip.top
    known = {
        "length": seconds(facts.duration), "camera": facts.camera, "motion": facts.motion, "normal": facts.normal,
        "peak": seconds(clip.look.time), "event": clip.words, "event_lower": clip.words[:1].lower() + clip.words[1:],
        "rules": " ".join(facts.rules),
    }  # fmt: skip
    if top is not None:
        known |= {
            "span": span_words(top), "reason": top.reason, "start": seconds(top.start), "end": seconds(top.end),
            "when": _when(top), "where": in_place(top.place),
        }  # fmt: skip
    text = say(ANSWERS[key], rng, **(known | slots)).strip()
    return re.sub(r"(?<=[.!?] )[a-z]", lambda letter: letter[0].upper(), text)


def _when(span: Span) -> str:
    return f"from {seconds(span.start)} to {seconds(span.end)}"


def _plain(key: str) -> Answer:
    """Answers with `key`, "key, normal" where nothing is called."""
    return lambda clip, rng, asked: _say(key if clip.top else f"{key}, normal", clip, rng)


def _always(key: str) -> Answer:
    return lambda clip, rng, asked: _say(key, clip, rng)


def _or_never(key: str) -> Answer:
    return lambda clip, rng, asked: _say(key if clip.top else "never", clip, rng)


def _where(clip: ClipTold, rng: np.random.Generator, asked: Asked) -> str:
    return _say("where, normal" if not clip.top else "where" if clip.top.place else "where, nowhere", clip, rng)


def _what(clip: ClipTold, rng: np.random.Generator, asked: Asked) -> str:
    return _say("what, normal" if not clip.top else "what" if clip.event else "what, unknown", clip, rng)


def _why(clip: ClipTold, rng: np.random.Generator, asked: Asked) -> str:
    return _say("why, normal" if not clip.top else "why, known" if clip.event else "why", clip, rng)


def _until(clip: ClipTold, rng: np.random.Generator, asked: Asked) -> str:
    return _say("never" if not clip.top else "until, end" if clip.lasts else "until", clip, rng)


def _peak(clip: ClipTold, rng: np.random.Generator, asked: Asked) -> str:
    if not clip.top:
        return _say("peak, normal", clip, rng)
    regions = clip.look.regions
    return _say("peak, where" if regions else "peak", clip, rng, where=in_place(regions[0].place) if regions else "")


def _some_time(clip: ClipTold, rng: np.random.Generator) -> float:
    """Seconds, to the tenth: of a key frame, any time of the clip, or now and then one after its end."""
    facts = clip.facts
    key = facts.keys[int(rng.integers(len(facts.keys)))].time
    at = key if rng.random() < 0.4 else float(rng.uniform(0, facts.duration))
    return round(at if rng.random() < 0.9 else facts.duration + float(rng.uniform(1, 30)), 1)


def _time(clip: ClipTold, rng: np.random.Generator, asked: Asked) -> str:
    time = seconds(asked.at)
    if asked.at > clip.facts.duration + STANDS:
        return _say("time, over", clip, rng, time=time)
    if clip.top is None:
        return _say("time, normal", clip, rng, time=time)
    spans = clip.facts.spans
    within = next((one for one in spans if round(one.start, 1) <= asked.at <= round(one.end, 1)), None)
    span = within or clip.top
    slots = {"span": span_words(span), "reason": span.reason, "when": _when(span)}
    return _say("time, in" if within else "time, out", clip, rng, time=time, **slots)


def _of_key(index: int) -> Answer:
    """What one of the key frames, in order of time, is like."""

    def answer(clip: ClipTold, rng: np.random.Generator, asked: Asked) -> str:
        key = clip.facts.keys[index]
        where = in_place(key.regions[0].place) if key.regions else ""
        slots = {"time": seconds(key.time), "band": band(key.relative), "where": where}
        return _say("key, lit" if where else "key, dark", clip, rng, **slots)

    return answer


def _end(clip: ClipTold, rng: np.random.Generator, asked: Asked) -> str:
    if not clip.top:
        return _say("end, normal", clip, rng)
    if "over" in asked.question or "gone" in asked.question:
        return _say("over, no" if clip.lasts else "over, yes", clip, rng)
    return _say("end, yes" if clip.lasts else "end, no", clip, rng)


def _keys(clip: ClipTold, rng: np.random.Generator, asked: Asked) -> str:
    return _say("keys", clip, rng, times=_listed([seconds(key.time) for key in clip.facts.keys]))


def _many(clip: ClipTold, rng: np.random.Generator, asked: Asked) -> str:
    spans = clip.facts.spans[:SPOKEN_SPANS]
    if not spans:
        return _say("many, normal", clip, rng)
    if len(spans) == 1:
        return _say("many, once", clip, rng)
    slots = {"count": COUNTS[len(spans)], "spans": _listed([span_words(span) for span in spans])}
    return _say("many, more" if len(clip.facts.spans) > SPOKEN_SPANS else "many", clip, rng, **slots)


def _count(clip: ClipTold, rng: np.random.Generator, asked: Asked) -> str:
    most = most_moving(clip.facts)
    things = "thing" if most == 1 else "things"
    return _say("count" if most else "count, none", clip, rng, most=str(most), things=things)


def _way(clip: ClipTold, rng: np.random.Generator, asked: Asked) -> str:
    found = MOTION_WORDS.match(clip.facts.motion)
    return _say("way" if found else "count, none", clip, rng, way=found[1] if found else "")


def _speed(clip: ClipTold, rng: np.random.Generator, asked: Asked) -> str:
    found = MOTION_WORDS.match(clip.facts.motion)
    return _say("speed" if found else "count, none", clip, rng, speed=found[2] if found else "")


def _broken(clip: ClipTold, rng: np.random.Generator, asked: Asked) -> str:
    if not clip.facts.rules:
        return _say("no rules", clip, rng)
    found = broken_rules(clip.facts, clip.event)
    if found:
        of_span = clip.top is not None and found[0].instead in clip.top.reason
        return _say(
            "broken, when" if of_span else "broken", clip, rng, rule=found[0].rule, instead=found[0].instead
        )  # fmt: skip
    if not clip.top:
        return _say("broken, none", clip, rng)
    written = any(rule in pool for pool in WRITTEN.values() for rule in clip.facts.rules)
    return _say("broken, unsure" if written and not clip.event else "broken, unlisted", clip, rng)


def _rules(clip: ClipTold, rng: np.random.Generator, asked: Asked) -> str:
    return _say("rules" if clip.facts.rules else "no rules", clip, rng)


def _size(clip: ClipTold, rng: np.random.Generator, asked: Asked) -> str:
    if not clip.top or not clip.look.regions:
        return _say("size, none", clip, rng)
    region = clip.look.regions[0]
    return _say(
        "size", clip, rng, share=share_clause(region).removesuffix(" of the picture"), size=size_word(region.area)
    )


def _held(clip: ClipTold, rng: np.random.Generator, asked: Asked) -> str:
    return _say("held" if clip.facts.normal else "held, alone", clip, rng)


def _summary(clip: ClipTold, rng: np.random.Generator, asked: Asked) -> str:
    return _say("summary, normal" if not clip.top else "summary, known" if clip.event else "summary", clip, rng)


def _listed(parts: Sequence[str]) -> str:
    """Parts in a row: "a, b and c"."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


_WHETHER = tuple(
    text for template in VERDICT for text in expand(template)
    if "{" not in text and "picture" not in text and asks_verdict(text)
)  # fmt: skip


@dataclass(frozen=True)
class Topic:
    """A topic.

    Attributes:
        answer: makes the answer.
        weight: how often it is asked, against the others.
        fits: whether a clip has what the answer needs.
    """

    answer: Answer
    weight: float
    fits: Callable[[ClipTold], bool] = lambda clip: True


def _moving(clip: ClipTold) -> bool:
    return most_moving(clip.facts) is not None


def _all_spoken(clip: ClipTold) -> bool:
    return len(clip.facts.spans) <= SPOKEN_SPANS


def _several(clip: ClipTold) -> bool:
    return len(clip.facts.keys) > 1


TOPICS: dict[str, Topic] = {
    "whether": Topic(_plain("whether"), 2.0),
    "where": Topic(_where, 3.0),
    "what": Topic(_what, 3.0),
    "why": Topic(_why, 2.0),
    "start": Topic(_or_never("start"), 0.7),
    "until": Topic(_until, 0.7),
    "peak": Topic(_peak, 1.2),
    "time": Topic(_time, 1.5, _all_spoken),
    "first": Topic(_of_key(0), 1.0, _several),
    "last": Topic(_of_key(-1), 0.7, _several),
    "end": Topic(_end, 1.2),
    "keys": Topic(_keys, 0.5),
    "many": Topic(_many, 0.8),
    "moves": Topic(_always("moves"), 1.2, _moving),
    "count": Topic(_count, 1.0, _moving),
    "way": Topic(_way, 0.5, _moving),
    "speed": Topic(_speed, 0.5, _moving),
    "broken": Topic(_broken, 2.5),
    "rules": Topic(_rules, 0.6),
    "action": Topic(_plain("action"), 1.5),
    "size": Topic(_size, 0.5),
    "held": Topic(_held, 0.6),
    "summary": Topic(_summary, 0.8),
    "sure": Topic(_always("sure"), 0.4),
    "beyond": Topic(_always("beyond"), 1.2),
    "thanks": Topic(_always("thanks"), 0.2),
}
"""Every topic; its questions are in `clip_phrases.QUESTIONS` under the same name."""
