"""Conversations to train on, as LLaVA writes them: any number of pictures, or a clip, or neither; checked first.

A file is a JSON list of rows, or one row a line (JSONL): {"id", "image": NAME | [NAMES], or "video": NAME,
"conversations": [{"from": "human" | "gpt", "value"}]}. `<image>` stands where a picture is shown, `<video>` (or
`<image>`, as some sets have it) where the clip is. Anomaly-Instruct-125k reads so, and general chat data.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset

from assistant.errors import RecordError
from data.layouts_talks import MARK, ROLES
from data.readers import Row

CLIP_MARK = "<video>"
BETWEEN, BETWEEN_LISTED = re.compile(r"[ \t\r\n]*"), re.compile(r"[ \t\r\n,]*")
"""What stands before a row, and between rows of a list."""
CHUNK = 1 << 20
"""Characters read at once; a file is never held whole."""
LONGEST_ROW = 1 << 26
"""Characters of one row: a file without an end of a row is not read into memory."""


@dataclass(frozen=True)
class Conversation:
    """One conversation.

    Attributes:
        where: file and line, for errors.
        pictures: files, in the order of their marks.
        clip: file of the clip, "" without.
        turns: (question, answer) pairs; MARK stands in the questions where each picture, or the clip, is shown.
    """

    where: str
    pictures: tuple[str, ...]
    clip: str
    turns: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Source:
    """One file of a mix.

    Attributes:
        file: JSON list or JSONL.
        root: folder of its pictures, None for the file's own.
        weight: its share of the samples, against the other weights.
    """

    file: Path
    root: Path | None = None
    weight: float = 1.0


def rows_of(file: Path) -> Iterator[tuple[int, Any]]:
    """(line on which it begins, row) of each row of a JSON list or JSONL file, read piece by piece.

    Raises:
        RecordError: no such file, not UTF-8, or not JSON; it names the line.
    """
    if not file.is_file():
        raise RecordError(f"There are no conversations at {file}.")
    decoder = json.JSONDecoder()
    line, text, at, listed, started = 1, "", 0, None, False  # `at`: where in the piece; cut once a piece, not a row
    with file.open(encoding="utf-8-sig") as stream:
        while True:
            between = (BETWEEN_LISTED if listed and started else BETWEEN).match(text, at).end()
            line += text.count("\n", at, between)
            at = between
            if listed is None and at < len(text):
                listed = text[at] == "["
                at += listed
                continue
            if listed and text.startswith("]", at):
                return
            try:
                if at == len(text):
                    raise json.JSONDecodeError("nothing", "", 0)
                row, end = decoder.raw_decode(text, at)
                if end == len(text) and not isinstance(row, dict):
                    raise json.JSONDecodeError("maybe more", text, end)  # a number may go on
            except (json.JSONDecodeError, RecursionError) as error:
                try:
                    more = "" if len(text) - at > LONGEST_ROW else stream.read(CHUNK)
                except UnicodeDecodeError:
                    raise RecordError(f"{file.name}: not UTF-8 text.") from None
                if more:
                    text, at = text[at:] + more, 0
                    continue
                if at == len(text) and not listed:
                    return
                found = line + (text.count("\n", at, error.pos) if isinstance(error, json.JSONDecodeError) else 0)
                raise RecordError(f"{file.name} line {found}: not JSON.") from None
            yield line, row
            started = True
            line += text.count("\n", at, end)
            at = end


def conversations(file: Path, root: Path | None = None) -> Iterator[Conversation | RecordError]:
    """Each row of a file as a conversation, or as the error that names its line and what is wrong with it.

    Raises:
        RecordError: as `rows_of`.
    """
    folder = (root or file.parent).absolute()
    for line, row in rows_of(file):
        place = Row(f"{file.name} line {line}", folder)
        try:
            yield _conversation(place, row)
        except RecordError as error:
            yield error


def _conversation(place: Row, row: Any) -> Conversation:
    if not isinstance(row, dict):
        raise place.bad("not a JSON object")
    names = row.get("image") or []
    names = names if isinstance(names, list) else [names]
    clip = row.get("video") or ""
    if names and clip:
        raise place.bad("there are pictures and a video, and only one of them can be shown")
    pictures = tuple(str(place.picture(name)) for name in names)
    film = str(place.picture(clip)) if clip else ""
    said = row.get("conversations")
    if not isinstance(said, list) or len(said) < 2 or len(said) % 2:
        raise place.bad("the turns are unbalanced: conversations is not a list of questions and answers")
    values, marks = [], 0
    for number, turn in enumerate(said):
        if not isinstance(turn, dict) or turn.get("from") != ROLES[number % 2]:
            raise place.bad(f"the turns are unbalanced: conversations[{number}] is not from {ROLES[number % 2]}")
        value = turn.get("value")
        if not isinstance(value, str) or not value.replace(MARK, "").replace(CLIP_MARK, "").strip():
            raise place.bad(f"conversations[{number}] has no words")
        if number % 2 == 0:
            value = value.replace(CLIP_MARK, MARK) if film else value
            marks += value.count(MARK)
        elif MARK in value:
            raise place.bad(f"conversations[{number}] is an answer and has {MARK}")
        values.append(value.strip())
    shown = len(pictures) + bool(film)
    if marks != shown:
        what = "video" if film else "picture" if shown == 1 else "pictures"
        raise place.bad(f"there are {marks} placeholders and {shown} {what}")
    return Conversation(place.where, pictures, film, tuple(zip(values[::2], values[1::2], strict=True)))


def check(file: Path, root: Path | None = None, most: int = 20) -> tuple[int, int, list[str]]:
    """(rows, bad rows, sentences about the first `most` bad ones) of a file; errors as `rows_of`."""
    count, bad, said = 0, 0, []
    for entry in conversations(file, root):
        count += 1
        if isinstance(entry, RecordError):
            bad += 1
            if len(said) < most:
                said.append(entry.sentence)
    return count, bad, said


def as_dataset(source: Source, cache: Path) -> Dataset:
    """A file's conversations in an Arrow file that is read from disk row by row, whatever its size.

    Raises:
        RecordError: a bad row, or no row at all; it names the line and how many bad ones there are.
    """
    count, bad, said = check(source.file, source.root, most=3)
    if bad:
        raise RecordError(f"{bad} of {count} conversations of {source.file.name} are bad. {' '.join(said)}")
    if not count:
        raise RecordError(f"There is no conversation in {source.file.name}.")
    # made again for a file that has changed: the cache is named after what it is made from
    stamp = source.file.stat()
    made_from = f"{source.file.absolute()} {source.root} {stamp.st_mtime_ns} {stamp.st_size}"
    return Dataset.from_generator(
        _as_rows, gen_kwargs={"file": str(source.file), "root": str(source.root or ""), "made_from": made_from},
        cache_dir=str(cache),
    )  # fmt: skip


def _as_rows(file: str, root: str, made_from: str) -> Iterator[dict[str, Any]]:
    for entry in conversations(Path(file), Path(root) if root else None):
        if isinstance(entry, RecordError):
            raise entry
        yield asdict(entry)


class Mixed:
    """Conversations of several sources, mixed by weight; sample i is a function of (seed, i) alone.

    Of each source every conversation comes once before any comes again.

    Args:
        sources: files with weights over 0.
        cache: folder for what is read from disk.
        seed: which source and which conversation.

    Raises:
        RecordError: as `as_dataset`, or a weight that is none.
    """

    def __init__(self, sources: Sequence[Source], cache: Path, seed: int) -> None:
        for source in sources:
            if not source.weight > 0:
                raise RecordError(f"The weight of {source.file.name} is {source.weight:g}, but must be over 0.")
        total = sum(source.weight for source in sources)
        self.shares = [source.weight / total for source in sources]
        self.sets = [as_dataset(source, cache) for source in sources]
        self.seed = seed
        self._sources = np.zeros(0, np.int64)
        self._orders: dict[int, tuple[int, np.ndarray]] = {}

    @property
    def epoch(self) -> int:
        """Samples after which every conversation of the first source has come once."""
        return round(len(self.sets[0]) / self.shares[0])

    def __getitem__(self, index: int) -> Conversation:
        """Conversation number `index`, from 0 on without end."""
        while index >= len(self._sources):  # the sources of a thousand samples at a time
            rng = np.random.default_rng([self.seed, len(self._sources), 0])
            self._sources = np.concatenate([self._sources, rng.choice(len(self.sets), 1000, p=self.shares)])
        source = int(self._sources[index])
        before = int((self._sources[:index] == source).sum())
        known = self.sets[source]
        epoch, place = divmod(before, len(known))
        row = known[int(self._order(source, epoch)[place])]
        turns = tuple((question, answer) for question, answer in row["turns"])
        return Conversation(row["where"], tuple(row["pictures"]), row["clip"], turns)

    def _order(self, source: int, epoch: int) -> np.ndarray:
        """Order [n] of a source's conversations in an epoch; the last one of each source is kept, 8 bytes a row."""
        if source not in self._orders or self._orders[source][0] != epoch:
            rng = np.random.default_rng([self.seed, source, epoch, 1])
            self._orders[source] = epoch, rng.permutation(len(self.sets[source]))
        return self._orders[source][1]
