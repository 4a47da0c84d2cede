"""Documents, prompts and figures of VisA-D&R and MMAD for lmms-eval; prompts and figures are those of `eval.run`.

LOOKTWICE_VISA_DR=DIR LOOKTWICE_MMAD=DIR python -m lmms_eval --include_path eval/lmms_tasks --tasks mmad,visa_dr ...

Started in the project's folder, so that the project's modules are found. The two variables name the official folders.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from datasets import Dataset
from PIL import Image

from assistant.errors import RecordError
from data.exams import read_mmad, read_visa_dr
from eval import exams
from eval.choices import YES_NO, choice_question, parsed_letter, verdict_in
from eval.text_metrics import rouge_l

Document = dict[str, Any]
VISA_DR, MMAD = "LOOKTWICE_VISA_DR", "LOOKTWICE_MMAD"
TEMPLATE = "The first picture is a normal sample of the product, the last one is asked about.\n"


def folder(variable: str) -> Path:
    """The folder that an environment variable names; raises RecordError when it names none."""
    name = os.environ.get(variable, "")
    if not Path(name or "-").is_dir():
        raise RecordError(f"{variable} names no folder.", f"Start with {variable}=DIR, DIR being the official folder.")
    return Path(name)


def visa_dr_detection_docs(_: object) -> Dataset:
    """One document a picture of test_data.json: {"images", "category", "label", "answer"}."""
    records, _ = read_visa_dr(folder(VISA_DR))
    return _dataset(
        {"images": [str(r.image)], "category": r.category, "label": r.label, "answer": "Yes" if r.label else "No"}
        for r in records
    )


def visa_dr_reasoning_docs(_: object) -> Dataset:
    """One document a question of visa_dr.json: {"images", "category", "kind", "question", "answer"}."""
    _, asked = read_visa_dr(folder(VISA_DR))
    return _dataset(
        {"images": [str(exam.media)], "category": exam.category, "kind": turn.kind, "question": turn.question,
         "answer": turn.answer}
        for exam in asked for turn in exam.turns
    )  # fmt: skip


def mmad_docs(_: object, shots: int = 0) -> Dataset:
    """One document a question of mmad.json: {"images", "dataset", "kind", "question", "letters", "options", "answer"}.

    Args:
        shots: how many of the benchmark's normal pictures stand before the picture.
    """
    return _dataset(
        {"images": [*map(str, exam.references[:shots]), str(exam.media)], "dataset": exam.dataset, "kind": turn.kind,
         "question": turn.question, "letters": [letter for letter, _ in turn.options],
         "options": [text for _, text in turn.options], "answer": turn.answer}
        for exam in read_mmad(folder(MMAD)) for turn in exam.turns
    )  # fmt: skip


def mmad_1shot_docs(_: object) -> Dataset:
    """As `mmad_docs` with one normal picture."""
    return mmad_docs(_, shots=1)


def _dataset(documents: Iterable[Document]) -> Dataset:
    return Dataset.from_list(list(documents))


def doc_to_visual(doc: Document) -> list[Image.Image]:
    """The pictures of a document, RGB; the one that is asked about is the last."""
    return [Image.open(file).convert("RGB") for file in doc["images"]]


def detection_to_text(doc: Document, lmms_eval_specific_kwargs: object = None) -> str:
    """VisA-D&R's own question."""
    return YES_NO


def question_to_text(doc: Document, lmms_eval_specific_kwargs: object = None) -> str:
    """The question as it is."""
    return doc["question"]


def choice_to_text(doc: Document, lmms_eval_specific_kwargs: object = None) -> str:
    """The question with its options, and which picture it is about."""
    before = TEMPLATE if len(doc["images"]) > 1 else ""
    return before + choice_question(doc["question"], _options(doc))


def _options(doc: Document) -> list[tuple[str, str]]:
    return list(zip(doc["letters"], doc["options"], strict=True))


def detection_results(doc: Document, results: Sequence[str]) -> dict[str, Document]:
    """Every detection metric gets the picture's row."""
    row = {"category": doc["category"], "label": doc["label"], "verdict": verdict_in(results[0])}
    names = (*(f"macro_{name}" for name in ("accuracy", "precision", "recall", "f1")), "micro_accuracy")
    return dict.fromkeys(names, row)


def _detection(rows: Sequence[Document], part: str, name: str) -> float:
    return exams.detection(rows)[part][name]


macro_accuracy = partial(_detection, part="macro", name="accuracy")
macro_precision = partial(_detection, part="macro", name="precision")
macro_recall = partial(_detection, part="macro", name="recall")
macro_f1 = partial(_detection, part="macro", name="f1")
micro_accuracy = partial(_detection, part="micro", name="accuracy")


def reasoning_results(doc: Document, results: Sequence[str]) -> dict[str, float | None]:
    """ROUGE-L under the question's kind."""
    value = rouge_l(doc["answer"], results[0])
    return {f"{kind}_rouge_l": value if doc["kind"] == kind else None for kind in ("low", "complex")}


def known_mean(values: Sequence[float | None]) -> float | None:
    """Mean of the values that are there; None without any."""
    return exams.mean(values)


def choice_results(doc: Document, results: Sequence[str]) -> dict[str, Document]:
    """Every metric gets the question's row, as `eval.exams.choices` takes it; the letter is read from the text."""
    letter = parsed_letter(results[0], _options(doc))
    turn = {"type": doc["kind"], "options": dict(_options(doc)), "reference": doc["answer"], "parsed": letter}
    row = {"dataset": doc["dataset"], "turns": [turn | {"likely": letter}]}
    return dict.fromkeys((*TYPES, "average", "unparsed"), row)


TYPES = (
    "anomaly_detection", "defect_classification", "defect_localization", "defect_description", "defect_analysis",
    "object_classification", "object_analysis",
)  # fmt: skip
"""Columns of MMAD's own table."""


def _share(rows: Sequence[Document], kind: str) -> float | None:
    types = exams.choices(rows)["types"]
    found = [figures["parsed"] for name, figures in types.items() if name.lower().replace(" ", "_") == kind]
    return exams.mean(found)


anomaly_detection = partial(_share, kind="anomaly_detection")
defect_classification = partial(_share, kind="defect_classification")
defect_localization = partial(_share, kind="defect_localization")
defect_description = partial(_share, kind="defect_description")
defect_analysis = partial(_share, kind="defect_analysis")
object_classification = partial(_share, kind="object_classification")
object_analysis = partial(_share, kind="object_analysis")


def average(rows: Sequence[Document]) -> float | None:
    """Mean of the types, as `eval.score` gives it."""
    return exams.choices(rows)["mean"]["parsed"]


def unparsed(rows: Sequence[Document]) -> float | None:
    """Share of answers that name no option, mean of the types."""
    return exams.choices(rows)["mean"]["unparsed"]
