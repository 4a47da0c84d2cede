"""What users correct, kept on this machine in one SQLite file: picture, marking, words, and what the model had said.

Nothing is kept without consent, nothing leaves the machine, and every record can be deleted. Pictures are PNG bytes in
the file itself: no text of a user ever names a path.
"""

from __future__ import annotations

import io
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from assistant.cache import data_folder
from assistant.errors import CorrectionError
from assistant.media import read_media

Kind = Literal["normal", "missed", "words"]
KINDS: tuple[Kind, ...] = ("normal", "missed", "words")
CONSENT = (
    "Keep the picture, my marking and words, and what the model said, on the machine that serves this page, "
    "to train its model. They can be deleted there with: python -m data.feedback forget NUMBER."
)
"""What a user agrees to; stored with each record."""
MAX_KEPT = 2000
"""Records of one store: it is meant for corrections by hand, not for a camera."""
MAX_WORDS = 600
"""Characters of the corrected words, of the question and of the answer that are kept."""
VERSION = 1
_TABLE = """
CREATE TABLE IF NOT EXISTS correction (
    number INTEGER PRIMARY KEY AUTOINCREMENT, made TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('normal', 'missed', 'words')),
    name TEXT NOT NULL, product TEXT NOT NULL, picture BLOB NOT NULL, mask BLOB,
    question TEXT NOT NULL, answer TEXT NOT NULL, words TEXT NOT NULL, verdict TEXT NOT NULL,
    score REAL NOT NULL, threshold REAL NOT NULL, profile TEXT NOT NULL, consent TEXT NOT NULL
)"""
_COLUMNS = (
    "made, kind, name, product, picture, mask, question, answer, words, verdict, score, threshold, profile, consent"
)


@dataclass(frozen=True, eq=False)
class Correction:
    """One correction.

    Attributes:
        kind: "normal" (nothing is wrong here), "missed" (something is), or "words" (the answer should read otherwise).
        picture: [H, W, 3] uint8 RGB.
        mask: [H, W] bool, True where something was missed; None when only that something was missed is known.
        name: of the picture, to be shown.
        product: what the picture shows, in the user's words, "" when not said.
        question, answer: what was asked and what the model said.
        words: what it should have said, "" unless `kind` is "words".
        verdict, score, threshold: the model's; scores 0..1.
        profile: the model, with the version of its weights.
        number, made: of the record, 0 and "" before it is kept.
    """

    kind: Kind
    picture: np.ndarray
    mask: np.ndarray | None = None
    name: str = "picture"
    product: str = ""
    question: str = ""
    answer: str = ""
    words: str = ""
    verdict: str = ""
    score: float = 0.0
    threshold: float = 0.5
    profile: str = "embedded"
    number: int = 0
    made: str = ""


