"""Whether words and look name the right kind of defect, against the kind that the set states.

A set's defect types and the words of an answer are both brought to the names of `assistant.knowledge`. What counts are
anomalous pictures whose kind is known and whose answer says yes: an answer that sees no defect cannot name one, and is
counted by the verdict's figures.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from assistant.knowledge import canonical, kind_in
from assistant.prompts import says_yes

NO_KIND = "no kind"
"""Column of the confusion table for an answer that says yes and names no kind."""


def named_kinds(rows: Sequence[dict[str, Any]]) -> list[tuple[str, str]]:
    """(true kind, named kind or NO_KIND) of every row that counts."""
    pairs = []
    for row in rows:
        truth = canonical(row.get("defect") or "") if row["label"] == 1 else None
        if truth is not None and says_yes(row.get("explanation") or ""):
            pairs.append((truth, kind_in(row["explanation"]) or NO_KIND))
    return pairs


def kind_accuracy(rows: Sequence[dict[str, Any]]) -> float | None:
    """Share of the rows that count whose answer names the true kind, 0..1; None when no row counts."""
    pairs = named_kinds(rows)
    return sum(truth == named for truth, named in pairs) / len(pairs) if pairs else None


def wrong_kind_rate(rows: Sequence[dict[str, Any]]) -> float | None:
    """Share of the rows that count whose answer names another kind than the true one, 0..1; None when no row counts.

    The rest of `kind_accuracy` names none: that a kind is not known is no untruth.
    """
    pairs = named_kinds(rows)
    return sum(named not in (truth, NO_KIND) for truth, named in pairs) / len(pairs) if pairs else None


def likeliest_kinds(rows: Sequence[dict[str, Any]]) -> list[tuple[str, str]]:
    """(true kind, likeliest kind of the look or NO_KIND) of every anomalous picture of a known kind; needs no words.

    Rows from before looks named kinds do not count.
    """
    pairs = []
    for row in rows:
        truth = canonical(row.get("defect") or "") if row["label"] == 1 else None
        if truth is not None and "kinds" in row:
            pairs.append((truth, row["kinds"][0][0] if row["kinds"] else NO_KIND))
    return pairs


def likeliest_kind_accuracy(rows: Sequence[dict[str, Any]]) -> float | None:
    """Share of `likeliest_kinds` that are right; a look that names no kind is wrong. None when no row counts."""
    pairs = likeliest_kinds(rows)
    return sum(truth == named for truth, named in pairs) / len(pairs) if pairs else None


def confusion(pairs: Sequence[tuple[str, str]]) -> dict[str, dict[str, int]]:
    """{true kind: {named kind: how often}} of pairs of those, only what occurs; names in order, NO_KIND last."""
    counts = Counter(pairs)
    table: dict[str, dict[str, int]] = {}
    for truth, named in sorted(counts, key=lambda pair: (pair[0], pair[1] == NO_KIND, pair[1])):
        table.setdefault(truth, {})[named] = counts[truth, named]
    return table
