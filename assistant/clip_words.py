"""What was measured over a clip in words: for the prompt, for the answer, and as rules. Pure text."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from assistant.errors import QuestionError
from assistant.motion import Motion, Mover
from assistant.prompts import asks_verdict, band
from assistant.types import ClipFacts, Look, Span

MAX_RULES = 600
"""Characters of all rules together."""
MOST_RULES = 8
SPOKEN_SPANS = 3
"""Spans that are spoken of; the others are counted."""
_WHEN = re.compile(r"\W*(?:so |and )?(?:when\b|at what time|at which (?:time|second|moment)|how long)", re.IGNORECASE)

_CAMERA = re.compile(
    r"\W*(?:so |and )?(?:(?P<open>what (?:does|is|did|was) )|(?:does|is|did|was) )the camera (?:doing\b|do\b"
    r"|(?P<still>(?:stand(?:ing)? |keep |stay(?:ing)? )?(?:still|fixed|static|steady)\b)|move|moving|shak|pan|turn)",
    re.IGNORECASE,
)


def seconds(value: float) -> str:
    """A time in words: "3.4 s", "2 min 5 s"."""
    if value < 59.95:
        return f"{value:.1f} s"
    whole = round(value)
    return f"{whole // 60} min {whole % 60} s"


def span_words(span: Span) -> str:
    """When and where: "from 2.1 s to 4.0 s in the top left"."""
    place = f" in the {span.place}" if span.place else ""
    return f"from {seconds(span.start)} to {seconds(span.end)}{place}"


def clip_sentence(facts: ClipFacts) -> str:
    """Whether, when, where and why, as measured; begins with "Yes" or "No"."""
    against = f" Held against {facts.normal}." if facts.normal else ""
    if not facts.spans:
        return f"No. Nothing in the {seconds(facts.duration)} stands out.{against}"
    first, *others = sorted(facts.spans, key=lambda span: -span.score)[:SPOKEN_SPANS]
    words = f"Yes, {span_words(first)}: {first.reason}, most of all at {seconds(first.peak)}."
    if others:
        words += f" Also {' and '.join(span_words(span) for span in sorted(others, key=lambda span: span.start))}."
    more = len(facts.spans) - SPOKEN_SPANS
    return f"{words}{f' There are {more} more stretches.' if more > 0 else ''}{against}"


def clip_lines(facts: ClipFacts) -> list[str]:
    """The clip as plain text for a terminal, one line each."""
    lines = [f"Clip of {seconds(facts.duration)}, the camera is {facts.camera}. {facts.motion}".strip()]
    if facts.normal:
        lines.append(f"Held against {facts.normal}.")
    lines += [f"{span_words(span).capitalize()}: {span.reason}, peak at {seconds(span.peak)}." for span in facts.spans]
    return lines + [f"Rule: {rule}" for rule in facts.rules]


def clip_opening(facts: ClipFacts, question: str) -> str:
    """What was measured for a question about a clip: `clip_sentence` where it asks whether or when, or what the camera
    does; "" for any other.
    """
    if asks_verdict(question) or _WHEN.match(question):
        return clip_sentence(facts)
    asked = _CAMERA.match(question)
    if asked is None:
        return ""
    said = f"the camera is {facts.camera}."
    if asked["open"]:
        return said.capitalize()
    return f"{'Yes' if bool(asked['still']) == (facts.camera == 'still') else 'No'}, {said}"


def clip_head(facts: ClipFacts) -> str:
    """The lines about the whole clip that stand before the look in the prompt, rules among them."""
    spans = "; ".join(f"{span_words(span)}, {span.reason}" for span in facts.spans[:SPOKEN_SPANS])
    lines = [
        f"Clip: {seconds(facts.duration)}, the camera is {facts.camera}. {facts.motion}".strip(),
        f"Held against {facts.normal}." if facts.normal else "",
        f"Anomalous: {spans}." if spans else "Anomalous: never.",
        f"Rules: {' '.join(facts.rules)}" if facts.rules else "",
    ]
    return "".join(f"{line}\n" for line in lines if line)


def frame_head(look: Look) -> str:
    """The line before the full look at a clip's most suspicious frame."""
    return f"Most suspicious frame, at {seconds(look.time)}:\n"


