"""Rules of normality in words against what was measured in a clip, and against an event that is known. Pure text.

What was measured is taken from the very words of the prompt: a rule is called broken only where they say so.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from assistant.clip_words import SPOKEN_SPANS
from assistant.types import PLACES, ClipFacts, Span

_COUNT = re.compile(r"At most (\d+) things? moves? at once")
_GOES = re.compile(r"What moves goes ([\w ]+), at (\d+\.\d\d) to (\d+\.\d\d) picture widths a second")
_MOVES = re.compile(r"moves ([a-z ]+) at (\d+\.\d\d) picture widths a second")
_WHERE = re.compile(r"It moves in the ([a-z ]+)\.")
MOTION_WORDS = re.compile(r"At most \d+ things? moves? at once, mostly ([a-z ]+), at about (\d+\.\d\d) picture")
"""Ways and usual speed in the words of `motion.motion_words`."""
NOTHING_MOVES = "Nothing moves."
STAYS, UNLIKE, MOTION, LOOK = "stays", "unlike", "motion", "look"
"""What a reason speaks of, after `usual.CHANNELS` and the look itself."""
SEEN_AS = {
    "appears": (STAYS, UNLIKE, LOOK), "vanishes": (STAYS, UNLIKE), "stands still": (STAYS, UNLIKE),
    "defect grows": (STAYS, UNLIKE, LOOK), "passes through": (UNLIKE, MOTION), "against the flow": (MOTION,),
    "runs": (MOTION,), "stranger": (UNLIKE, MOTION),
}  # fmt: skip
"""By kind of event the reasons under which a look can be said to have seen it."""
PASSING = ("passes through", "against the flow", "runs", "stranger")
"""Events of something that goes through the picture from one side to the other."""
FASTER = 1.4
"""Times the usual speed from which something may be said to run."""
WRITTEN: dict[str, tuple[str, ...]] = {
    "appears": ("Nothing is left lying here.", "Nobody puts anything down.", "Nothing is left behind."),
    "vanishes": ("Nothing is taken away.", "What stands here stays here.", "Nobody takes anything."),
    "stands still": ("Nobody stops.", "Nothing stops on the way.", "No standing around."),
    "defect grows": ("The surface stays intact.", "No damage grows.", "No cracks, no scratches, no stains."),
    "passes through": ("Nothing touches what stands here.", "Nothing goes through the things that stand here."),
    "against the flow": ("Nobody goes against the flow.", "Nothing moves against the flow."),
    "runs": ("Nobody runs.", "No fast movement.", "Nothing goes too fast."),
    "stranger": ("Only the usual things move here.", "No strangers.", "Nothing of another kind comes through."),
}
"""Rules that people write, by the kind of event that breaks them."""
MEASURED = (
    "The camera is still.",
    "Nothing moves.",
    "At most 1 thing moves at once.",
    "At most 2 things move at once.",
)
"""Rules that people write and that what was measured decides by itself."""


@dataclass(frozen=True)
class Broken:
    """A rule that does not hold, and what was measured instead: a clause without its full stop."""

    rule: str
    instead: str


def seen_as(span: Span) -> str:
    """What the reason of a span speaks of: STAYS, UNLIKE, MOTION or LOOK."""
    if span.reason.startswith("something is there"):
        return STAYS
    if span.reason.startswith("something moves"):
        return MOTION
    return LOOK if span.reason.startswith("the picture itself") else UNLIKE


def has_seen(span: Span, facts: ClipFacts, row: dict[str, Any]) -> bool:
    """Whether a stretch can be said to show the event of a row: in time, in place, and by what was measured there.

    Args:
        row: of a manifest with an event, see `event_sets.write_events`.
    """
    (start, end), event = row["spans"][0], row["event"]
    seen, ways = seen_as(span), _MOVES.search(span.reason)
    if not (span.start < end and start < span.end and start <= span.peak <= end) or seen not in SEEN_AS[event]:
        return False
    if not span.place or not _beside(span.place, row["place"], rows_only=event in PASSING):
        return False
    if seen != MOTION:
        return True
    usual = MOTION_WORDS.match(facts.motion)
    if not ways or not usual or ways[1] not in ("left", "right"):
        return False
    if event == "runs":
        return float(ways[2]) >= FASTER * float(usual[2])
    return event != "against the flow" or ways[1] not in usual[1].split(" or ")


def _beside(one: str, other: str, rows_only: bool) -> bool:
    """Whether two places are the same or neighbours; of what passes only the row is known."""
    first, second = (divmod(PLACES.index(place), 3) for place in (one, other))
    near = [abs(a - b) <= 1 for a, b in zip(first, second, strict=True)]
    return near[0] if rows_only else all(near)


def most_moving(facts: ClipFacts) -> int | None:
    """Things that moved at once at most, as the words say; None when they say nothing of it."""
    if facts.motion == NOTHING_MOVES:
        return 0
    found = _COUNT.match(facts.motion)
    return int(found[1]) if found else None


def broken_rules(facts: ClipFacts, event: str = "") -> list[Broken]:
    """The rules of a clip that do not hold, in their order.

    Args:
        facts: of the clip, with its rules.
        event: what happens, one of `places.EVENTS`, when that may be said; "" when not.
    """
    spans = sorted(facts.spans[:SPOKEN_SPANS], key=lambda span: -span.score)
    found = []
    for rule in facts.rules:
        instead = _measured(rule, facts) or (_moving(rule, spans[0]) if spans else "")
        if not instead and spans and event and rule in WRITTEN[event]:
            instead = spans[0].reason
        if instead:
            found.append(Broken(rule, instead))
    return found


def written_rules(rng: np.random.Generator, event: str = "") -> tuple[str, ...]:
    """One to three rules as people write them, of different kinds; with an event one that it breaks is often there."""
    kinds = [*WRITTEN, "measured"]
    chosen = [str(kind) for kind in rng.choice(kinds, size=int(rng.integers(1, 4)), replace=False)]
    if event and event not in chosen and rng.random() < 0.7:
        chosen[int(rng.integers(len(chosen)))] = event
    pools = [MEASURED if kind == "measured" else WRITTEN[kind] for kind in chosen]
    return tuple(pool[int(rng.integers(len(pool)))] for pool in pools)


def _measured(rule: str, facts: ClipFacts) -> str:
    """What was measured over the whole clip that breaks a rule; "" for nothing."""
    if rule.startswith("The camera is ") and rule != f"The camera is {facts.camera}.":
        return f"the camera is {facts.camera}"
    most, allowed = most_moving(facts), 0 if rule == NOTHING_MOVES else None
    if count := _COUNT.match(rule):
        allowed = int(count[1])
    if allowed is None or most is None or most <= allowed:
        return ""
    return f"at most {most} {'thing moves' if most == 1 else 'things move'} at once"


def _moving(rule: str, span: Span) -> str:
    """What the most suspicious stretch says that breaks a drafted rule about motion; "" for nothing."""
    moves, goes, where = _MOVES.search(span.reason), _GOES.match(rule), _WHERE.match(rule)
    if goes and moves:
        ways, slow, fast = goes[1].split(" or "), float(goes[2]), float(goes[3])
        if moves[1] not in ways or not slow <= float(moves[2]) <= fast:
            return f"something moves {moves[1]} at {moves[2]} picture widths a second"
    if where and moves and span.place and span.place not in where[1].split(" or "):
        return f"something moves in the {span.place}"
    return ""