class CorrectionStore:
    """The file; made with the first record. Safe to use from several threads and processes."""

    def __init__(self, file: Path | None = None) -> None:
        self.file = file or data_folder() / "corrections.sqlite"

    def add(self, correction: Correction, *, consent: bool) -> int:
        """Keeps a correction and returns its number.

        Raises:
            CorrectionError: without consent, when it says nothing, when the store is full or cannot be written.
        """
        if not consent:
            raise CorrectionError("Nothing was kept: it needs your consent.", "Tick the box first.")
        checked(correction)
        row = (
            datetime.now(UTC).isoformat(timespec="seconds"), correction.kind, correction.name[:MAX_WORDS],
            correction.product[:80], _png(correction.picture),
            None if correction.mask is None else _png(np.where(correction.mask, np.uint8(255), np.uint8(0))),
            correction.question[:MAX_WORDS], correction.answer[:MAX_WORDS], correction.words[:MAX_WORDS],
            correction.verdict, float(correction.score), float(correction.threshold), correction.profile, CONSENT,
        )  # fmt: skip
        with self._opened(write=True) as store:
            if store.execute("SELECT COUNT(*) FROM correction").fetchone()[0] >= MAX_KEPT:
                raise CorrectionError(f"{MAX_KEPT} corrections are kept already.", "Train with them, then forget some.")
            marks = ", ".join("?" * len(row))
            return int(store.execute(f"INSERT INTO correction ({_COLUMNS}) VALUES ({marks})", row).lastrowid)

    def count(self) -> int:
        """How many records there are."""
        if not self.file.is_file():
            return 0
        with self._opened() as store:
            return int(store.execute("SELECT COUNT(*) FROM correction").fetchone()[0])

    def read(self) -> Iterator[Correction]:
        """The records, oldest first; raises CorrectionError when the file is damaged."""
        if not self.file.is_file():
            return
        with self._opened() as store:
            numbers = [row[0] for row in store.execute("SELECT number FROM correction ORDER BY number")]
        for number in numbers:  # one at a time: pictures of a full store would not fit in memory
            with self._opened() as store:
                row = store.execute(f"SELECT {_COLUMNS} FROM correction WHERE number = ?", (number,)).fetchone()
            if row is not None:
                yield _correction(number, row)

    def forget(self, numbers: Sequence[int]) -> int:
        """Deletes records, and what of them is left in the file; how many there were."""
        if not self.file.is_file():
            return 0
        with self._opened(write=True) as store:
            store.execute("PRAGMA secure_delete = ON")
            gone = sum(
                store.execute("DELETE FROM correction WHERE number = ?", (int(number),)).rowcount for number in numbers
            )
        return gone

    @contextmanager
    def _opened(self, write: bool = False) -> Iterator[sqlite3.Connection]:
        """The open file in one transaction; what SQLite or the disk says against it is one sentence."""
        try:
            if write and not self.file.is_file():
                self.file.parent.mkdir(parents=True, exist_ok=True)
                os.close(os.open(self.file, os.O_CREAT | os.O_WRONLY, 0o600))  # pictures of this user alone
            with closing(sqlite3.connect(self.file, timeout=10)) as store, store:
                if store.execute("PRAGMA user_version").fetchone()[0] > VERSION:
                    raise CorrectionError("The kept corrections were written by a newer version of LookTwice.")
                store.execute(_TABLE)
                store.execute(f"PRAGMA user_version = {VERSION}")
                yield store
        except (sqlite3.Error, OSError) as error:
            raise CorrectionError(f"The corrections in {self.file.name} cannot be used ({error}).") from None


def checked(correction: Correction) -> None:
    """Raises CorrectionError when a correction says nothing that could be learnt."""
    if correction.kind not in KINDS:
        raise CorrectionError("That is no kind of correction.", f"Choose one of: {', '.join(KINDS)}.")
    if correction.kind == "words" and not correction.words.strip():
        raise CorrectionError("There are no corrected words.", "Write what the answer should have been.")
    if correction.kind == "words" and correction.words.strip() == correction.answer.strip():
        raise CorrectionError("The words are the ones of the answer.", "Change what is wrong in them.")
    if len(correction.words) > MAX_WORDS:
        raise CorrectionError(f"The corrected words have more than {MAX_WORDS} characters.", "Say it shorter.")
    if correction.mask is not None:
        if correction.mask.shape != correction.picture.shape[:2]:
            raise CorrectionError("The marking has another size than the picture.")
        if correction.kind == "missed" and not correction.mask.any():
            raise CorrectionError("Nothing is marked.", "Draw over what was missed.")


def _png(pixels: np.ndarray) -> bytes:
    packed = io.BytesIO()
    Image.fromarray(pixels).save(packed, "PNG")
    return packed.getvalue()


def _correction(number: int, row: Sequence[object]) -> Correction:
    made, kind, name, product, picture, mask, *others, _ = row
    question, answer, words, verdict, score, threshold, profile = others
    pixels = read_media(bytes(picture)).frames[0].pixels
    marked = None if mask is None else read_media(bytes(mask)).frames[0].pixels[..., 0] > 127
    return Correction(
        kind, pixels, marked, name, product, question, answer, words, verdict, score, threshold, profile, number, made
    )
