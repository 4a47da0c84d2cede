"""Readers of question benchmarks: VisA-D&R, MMAD, VANE-Bench and our own question sets, as pictures with turns."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assistant.errors import RecordError
from data.clips import Clip, clip_at
from data.readers import Row, folder_name, parse_json
from data.schema import Record

MARK = "<image>"
ANSWER_FIELDS = ("answers", "answer", "gt_answers", "reference_answers", "references", "conversations")
"""Names under which VisA-D&R's reference answers are looked for, in this order."""
COMPLEX = re.compile(
    r"\b(caus\w*|why|effect\w*|affect\w*|impact\w*|consequence\w*|lead to|result in|prevent\w*|should|recommend\w*|"
    r"action\w*|risk\w*|solution\w*|steps?|repair\w*|fix\w*|improve\w*|function\w*)\b",
    re.IGNORECASE,
)
"""A question about cause, effect or what to do; others are low-level, where a benchmark does not say which it is."""
LETTERS = "ABCDEFGH"
LIST = "questions.json"


@dataclass(frozen=True)
class Turn:
    """One question.

    Attributes:
        question: the text.
        answer: the reference answer, or the letter of the right option.
        kind: type of question: "low" or "complex" in VisA-D&R, the benchmark's own name elsewhere.
        options: (letter, text) of a multiple-choice question, else ().
    """

    question: str
    answer: str
    kind: str
    options: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Exam:
    """One picture or clip with the questions that are asked about it.

    Attributes:
        media: file of the picture, or a clip.
        label: 0 normal, 1 anomalous, None where the benchmark does not say.
        turns: in the order asked.
        history: whether each turn sees the earlier ones.
        references: normal pictures that the benchmark gives with it.
        field: name of the field that the reference answers were read from, "" where there is only one.
        record: the record a question was made from, for masks; None in foreign benchmarks.
    """

    media: Path | Clip
    dataset: str
    category: str
    label: int | None
    turns: tuple[Turn, ...]
    history: bool = False
    references: tuple[Path, ...] = ()
    field: str = ""
    record: Record | None = None


def read_visa_dr(path: Path) -> tuple[list[Record], list[Exam]]:
    """The detection records of `test_data.json` and the reasoning exams of `visa_dr.json` in VisA-D&R's folder.

    Pictures may lie relative to the folder or to a folder `VisA`, `visa`, `images` or `data` in it.

    Raises:
        RecordError: neither file, another shape, no reference answers under a known name, no such picture.
    """
    root = path.absolute()
    files = {name: root / name for name in ("test_data.json", "visa_dr.json")}
    if not any(file.is_file() for file in files.values()):
        raise RecordError(f"There is no test_data.json or visa_dr.json in {path}.", "Name the folder of VisA-D&R.")
    records, exams = [], []
    for place, row in _rows(files["test_data.json"]):
        label = _label(place, row.get("anomaly", row.get("label")))
        image = _image(place, row)
        records.append(
            Record(
                image=image, label=label, dataset="visa_dr", category=_category(image, root, row),
                defect="anomaly" if label else "good", split="test",
            )
        )  # fmt: skip
    for place, row in _rows(files["visa_dr.json"]):
        image = _image(place, row)
        field, turns = _reasoning(place, row)
        exams.append(Exam(image, "visa_dr", _category(image, root, row), 1, turns, history=True, field=field))
    return records, exams


def read_mmad(path: Path) -> Iterator[Exam]:
    """Exams of MMAD: `mmad.json` {picture: {conversation: [{Question, Options, Answer, type}], templates...}}.

    Templates (`similar_templates`, else `random_templates`) become the references of 1-shot runs. The label follows
    from the right answer to the "Anomaly Detection" question.

    Raises:
        RecordError: no such file, another shape, a question without options or whose answer is none of them.
    """
    file = path / "mmad.json" if path.is_dir() else path
    if not file.is_file():
        raise RecordError(f"There is no mmad.json at {path}.")
    root = file.absolute().parent
    values = parse_json(file.read_bytes(), file.name)
    rows = values.items() if isinstance(values, dict) else enumerate(values) if isinstance(values, list) else None
    if rows is None:
        raise RecordError(f"{file.name}: not an object with one entry a picture.")
    for name, row in rows:
        place = Row(f"{file.name} {name}", root)
        if isinstance(row, list):
            row = {"conversation": row}
        if not isinstance(row, dict):
            raise place.bad("not a JSON object")
        source = name if isinstance(name, str) else row.get("image_path", row.get("image"))
        image = place.picture(source)
        said = [key for key in row if key.startswith("conversation")]  # the keys go on in several ways
        turns = tuple(_choice(place, turn) for turn in _list(place, row, *(said or ("conversation", "questions"))))
        templates = row.get("similar_templates") or row.get("random_templates") or []
        parts = Path(str(source)).parts
        yield Exam(
            image, parts[0] if len(parts) > 2 else "mmad", parts[1] if len(parts) > 2 else parts[0],
            _label_of(turns), turns, references=tuple(place.picture(template) for template in templates),
        )  # fmt: skip


