"""Several questions in one line, taken one by one: each is then answered as well as it would be alone.

Pure text: no tensors, no pictures.
"""

from __future__ import annotations

import re

from assistant.prompts import asks_verdict
from assistant.worded import asks_where

MOST, LONGEST = 3, 200
"""Questions in one line, and its characters: what is more or longer is one question."""
_BEGINS = (
    r"(?:how|what|where|why|when|which|is|are|was|can|could|may|might|must|should|would|do|does|did|will|has|have)\b"
)
_BETWEEN = re.compile(rf"(?:\s*[?;]+\s*|\s*,\s*|\s+)(?:(?<=[?;,]\s)|and (?:also )?|also )(?={_BEGINS})", re.IGNORECASE)
_QUESTION = re.compile(rf"{_BEGINS}(?:\W+[\w'-]+){{2,}}", re.IGNORECASE)
_LAST = re.compile(rf"(?:where|why|when)$|{_QUESTION.pattern}", re.IGNORECASE)


def one_by_one(question: str) -> list[str]:
    """The questions of a line, in order; the line itself where it is a single one, or not of questions alone.

    Where something is belongs to the answer whether anything is wrong: asked after that, it is not asked again.
    """
    whole = question.strip()
    if len(whole) > LONGEST or re.search(r"[\n:()\"]", whole):
        return [question]
    first, *rest = parts = [part.strip(" ?.!") for part in _BETWEEN.split(whole)]
    begins = _QUESTION.match(first) or asks_where(first)
    if not 0 < len(rest) < MOST or not begins or not all(map(_LAST.match, rest)):
        return [question]
    if asks_verdict(first):
        parts = [first, *(part for part in rest if not asks_where(part))]
    return [f"{part[0].upper()}{part[1:]}?" for part in parts]