def key_line(key: Look, tokens: str) -> str:
    """The line of another key frame: its time, the clip's score there, where it is lit, and its own tokens."""
    place = f", {key.regions[0].place}" if key.regions else ""
    return f"Frame at {seconds(key.time)}: {band(key.relative)}{place}. {tokens}\n"


def checked_rules(text: str) -> tuple[str, ...]:
    """Rules as a user writes them, one a line or with semicolons, as sentences.

    Raises:
        QuestionError: they are longer than MAX_RULES characters or more than MOST_RULES.
    """
    if len(text) > MAX_RULES:
        raise QuestionError(f"The rules have {len(text)} characters; {MAX_RULES} are allowed.")
    parts = [" ".join(part.split()) for part in re.split(r"[;\n]|(?<=[.!?])\s+", text)]
    rules = tuple(part if part[-1] in ".!?" else f"{part}." for part in parts if part)
    if len(rules) > MOST_RULES:
        raise QuestionError(f"There are {len(rules)} rules; {MOST_RULES} are allowed.")
    return rules


def drafted_rules(
    camera: str, most: int, speeds: Sequence[float], directions: Sequence[str], places: Sequence[str], area: float
) -> tuple[str, ...]:
    """Rules of normality from what was measured in a normal clip, for the user to edit.

    Args:
        camera: "still" or "moving".
        most: things that moved at once at most.
        speeds: picture widths a second, of everything that moved.
        directions: where it went, `motion.DIRECTIONS`.
        places: where it was, `types.PLACES`.
        area: share of the picture that the largest of it filled, 0..1.
    """
    rules = [f"The camera is {camera}."]
    if not speeds:
        return (*rules, "Nothing moves.")
    ordered = sorted(speeds)
    slow, fast = ordered[len(ordered) // 20], ordered[-1 - len(ordered) // 20]
    rules.append(f"At most {most} {'thing moves' if most == 1 else 'things move'} at once.")
    rules.append(f"What moves goes {_usual(directions)}, at {slow:.2f} to {fast:.2f} picture widths a second.")
    rules.append(f"It moves in the {_usual(places)}.")
    rules.append(f"It fills at most {100 * area:.1f} % of the picture.")
    return tuple(rules)


def rules_of(camera: str, motions: Sequence[Motion]) -> tuple[str, ...]:
    """Rules from what moved in normal frames."""
    movers = [mover for motion in motions for mover in motion.movers]
    return drafted_rules(
        camera,
        max((len(motion.movers) for motion in motions), default=0),
        [mover.speed for mover in movers],
        [mover.direction for mover in movers],
        [mover.place for mover in movers],
        max((mover.area for mover in movers), default=0.0),
    )


def reason_words(channel: int, motion: Motion | None, place: str, held: bool) -> str:
    """What sets a moment apart, in words; `channel` counts `usual.CHANNELS` and the look itself."""
    usually = "it usually is" if held else "the rest of the clip"
    if channel == 0:
        return f"something is there, or gone, and stays, unlike {usually}"
    if channel == 1:
        return "something looks unlike anything that is usual there"
    if channel == 2:
        movers: Sequence[Mover] = motion.movers if motion else ()
        moving = next((one for one in movers if one.place == place), movers[0] if movers else None)
        how = f"moves {moving.direction} at {moving.speed:.2f} picture widths a second" if moving else "moves"
        return f"something {how}, which is unusual {'there' if held else 'in this clip'}"
    return "the picture itself looks defective"


def _usual(words: Sequence[str]) -> str:
    """The words that make up nine tenths of all, at most four: "left or right"."""
    kept, share = [], 0
    for word, count in Counter(words).most_common(4):
        kept.append(word)
        share += count
        if share >= 0.9 * len(words):
            break
    return " or ".join(kept)
