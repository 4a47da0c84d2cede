"""Asking a loaded model: questions about a look, and how likely each option's letter is as the first word."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from assistant.inspector import Inspector
from assistant.prompts import places_in
from assistant.types import Look
from data.exams import Exam
from eval.choices import Options, choice_question, parsed_letter


def answer(inspector: Inspector, look: Look, question: str, history: Sequence[tuple[str, str]] = ()) -> str:
    """The whole answer to a question about a look."""
    return "".join(inspector.ask(look, question, list(history))).strip()


def letter_probabilities(inspector: Inspector, look: Look, question: str, options: Options) -> dict[str, float]:
    """{letter: probability} of each option's letter as the answer's first token, against the other letters.

    Read from the language model's logits after the whole prompt: what a model knows although it does not keep to the
    form of an answer.
    """
    ids, tokens = inspector.prompt(look, question, ())
    tokenizer = inspector.processor.tokenizer
    firsts = [tokenizer(letter, add_special_tokens=False).input_ids[0] for letter, _ in options]
    with torch.inference_mode():
        logits = inspector.model.next_logits(ids, tokens)
    shares = torch.softmax(logits[0, firsts], dim=0)
    return {letter: round(float(share), 6) for (letter, _), share in zip(options, shares, strict=True)}


def asked(inspector: Inspector, look: Look, exam: Exam) -> Iterator[dict[str, Any]]:
    """One dict a turn: question, reference answer, kind, the model's answer, and for options the letters.

    Keys of a multiple-choice turn: `likely` (the likeliest letter), `letters` (probability of each) and `parsed` (the
    letter that the generated text names, None where it names none).
    """
    history: list[tuple[str, str]] = []
    for turn in exam.turns:
        question = choice_question(turn.question, turn.options) if turn.options else turn.question
        said = answer(inspector, look, question, history if exam.history else ())
        history.append((question, said))
        result: dict[str, Any] = {
            "question": turn.question, "reference": turn.answer, "type": turn.kind, "answer": said,
        }  # fmt: skip
        if turn.options:
            shares = letter_probabilities(inspector, look, question, turn.options)
            result |= {
                "options": dict(turn.options), "letters": shares, "likely": max(shares, key=shares.get),
                "parsed": parsed_letter(said, turn.options),
            }  # fmt: skip
        else:
            result["places"] = list(places_in(said))
        yield result
