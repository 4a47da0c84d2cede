"""Answers in parts: measured places and looks, cause and advice of the model, and nothing foreign becomes markup."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np

from assistant.answer import QUESTIONS, in_parts, wants_parts
from assistant.session import Decided, Done, Part, Session, Stage
from assistant.suggest import follow_ups
from assistant.types import Finding, Look, Media, Region

GREY = np.full((60, 90, 3), 120, np.uint8)
SPOT = Region((20, 10, 40, 30), "top left", 0.05, 0.97, 0.8, "darker", "elongated")
LOOK = Look((90, 60), 0.9, np.zeros((60, 90), np.float32), (SPOT,), GREY, {})
FINDING = Finding("anomalous", 0.93, 0.93, 0.9, 0.5, "", (SPOT,), "Yes.")


def test_verdict_where_looks_cause_and_advice_stand_in_order() -> None:
    said = {"Likely cause": "A blow.", "What to do": "Replace it."}
    text = in_parts("Yes. There is a crack in the top left.", LOOK, FINDING, said, 3)
    head, *lines = text.splitlines()
    assert head == "**Anomalous, 93 % sure.** Yes. There is a crack in the [top left](#spot-3-1)."
    assert [line for line in lines if line] == [
        "- **Where:** [top left](#spot-3-1), 5.0 % of the picture",
        "- **Looks:** large, elongated, darker than around it",
        "- **Likely cause:** A blow.",
        "- **What to do:** Replace it.",
    ]


def test_a_normal_picture_has_the_verdict_alone_and_a_doubt_is_told() -> None:
    fine = replace(FINDING, verdict="normal", regions=())
    assert in_parts("No.", replace(LOOK, regions=()), fine, {}, 1) == "**Normal, 93 % sure.** No."
    unsure = replace(FINDING, verdict="unsure")
    text = in_parts("Yes.", replace(LOOK, doubt="It is unlike <b>anything</b>."), unsure, {}, 1)
    assert "- **Why unsure:** It is unlike &lt;b&gt;anything&lt;/b&gt;." in text and "**Where:**" in text
    text = in_parts("Yes.", LOOK, replace(unsure, verdict_probability=0.52), {}, 1)
    assert "- **Why unsure:** What was seen speaks about as much for normal as for anomalous." in text
    held = replace(LOOK, references=2)
    text = in_parts("No.", held, replace(unsure, verdict_probability=0.3), {}, 1)
    assert "- **Why unsure:** The score says normal, but the [top left](#spot-1-1) is unlike the references." in text
    assert not wants_parts(fine) and not wants_parts(unsure) and wants_parts(FINDING)
    assert not wants_parts(replace(FINDING, regions=()))


def test_words_of_the_model_are_text() -> None:
    text = in_parts("<img src=x>", LOOK, FINDING, {"Likely cause": "[x](javascript:y)\n# big"}, 1)
    assert "<img" not in text and "[x](" not in text and "\n# " not in text


class Fake:
    """An inspector that answers with the question."""

    load_s = 0.0

    def __init__(self, finding: Finding) -> None:
        self.known, self.histories = finding, []

    def look(self, source: Media, references: object = (), *, rate: float | None = None) -> Look:
        return LOOK

    def ask(self, look: Look, question: str, history: object = (), *, stop: threading.Event | None = None):
        self.histories.append((question, list(history)))
        yield f"about {question}"

    def finding(self, look: Look, explanation: str, timings: object = None) -> Finding:
        return self.known


def events(session: Session, question: str, media: Media | None, **more: object) -> list[object]:
    return list(session.ask(question, media, **more))


def test_cause_and_advice_are_asked_for_once_and_stay_out_of_the_history() -> None:
    fake, picture = Fake(FINDING), Media(())
    session = Session(fake)
    seen = events(session, "", picture, parts=True)
    assert [event.name for event in seen if isinstance(event, Part)] == list(QUESTIONS)
    assert isinstance(seen[-1], Done) and seen.index(next(e for e in seen if isinstance(e, Decided))) < len(seen) - 3
    assert Stage("adding") in seen and len(session.turns) == 1
    assert fake.histories[1][1] == [("Is there anything wrong?", "about Is there anything wrong?")]
    assert not [e for e in events(session, "Where is it?", None, parts=True) if isinstance(e, Part | Decided)]
    assert not [e for e in events(session, "", picture) if isinstance(e, Part | Decided)]
    normal = Session(Fake(replace(FINDING, verdict="normal")))
    assert not [e for e in events(normal, "", picture, parts=True) if isinstance(e, Part)]


def test_a_stop_leaves_the_parts_out_and_keeps_the_verdict() -> None:
    stop = threading.Event()
    session, seen = Session(Fake(FINDING)), []
    for event in session.ask("", Media(()), stop=stop, parts=True):
        seen.append(event)
        if isinstance(event, Decided):
            stop.set()
    assert not [event for event in seen if isinstance(event, Part)]
    assert seen[-1].finding is FINDING and not seen[-1].stopped


def test_a_cause_that_the_answer_has_named_is_not_asked_for_again() -> None:
    class Talkative(Fake):
        def ask(self, look: Look, question: str, history: object = (), *, stop: threading.Event | None = None):
            yield "Yes. Likely cause: a blow." if not history else "Replace it."

    seen = events(Session(Talkative(FINDING)), "", Media(()), parts=True)
    assert [event.name for event in seen if isinstance(event, Part)] == ["What to do"]


def test_what_was_answered_is_not_suggested_again() -> None:
    asked = ["Is there anything wrong?", *QUESTIONS.values()]
    assert not set(follow_ups(FINDING, asked)) & set(asked)