def read_vane(path: Path) -> Iterator[Exam]:
    """Exams of VANE-Bench: any JSON list in the folder whose rows name a clip and a four-choice question.

    A clip is a folder of frames or a video file, named under `video`, `video_name`, `clip` or `image`; the category is
    the name of the file's folder or of the file.

    Raises:
        RecordError: no JSON file, a row without clip or question, an answer that is none of the options.
    """
    files = [path] if path.is_file() else sorted(path.rglob("*.json"))
    if not files:
        raise RecordError(f"There is no JSON file with questions in {path}.")
    for file in files:
        for place, row in _rows(file):
            name = next((row[key] for key in ("video", "video_name", "clip", "image") if key in row), None)
            clip = clip_at(place, name, roots=(file.absolute().parent, path.absolute()))
            listed = row.get("questions") or row.get("qa") or row.get("QA") or [row]
            turns = tuple(_choice(place, turn) for turn in listed)
            category = file.parent.name if file.parent != path else file.stem
            yield Exam(clip, "vane", str(row.get("category", category)), None, turns)


def read_own(path: Path) -> Iterator[Exam]:
    """Exams of `python -m data.build questions`: its folder, whose `questions.json` names pictures of a set on disk.

    Raises:
        RecordError: no such file, another shape, no such picture or mask.
    """
    file = path / LIST if path.is_dir() else path
    if not file.is_file():
        raise RecordError(f"There are no questions at {path}.", "Make them with: python -m data.build questions")
    values = parse_json(file.read_bytes(), file.name)
    if not isinstance(values, dict) or not isinstance(values.get("root"), str):
        raise RecordError(f"{file.name}: not an object with root and rows.")
    root = (file.absolute().parent / values["root"]).resolve()
    for number, row in enumerate(values.get("rows") or ()):
        place = Row(f"{file.name} rows[{number}]", root)
        if not isinstance(row, dict):
            raise place.bad("not a JSON object")
        try:
            record = Record(
                image=place.picture(row["image"]), label=_label(place, row["label"]), dataset=str(row["dataset"]),
                category=str(row["category"]), defect=str(row["defect"]), split=row.get("split", "val"),
                mask=place.mask(row["mask"]) if row.get("mask") else None,
                boxes=tuple((int(a), int(b), int(c), int(d), str(kind)) for a, b, c, d, kind in row.get("boxes", ())),
            )  # fmt: skip
            turns = tuple(Turn(str(t["question"]), str(t["answer"]), str(t["kind"])) for t in row["turns"])
        except KeyError as error:
            raise place.bad(f"the key {error} is missing") from None
        except (TypeError, ValueError):
            raise place.bad("a value has the wrong type") from None
        yield Exam(record.image, record.dataset, record.category, record.label, turns, history=True, record=record)


def _rows(file: Path) -> Iterator[tuple[Row, dict[str, Any]]]:
    if not file.is_file():
        return
    rows = parse_json(file.read_bytes(), file.name)
    if isinstance(rows, dict):  # {name: row} as well as a list of rows
        rows = [{"image": name} | row if isinstance(row, dict) else row for name, row in rows.items()]
    if not isinstance(rows, list):
        raise RecordError(f"{file.name}: not a list of rows.")
    for number, row in enumerate(rows):
        place = Row(f"{file.name} [{number}]", file.absolute().parent)
        if not isinstance(row, dict):
            raise place.bad("not a JSON object")
        yield place, row


def _image(place: Row, row: dict[str, Any]) -> Path:
    name = row.get("image", row.get("image_path"))
    failure = None
    for folder in ("", "VisA", "visa", "images", "data"):
        try:
            return Row(place.where, place.root / folder).picture(name)
        except RecordError as error:
            failure = failure or error
    raise failure or place.bad("there is no picture")


def _label(place: Row, value: object) -> int:
    known = {0: 0, 1: 1, "0": 0, "1": 1, "normal": 0, "good": 0, "anomaly": 1, "anomalous": 1, "yes": 1, "no": 0}
    key = value.lower() if isinstance(value, str) else value
    if not isinstance(key, (str, int)) or key not in known:
        raise place.bad(f"the label is {value!r}, not 0 or 1")
    return known[key]


