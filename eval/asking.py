"""Asking a loaded model: questions about a look, and how likely each option's letter is as the first word."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from assistant.inspector import MAX_WORDS, Inspector
from assistant.prompts import DEFAULT_QUESTION, asks_verdict, places_in
from assistant.runtime import TransformersRuntime
from assistant.types import Look
from assistant.worded import founded
from data.exams import Exam
from eval.choices import Options, choice_question, parsed_letter


def answer(inspector: Inspector, look: Look, question: str, history: Sequence[tuple[str, str]] = ()) -> str:
    """The whole answer to a question about a look."""
    return "".join(inspector.ask(look, question, list(history))).strip()


def answers(inspector: Inspector, looks: Sequence[Look], question: str) -> list[str]:
    """Whole answers to one question about each look, side by side where the profile's prompts can be padded.

    They are `answer`'s, but for the last bits of a sum: where two words are equally likely another may be said.
    """
    runtime = inspector.runtime
    if not isinstance(runtime, TransformersRuntime) or inspector.model.prompts_as_ids:
        return [answer(inspector, look, question) for look in looks]
    prompts = [inspector.prompt(look, question, ()) for look in looks]
    said = [""] * len(looks)
    kinds = [
        tuple((n, value.shape[1]) for n, value in vars(tokens).items() if value is not None) for _, tokens in prompts
    ]
    for same in dict.fromkeys(kinds):  # a batch holds tokens of the same kinds, and as many of each
        rows = [row for row, kind in enumerate(kinds) if kind == same]
        judged = asks_verdict(question)
        biases = [inspector.calibration.first_word_bias(looks[row].evidence) if judged else 0.0 for row in rows]
        written = runtime.answers([prompts[row] for row in rows], max_words=MAX_WORDS, word_biases=biases)
        for row, (words, first) in zip(rows, written, strict=True):
            if question == DEFAULT_QUESTION:
                inspector.first_words[looks[row]] = first
            places = () if looks[row].clip else looks[row].regions
            whole = "".join(founded([words], question, looks[row].kinds, places))
            said[row] = inspector.worded(looks[row], question) or whole
    return said


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
