"""Several questions in one line, and the shortest one of all."""

from __future__ import annotations

import pytest

from assistant.asked import one_by_one
from assistant.prompts import asks_again, asks_verdict
from tests.test_memory import picture
from tests.tiny import tiny_inspector


@pytest.mark.parametrize(
    ("line", "questions"),
    [
        ("How large is it, and what could have caused it?", ["How large is it?", "What could have caused it?"]),
        ("How large is it and what caused it", ["How large is it?", "What caused it?"]),
        ("What is wrong here? Where is it?", ["What is wrong here?", "Where is it?"]),
        ("How sure are you? And can I ship it?", ["How sure are you?", "Can I ship it?"]),
        ("What is this, is it a scratch?", ["What is this?", "Is it a scratch?"]),
        ("What do you see and why?", ["What do you see?", "Why?"]),
        ("Is there anything wrong and where is it?", ["Is there anything wrong?"]),
        ("Where exactly, and what should I do?", ["Where exactly?", "What should I do?"]),
        ("What is it? How large is it? What caused it?", ["What is it?", "How large is it?", "What caused it?"]),
    ],
)
def test_questions_of_a_line_are_taken_one_by_one(line, questions):
    assert one_by_one(line) == questions


@pytest.mark.parametrize(
    "line",
    [
        "How large is it?", "How and why did it happen?", "When and where does it happen?", 
        "Tell me what and where it is.",
        "Is it a scratch or is it a crack?", "Which one is it? A: a crack and is deep B: a stain and is flat",
        "The part was dropped and what you see is new.", "Is the top left and the bottom right fine?",
        "What? And? How?", "What is it? How large is it? Where is it? What caused it?",
        "How large is it and what caused it" + " really" * 40, "Describe the surface and what is on it.",
    ],
)  # fmt: skip
def test_what_is_one_question_stays_one(line):
    assert one_by_one(line) == [line]


@pytest.mark.parametrize(
    "question",
    ["And this?", "and this one?", "This?", "What about this picture?", "How about that one?", "ok, and the next one?",
     "Same question", "here?", "And now?"],
)  # fmt: skip
def test_another_picture_asks_the_same_again(question):
    assert asks_again(question) and asks_verdict(question)


@pytest.mark.parametrize("question", ["And this scratch?", "What about the top left?", "What is this?", ""])
def test_more_than_that_is_another_question(question):
    assert not asks_again(question)


def test_each_question_is_answered_and_the_shortest_as_the_first():
    inspector = tiny_inspector()
    look = inspector.look(picture(3))
    answers = ["".join(inspector.ask(look, one)) for one in ("How sure are you?", "What did you check?")]
    assert "".join(inspector.ask(look, "How sure are you, and what did you check?")) == " ".join(answers)
    assert list(inspector.ask(look, "And this?")) == list(inspector.ask(look, "Is there anything wrong?"))