def _category(image: Path, root: Path, row: dict[str, Any]) -> str:
    for key in ("category", "class", "cls_name", "object"):
        if isinstance(row.get(key), str):
            return row[key]
    parts = [part for part in image.relative_to(root).parts[:-1] if part not in ("VisA", "visa", "images", "data")]
    return parts[0] if parts else folder_name(root)


def _reasoning(place: Row, row: dict[str, Any]) -> tuple[str, tuple[Turn, ...]]:
    """The field of the reference answers, and the turns."""
    field = next((name for name in ANSWER_FIELDS if row.get(name)), None)
    asked = row.get("questions") or row.get("question")
    kinds = row.get("types") or row.get("levels") or ()
    if field == "conversations":
        said = [str(turn.get("value", "")).replace(MARK, "").strip() for turn in row[field] if isinstance(turn, dict)]
        pairs = list(zip(said[::2], said[1::2], strict=len(said) % 2 == 0))
    elif field and isinstance(row[field], list) and isinstance(asked, list):
        if len(asked) != len(row[field]):
            raise place.bad(f"there are {len(asked)} questions and {len(row[field])} {field}")
        pairs = [(_text(question), str(answer)) for question, answer in zip(asked, row[field], strict=True)]
    elif field and isinstance(asked, str):
        pairs = [(asked, str(row[field]))]
    elif isinstance(asked, list) and asked and all(isinstance(turn, dict) for turn in asked):
        named = next((name for name in ("answer", "reference", "gt_answer", "response") if name in asked[0]), None)
        if named is None:
            raise place.bad("the questions have no reference answers")
        field = f"questions.{named}"
        pairs = [(_text(turn), str(turn.get(named, ""))) for turn in asked]
        kinds = [turn.get("type", turn.get("level", "")) for turn in asked]
    else:
        raise place.bad(f"there are no reference answers (looked for {', '.join(ANSWER_FIELDS)})")
    turns = []
    for number, (question, answer) in enumerate(pairs):
        stated = str(kinds[number]).lower() if number < len(kinds) else ""
        complex_ = "complex" in stated or ("low" not in stated and bool(COMPLEX.search(question)))
        turns.append(Turn(question.replace(MARK, "").strip(), answer, "complex" if complex_ else "low"))
    return str(field), tuple(turns)


def _text(question: object) -> str:
    if isinstance(question, dict):
        question = question.get("question", question.get("value", ""))
    return str(question)


def _list(place: Row, row: dict[str, Any], *names: str) -> list[Any]:
    value = next((row[name] for name in names if name in row), None)
    if not isinstance(value, list) or not value:
        raise place.bad(f"there is no list {names[0]}")
    return value


def _choice(place: Row, row: object) -> Turn:
    """One multiple-choice question: options as {letter: text}, as a list, or as lines of the question."""
    if not isinstance(row, dict):
        raise place.bad("a question is not a JSON object")
    low = {str(key).lower(): value for key, value in row.items()}
    question = str(low.get("question", low.get("q", ""))).strip()
    options = low.get("options", low.get("choices"))
    if isinstance(options, dict):
        pairs = tuple((str(letter).strip()[:1].upper(), str(text)) for letter, text in options.items())
    elif isinstance(options, list):
        found = [re.match(r"\s*\(?([A-H])[).:]\s*(.*)", str(text), re.DOTALL) for text in options]
        pairs = tuple(
            (match[1], match[2].strip()) if match else (LETTERS[n], str(options[n]))
            for n, match in enumerate(found[: len(LETTERS)])
        )
    else:
        found = re.findall(r"\(?\b([A-H])[).:]\s*(.+?)(?=\s*\(?\b[A-H][).:]\s|\Z)", question, re.DOTALL)
        pairs = tuple((letter, text.strip(" ,;\n")) for letter, text in found)
        question = re.split(r"\s*\(?\bA[).:]\s", question, maxsplit=1)[0].strip()
    if not question or len(pairs) < 2:
        raise place.bad("a question without text or options")
    stated = str(low.get("answer", low.get("a", low.get("correct_answer", "")))).strip()
    match = re.match(r"\(?([A-H])\b", stated)
    letter = match[1] if match else next((key for key, text in pairs if text.strip() == stated), "")
    if letter not in dict(pairs):
        raise place.bad(f"the answer {stated!r} is none of the options")
    return Turn(question, letter, str(low.get("type", low.get("question_type", "question"))), pairs)


def _label_of(turns: tuple[Turn, ...]) -> int | None:
    """Of the yes/no question: the right option's text begins with yes for an anomalous picture."""
    for turn in turns:
        if "detection" in turn.kind.lower():
            right = dict(turn.options)[turn.answer].lower()
            return int(right.startswith("yes")) if right.startswith(("yes", "no")) else None
    return None
