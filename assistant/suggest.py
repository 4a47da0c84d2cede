"""Questions that fit a finding, for those who do not know what to ask next. Pure text."""

from __future__ import annotations

from collections.abc import Sequence

from assistant.types import Finding

SHOWN = 3
"""Suggestions at once."""
_OF_CLIPS: dict[str, tuple[str, ...]] = {
    "anomalous": ("When is it?", "Where is it?", "What does it look like?", "What should I do?", "How sure are you?"),
    "normal": ("How sure are you?", "What did you check?", "Describe the picture."),
    "unsure": ("When is it?", "How sure are you?", "What do you see?", "What should I do?"),
}
_BY_VERDICT: dict[str, tuple[str, ...]] = {
    "anomalous": (
        "Where is it?", "What may have caused it?", "What should I do?", "How serious is it?", "How large is it?",
        "What does it look like?",
    ),
    "normal": ("What did you check?", "How sure are you?", "Describe the picture.", "What can you not see?"),
    "unsure": ("How sure are you?", "What do you see?", "What did you check?", "What should I do?"),
}  # fmt: skip


def follow_ups(finding: Finding | None, asked: Sequence[str] = ()) -> tuple[str, ...]:
    """At most SHOWN questions that fit the finding and have not been asked yet; none without a finding.

    Where nothing stands out nobody is led to ask where it is.
    """
    if finding is None:
        return ()
    said = {question.strip().lower() for question in asked}
    fitting = (_BY_VERDICT if finding.clip is None else _OF_CLIPS)[finding.verdict]
    if finding.verdict == "unsure" and finding.regions:
        fitting = ("Where should I look?", *fitting)
    if finding.verdict == "anomalous" and not finding.regions:
        fitting = tuple(question for question in fitting if question not in ("Where is it?", "How large is it?"))
    return tuple(question for question in fitting if question.lower() not in said)[:SHOWN]
