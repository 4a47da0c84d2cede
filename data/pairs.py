"""Boards beside their own templates: the one set here whose normal pictures show the very scene of anomalous ones."""

from __future__ import annotations

from collections.abc import Sequence

from assistant.errors import RecordError
from data.schema import Record

SET = "deeppcb"
"""In DeepPCB each defective board has an aligned template, whose file has the next number."""


def pairs_of(records: Sequence[Record]) -> list[tuple[Record, Record]]:
    """(board, its template) of the set's records, by the numbers of their files; in the order of the files.

    Raises:
        RecordError: there is no such pair.
    """
    mine = [record for record in records if record.dataset == SET]
    templates = {int(record.image.stem): record for record in mine if record.label == 0}
    boards = sorted((record for record in mine if record.label), key=lambda record: record.image)
    found = [(one, templates[number]) for one in boards if (number := int(one.image.stem) + 1) in templates]
    if not found:
        raise RecordError(f"There are no boards of {SET} with their templates.")
    return found
