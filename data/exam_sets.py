"""Question sets of our own: from the masks and types of any set, and a drawn look-alike of VisA-D&R's folders."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from assistant.knowledge import canonical, kind_of
from assistant.prompts import DEFAULT_QUESTION, percent, size_word
from assistant.regions import cells_of
from data.exams import LIST
from data.instruct import Facts, ask
from data.products import draw_product
from data.schema import Record
from data.synth import draw_defect

WHERE, KIND, SIZE = "Where is it?", "What kind of defect is it?", "How large is it?"
ALIKE = ("gear", "nut", "plate")
"""Products of the look-alike, its classes."""


def turns_of(record: Record) -> list[dict[str, str]]:
    """What a record allows to be asked: {"question", "answer", "kind"}; normal pictures are asked where it is too.

    Kinds are verdict, where, kind and size. The last three follow from mask or boxes and from a known defect type;
    the answer to where lists every place word that would be right, with commas.
    """
    turns = [_turn(DEFAULT_QUESTION, "Yes" if record.label else "No", "verdict")]
    if not record.label:
        return [*turns, _turn(WHERE, "nowhere", "where")]
    mask = record.read_mask() if record.supervision == "mask" else None
    if mask is not None and mask.any():
        turns.append(_turn(WHERE, ", ".join(sorted(cells_of(mask))), "where"))
    if name := canonical(record.defect):
        turns.append(_turn(KIND, name, "kind"))
    if mask is not None and mask.any():
        turns.append(_turn(SIZE, size_word(float(mask.mean())), "size"))
    return turns


def write_questions(out: Path, records: Sequence[Record], root: Path) -> int:
    """Writes questions.json, which names the pictures where they lie; returns the number of questions."""
    root = root.resolve()
    rows = []
    for record in records:
        row: dict[str, Any] = {
            "image": os.path.relpath(record.image.resolve(), root), "dataset": record.dataset,
            "category": record.category, "label": record.label, "defect": record.defect, "split": record.split,
            "turns": turns_of(record),
        }  # fmt: skip
        if record.mask is not None:
            row["mask"] = os.path.relpath(record.mask.resolve(), root)
        if record.boxes:
            row["boxes"] = [list(box) for box in record.boxes]
        rows.append(row)
    values = {"root": os.path.relpath(root, out.resolve()), "rows": rows}
    (out / LIST).write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
    return sum(len(row["turns"]) for row in rows)


def write_visa_dr(out: Path, count: int, side: int, seed: int) -> None:
    """A small set in VisA-D&R's layout, drawn: test_data.json, visa_dr.json and pictures as VisA has them.

    Args:
        count: pictures of each of the classes ALIKE, every second one with a drawn defect.
        side: of a picture, pixels.
    """
    detection, reasoning = [], []
    for number in range(count * len(ALIKE)):
        rng = np.random.default_rng([seed, number])
        name, defective = ALIKE[number % len(ALIKE)], bool((number // len(ALIKE)) % 2)
        pixels = draw_product(rng, (side, side), name=name)
        image = f"{name}/Data/Images/{'Anomaly' if defective else 'Normal'}/{number:04d}.png"
        if defective:
            drawn = draw_defect(pixels, rng, strength=0.9, count=1)
            pixels = drawn.image
            facts = _facts(drawn.image, drawn.mask > 0, drawn.kind)
            place = facts.regions[0].place if facts.regions else "centre"
            asked = [ask(topic, facts, rng) for topic in ("cause", "effect", "action")]
            looks = (
                f"There is {kind_of(drawn.kind).noun} in the {place}. It covers "
                f"{percent(float((drawn.mask > 0).mean()))} of the picture."
            )
            turns = [("What does the defect look like, and where is it?", looks), *asked]
            reasoning.append(
                {
                    "image": image, "questions": [question for question, _ in turns],
                    "answers": [answer for _, answer in turns], "types": ["low", *["complex"] * len(asked)],
                }
            )  # fmt: skip
        (out / image).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(out / image)
        detection.append({"image": image, "anomaly": int(defective)})
    for name, rows in (("test_data.json", detection), ("visa_dr.json", reasoning)):
        (out / name).write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def _facts(pixels: np.ndarray, mask: np.ndarray, kind: str) -> Facts:
    from assistant.regions import find_regions

    regions = find_regions(mask.astype(np.float32), pixels, 0.5, (pixels.shape[1], pixels.shape[0]))
    return Facts(1, tuple(sorted(regions, key=lambda region: -region.area)), kind_of(kind))


def _turn(question: str, answer: str, kind: str) -> dict[str, str]:
    return {"question": question, "answer": answer, "kind": kind}
