"""Order of events, what a follow-up is about, and the bounds of a conversation; with a hand-made inspector."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from assistant.errors import MediaError, QuestionError, RateError
from assistant.media import media_from_array
from assistant.reference import References
from assistant.session import ALONE, MAX_LOOKS, MAX_TURNS, Done, Looked, Session, Stage, Words
from assistant.types import ClipFacts, ClipFile, Finding, Look, Media, Timings


class Scripted:
    """Answers "one two " and keeps what it was asked."""

    load_s = 1.5

    def __init__(self) -> None:
        self.looked: list[Media] = []
        self.remembered: list[tuple[Media, ...]] = []
        self.held: list[tuple[Any, float | None]] = []
        self.asked: list[tuple[Look | None, str, list[tuple[str, str]]]] = []
        self.broken = False
        self.normal: list[Any] = []
        self.on_frame = lambda number: None

    def remember(self, sources: Sequence[Media]) -> References:
        self.remembered.append(tuple(sources))
        return References((), len(sources))

    def learn_normal(self, sources: Any, *, progress: Any) -> Any:
        progress("remembering", 1, 1)
        self.normal.append(tuple(sources))
        return "what is normal"

    def look_clip(self, source: ClipFile, normal: Any = (), *, rules: str = "", progress: Any) -> Look:
        for number in (1, 2):
            self.on_frame(number)
            progress("watching", number, 2)
        self.held.append((normal, None))
        return replace(self.look(picture()), clip=ClipFacts(2.0, "still", (), (), ()))

    def look(self, source: Media, references: Any = (), *, rate: float | None = None) -> Look:
        if self.broken:
            raise MediaError("The picture is broken.")
        self.looked.append(source)
        self.held.append((references, rate))
        pixels = source.frames[0].pixels
        return Look(source.frames[0].size, 0.9, np.zeros(pixels.shape[:2], np.float32), (), pixels, {}, look_s=0.25)

    def ask(
        self,
        look: Look | None,
        question: str,
        history: Sequence[tuple[str, str]] = (),
        *,
        stop: threading.Event | None = None,
    ) -> Iterator[str]:
        if not question.strip():
            raise QuestionError("The question is empty.")
        self.asked.append((look, question, list(history)))
        for piece in ("one ", "two "):
            if stop is not None and stop.is_set():
                return
            yield piece

    def finding(self, look: Look, explanation: str, timings: Timings | None = None) -> Finding:
        return Finding("anomalous", 0.9, 0.9, look.score, 0.5, "", (), explanation, (), timings or Timings())


def picture(name: str = "wall") -> Media:
    return media_from_array(np.zeros((4, 6, 3), np.uint8), name)


def test_a_turn_with_a_picture_comes_in_order() -> None:
    session = Session(Scripted())
    events = list(session.ask("what?", picture()))
    assert [type(event) for event in events] == [Stage, Looked, Stage, Words, Words, Stage, Done]
    assert [event.name for event in events if isinstance(event, Stage)] == ["looking", "answering", "deciding"]
    assert [(event.piece, event.text) for event in events if isinstance(event, Words)] == [
        ("one ", "one "), ("two ", "one two "),
    ]  # fmt: skip
    done = events[-1]
    assert isinstance(done, Done) and done.finding is not None and not done.stopped
    assert done.text == done.finding.explanation == "one two"
    timings = done.finding.timings
    assert (timings.load_s, timings.look_s) == (1.5, 0.25) and 0 < timings.first_word_s <= timings.answer_s


def test_a_follow_up_uses_the_same_look_and_its_history() -> None:
    inspector = Scripted()
    session = Session(inspector)
    list(session.ask("", picture()))
    events = list(session.ask("where?"))
    assert len(inspector.looked) == 1 and not any(isinstance(event, Looked) for event in events)
    (first, default, no_history), (second, _, history) = inspector.asked
    assert first is second is session.look and no_history == [] and history == [(default, "one two")]
    assert default == "Is there anything wrong?"


def test_a_new_picture_begins_a_new_history() -> None:
    inspector = Scripted()
    session = Session(inspector)
    list(session.ask("a", picture()))
    list(session.ask("b", picture()))
    assert inspector.asked[1][0] is session.look is not inspector.asked[0][0]
    assert inspector.asked[1][2] == []


def test_without_a_picture_the_base_model_answers_and_there_is_no_finding() -> None:
    inspector = Scripted()
    session = Session(inspector)
    events = list(session.ask("hello"))
    assert inspector.asked[0][0] is None and isinstance(events[-1], Done) and events[-1].finding is None
    list(session.ask("again"))
    assert inspector.asked[1][2] == [("hello", "one two")]


def test_stopping_ends_the_turn_without_a_verdict() -> None:
    session, stop = Session(Scripted()), threading.Event()
    events = []
    for event in session.ask("what?", picture(), stop=stop):
        events.append(event)
        if isinstance(event, Words):
            stop.set()
    assert isinstance(events[-1], Done)
    assert events[-1].stopped and events[-1].finding is None and events[-1].text == "one"
    assert session.turns[-1].answer == "one"
    stopped_before = list(session.ask("more?", stop=stop))
    assert not any(isinstance(event, Words) for event in stopped_before) and len(session.turns) == 1


def test_what_cannot_be_used_leaves_the_conversation_as_it_was() -> None:
    inspector = Scripted()
    session = Session(inspector)
    list(session.ask("a", picture()))
    before, inspector.broken = (session.turns, session.looks), True
    with pytest.raises(MediaError):
        list(session.ask("b", picture()))
    with pytest.raises(QuestionError):
        list(session.ask("  "))
    assert (session.turns, session.looks) == before


def test_a_conversation_is_bounded() -> None:
    session = Session(Scripted())
    for number in range(MAX_LOOKS + 3):
        list(session.ask(f"question {number}", picture()))
    assert len(session.looks) == MAX_LOOKS
    assert {id(turn.look) for turn in session.turns} <= {id(look) for look in session.looks}
    for number in range(MAX_TURNS + 3):
        list(session.ask(f"follow-up {number}"))
    assert len(session.turns) == MAX_TURNS and session.turns[-1].question == f"follow-up {MAX_TURNS + 2}"


def test_sessions_share_nothing() -> None:
    inspector = Scripted()
    one, other = Session(inspector), Session(inspector)
    list(one.ask("a", picture()))
    list(other.ask("b"))
    assert other.look is None and inspector.asked[1][0] is None and inspector.asked[1][2] == []


def test_references_are_remembered_once_and_hold_for_every_look() -> None:
    inspector = Scripted()
    session = Session(inspector)
    references = [picture("one"), picture("two")]
    session.hold(references, 0.1)
    events = list(session.ask("a", picture()))
    assert [event.name for event in events if isinstance(event, Stage)][:2] == ["remembering", "looking"]
    events = list(session.ask("b", picture()))
    assert [event.name for event in events if isinstance(event, Stage)][0] == "looking"
    session.hold(references, 0.2)  # another rate needs no other memory
    list(session.ask("c", picture()))
    assert inspector.remembered == [tuple(references)]
    assert [rate for _, rate in inspector.held] == [0.1, 0.1, 0.2]
    assert all(held is session.memory() for held, _ in inspector.held)
    session.hold(references[:1])
    list(session.ask("d", picture()))
    assert len(inspector.remembered) == 2 and inspector.held[-1] == (session.memory(), None)
    session.hold(())
    list(session.ask("e", picture()))
    assert inspector.held[-1] == ((), None) and len(inspector.remembered) == 2


def test_new_terms_make_the_newest_picture_looked_at_again() -> None:
    inspector = Scripted()
    session, seen = Session(inspector), picture()
    list(session.ask("a", seen))
    session.hold([picture("good")])
    events = list(session.ask("and now?"))
    assert inspector.looked == [seen, seen] and any(isinstance(event, Looked) for event in events)
    assert inspector.asked[-1] == (session.look, "and now?", [])
    list(session.ask("again?"))
    assert len(inspector.looked) == 2


def test_references_before_any_picture_look_at_nothing() -> None:
    inspector = Scripted()
    session = Session(inspector)
    session.hold([picture("good")])
    list(session.ask("hello"))
    assert not inspector.looked and not inspector.remembered
    with pytest.raises(RateError):
        session.hold([], 3.0)


def test_a_kept_memory_is_used_as_it_is() -> None:
    inspector = Scripted()
    session, kept = Session(inspector), References((), 3)
    session.hold(kept, 0.05)
    list(session.ask("a", picture()))
    assert inspector.held == [(kept, 0.05)] and not inspector.remembered


def test_frames_of_a_clip_are_told_and_a_stop_ends_the_look_whose_clip_is_asked_about_next() -> None:
    scripted, told, stop = Scripted(), [], threading.Event()
    session = Session(scripted)
    clip = ClipFile(b"a clip")
    list(session.ask("First?", picture()))
    scripted.on_frame = lambda number: stop.set() if number == 2 else None
    events = list(session.ask("What happens?", clip, stop=stop, tell=told.append))
    assert told == [Stage("watching", frame=1, frames=2)]
    assert events[0] == Stage("watching") and len(events) == 2
    assert events[1].stopped and events[1].finding is None and not events[1].text
    assert len(session.turns) == 1 and len(session.looks) == 1
    scripted.on_frame = lambda number: None
    events = list(session.ask("And now?"))  # about the clip, which stands last in the chat
    assert isinstance(events[1], Looked) and events[1].look.clip is not None


def test_a_normal_clip_holds_for_clips_and_normal_pictures_for_both() -> None:
    scripted, clip, good = Scripted(), ClipFile(b"a clip"), picture("good")
    session = Session(scripted)
    session.hold([clip, good])
    look = session.attach(picture())
    assert scripted.remembered == [(good,)] and ALONE not in look.warnings
    session.attach(ClipFile(b"another"))
    assert scripted.normal == [(clip, good)] and scripted.held[-2][0] == "what is normal"
    session.hold([clip])
    events = list(session.ask("Is there anything wrong?", picture()))
    assert events[0] == Stage("looking")  # nothing is remembered for it
    assert events[1].look.warnings == (ALONE,) and scripted.held[-1] == ((), None)
