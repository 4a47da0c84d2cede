"""Multiple-choice and yes/no questions: the text that asks them, and what an answer's text says. No model in here."""

from __future__ import annotations

import re
from collections.abc import Sequence

YES_NO = "Are there any defects for the object in the image? Please reply with 'Yes' or 'No'."
"""VisA-D&R's own detection question."""

Options = Sequence[tuple[str, str]]
"""(letter, text) of each option."""


def verdict_in(answer: str) -> str:
    """The verdict of an answer to YES_NO by the benchmark's own rule: anomalous if it contains Yes or yes."""
    return "anomalous" if "Yes" in answer or "yes" in answer else "normal"


def choice_question(question: str, options: Options) -> str:
    """The question with its options, one a line, and how to answer."""
    listed = "\n".join(f"{letter}. {text}" for letter, text in options)
    return f"{question}\n{listed}\nAnswer with the option's letter."


def parsed_letter(text: str, options: Options) -> str | None:
    """The letter of the option an answer means; None when that cannot be told.

    Looked for in this order: a letter the answer begins with or states ("B", "(B)", "Answer: B"), a lone letter in
    brackets, the one option whose text the answer contains, the one option that begins with the answer's yes or no.
    """
    letters = "".join(letter for letter, _ in options)
    patterns = (
        rf"^\W*([{letters}])(?:[).:,]|\s*$)",  # "A crack" begins with an article
        rf"\b(?:answer|option|choice)\b(?:\s+is|\s*:)?\s*\(?([{letters}])\b",
        rf"\(([{letters}])\)",
    )
    for number, pattern in enumerate(patterns):
        found = re.findall(pattern, text.strip(), re.IGNORECASE if number == 1 else 0)
        if len(set(found)) == 1:
            return found[0].upper()
    said = _folded(text)
    named = [letter for letter, option in options if _folded(option) and f" {_folded(option)} " in f" {said} "]
    if len(named) == 1:
        return named[0]
    first = re.match(r"\W*(yes|no)\b", text, re.IGNORECASE)
    if first:
        fitting = [letter for letter, option in options if _folded(option).split()[:1] == [first[1].lower()]]
        if len(fitting) == 1:
            return fitting[0]
    return None


def _folded(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.lower()))
