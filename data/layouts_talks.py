"""LLaVA conversation JSON, read and made: pictures that somebody has already talked about."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from assistant.errors import RecordError
from assistant.prompts import says_yes
from data.readers import Row, folder_name, parse_json, split_of
from data.schema import Record, Split

MARK = "<image>"
"""Where the picture stands in the first question."""
ROLES = ("human", "gpt")


@dataclass(frozen=True)
class Talk:
    """One conversation about one picture.

    Attributes:
        image: file of the picture.
        turns: (question, answer) pairs without the picture's mark.
        identifier: the row's `id`, or its number.
        dataset: name of the folder that holds the file.
        split: "fit" or "calibrate", or "test" for sets that are only ever evaluated on.
    """

    image: Path
    turns: tuple[tuple[str, str], ...]
    identifier: str
    dataset: str
    split: Split = "fit"

    @property
    def label(self) -> int | None:
        """1 or 0 when the first answer begins with yes or no (to a question about defects), else None."""
        said = says_yes(self.turns[0][1])
        return None if said is None else int(said)


def read_talks(path: Path, root: Path | None = None) -> Iterator[Talk]:
    """Conversations of a file that is a list of {id, image, conversations: [{from: human | gpt, value}]}.

    Args:
        path: the file, or a folder with `conversations.json`.
        root: folder of the pictures; the file's own when None.

    Raises:
        RecordError: no such file, not JSON, another shape, not one picture, turns that do not take turns, an empty
            turn, a picture that does not exist or lies outside the folder; it names the key path.
    """
    for _, talk in _talks(path, root):
        yield talk


def read_llava(path: Path) -> Iterator[Record]:
    """Records of LLaVA conversation JSON; the label is the yes or no that the first answer begins with.

    Raises:
        RecordError: as `read_talks`, and for a first answer that begins with neither.
    """
    for place, talk in _talks(path, None):
        if talk.label is None:
            raise place.bad("the first answer begins with neither yes nor no, so the picture has no label")
        yield Record(
            image=talk.image, label=talk.label, dataset=talk.dataset, category=talk.dataset, split=talk.split,
            defect="anomaly" if talk.label else "good",
        )  # fmt: skip


def _talks(path: Path, root: Path | None) -> Iterator[tuple[Row, Talk]]:
    file = path / "conversations.json" if path.is_dir() else path
    if not file.is_file():
        raise RecordError(f"There are no conversations at {path}.")
    root = (root or file.parent).absolute()
    rows = parse_json(file.read_bytes(), file.name)
    if not isinstance(rows, list):
        raise RecordError(f"{file.name}: not a list of conversations.")
    dataset = folder_name(file.parent)
    for number, row in enumerate(rows):
        place = Row(f"{file.name} [{number}]", root)
        if not isinstance(row, dict):
            raise place.bad("not a JSON object")
        for key in ("image", "conversations"):
            if key not in row:
                raise place.bad(f"the key {key!r} is missing")
        names = row["image"] if isinstance(row["image"], list) else [row["image"]]
        if len(names) != 1:
            raise place.bad(f"there are {len(names)} pictures, not one")
        image, turns = place.picture(names[0]), _turns(place, row["conversations"])
        # talks of normals and of defects of one part must be held out together: their label is not always known
        split = split_of("train", dataset, dataset, 0, image, root, number)
        yield place, Talk(image, turns, str(row.get("id", number)), dataset, split)


def _turns(place: Row, said: object) -> tuple[tuple[str, str], ...]:
    """(question, answer) pairs of the row's list."""
    if not isinstance(said, list) or len(said) < 2 or len(said) % 2:
        raise place.bad("conversations is not a list of questions and answers")
    values = []
    for number, turn in enumerate(said):
        if not isinstance(turn, dict) or turn.get("from") != ROLES[number % 2]:
            raise place.bad(f"conversations[{number}] is not from {ROLES[number % 2]}")
        value = turn.get("value")
        value = value.replace(MARK, "", 1 if number == 0 else 0).strip() if isinstance(value, str) else ""
        if not value:
            raise place.bad(f"conversations[{number}] has no words")
        if MARK in value:
            raise place.bad(f"conversations[{number}] has a further {MARK}, and there is one picture")
        values.append(value)
    return tuple(zip(values[::2], values[1::2], strict=True))


def llava(identifier: str, image: str, turns: Sequence[tuple[str, str]]) -> dict[str, object]:
    """LLaVA conversation JSON: {"id", "image", "conversations": [{"from": "human" | "gpt", "value"}]}."""
    values = []
    for index, (question, answer) in enumerate(turns):
        values.append({"from": ROLES[0], "value": f"{MARK}\n{question}" if index == 0 else question})
        values.append({"from": ROLES[1], "value": answer})
    return {"id": identifier, "image": image, "conversations": values}
