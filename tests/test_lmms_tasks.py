"""The tasks for lmms-eval: their YAML names functions that are there, and these give documents, prompts and figures."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from assistant.errors import RecordError
from data.exam_sets import write_visa_dr
from eval.choices import YES_NO

FOLDER = Path(__file__).parents[1] / "eval" / "lmms_tasks"
spec = importlib.util.spec_from_file_location("lmms_tasks_utils", FOLDER / "utils.py")
utils = importlib.util.module_from_spec(spec)
spec.loader.exec_module(utils)  # as the harness does it


class Loader(yaml.SafeLoader):
    """Reads `!function utils.name` as the function."""


def function(loader, node):
    module, name = loader.construct_scalar(node).split(".")
    assert module == "utils"
    return getattr(utils, name)


Loader.add_constructor("!function", function)


def task(name):
    """A task's settings with what it includes."""
    values = yaml.load((FOLDER / name).read_text(encoding="utf-8"), Loader)  # noqa: S506  a SafeLoader
    return (task(values.pop("include")) if "include" in values else {}) | values


def scored(settings, said):
    """{metric: value} of a task whose every document is answered by `said`."""
    results = [
        settings["process_results"](doc, [said(doc)]) for doc in settings["process_docs"](None)
    ]  # fmt: skip
    names = [metric["metric"] for metric in settings["metric_list"]]
    assert all(set(result) == set(names) for result in results)
    return {m["metric"]: m["aggregation"]([result[m["metric"]] for result in results]) for m in settings["metric_list"]}


def test_every_task_is_whole():
    files = sorted(file.name for file in FOLDER.glob("*.yaml"))
    assert files == ["mmad.yaml", "mmad_1shot.yaml", "visa_dr_detection.yaml", "visa_dr_reasoning.yaml"]
    for name in files:
        settings = task(name)
        assert settings["task"] == name.removesuffix(".yaml") and settings["output_type"] == "generate_until"
        assert (FOLDER / settings["dataset_kwargs"]["data_files"]["test"]).is_file()


def test_visa_dr_is_asked_and_scored(tmp_path, monkeypatch):
    write_visa_dr(tmp_path, 2, 96, seed=0)
    monkeypatch.setenv(utils.VISA_DR, str(tmp_path))
    detection = task("visa_dr_detection.yaml")
    docs = detection["process_docs"](None)
    assert len(docs) == 6 and detection["doc_to_text"](docs[0]) == YES_NO
    assert detection["doc_to_visual"](docs[0])[0].size == (96, 96)
    assert set(scored(detection, lambda doc: f"{doc['answer']}.").values()) == {1.0}
    yes = scored(detection, lambda doc: "Yes.")
    assert (yes["macro_accuracy"], yes["macro_precision"], yes["macro_recall"]) == (0.5, 0.5, 1.0)
    reasoning = task("visa_dr_reasoning.yaml")
    kinds = {doc["kind"] for doc in reasoning["process_docs"](None)}
    assert kinds == {"low", "complex"} and reasoning["doc_to_text"]({"question": "Why?"}) == "Why?"
    assert list(scored(reasoning, lambda doc: doc["answer"]).values()) == [pytest.approx(1.0)] * 2
    assert scored(reasoning, lambda doc: doc["answer"] if doc["kind"] == "low" else "")["complex_rouge_l"] == 0


def test_mmad_is_asked_and_scored(tmp_path, monkeypatch):
    rows = {}
    for number, answer in enumerate("AAAB"):
        name = f"DS-MVTec/bottle/image/{number}.png"
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8, 3), number, np.uint8)).save(tmp_path / name)
        seen = {"Question": "Is there a defect?", "Options": {"A": "Yes.", "B": "No."}, "Answer": answer}
        part = {"Question": "What is it?", "Options": {"A": "A nut", "B": "A bottle"}, "Answer": "B"}
        said = [seen | {"type": "Anomaly Detection"}, part | {"type": "Object Details"}]
        rows[name] = {"conversation_2": said, "random_templates": ["DS-MVTec/bottle/image/3.png"]}
    (tmp_path / "mmad.json").write_text(json.dumps(rows))
    monkeypatch.setenv(utils.MMAD, str(tmp_path))
    alone, shot = task("mmad.yaml"), task("mmad_1shot.yaml")
    docs = shot["process_docs"](None)
    assert len(docs) == 8 and len(alone["process_docs"](None)[0]["images"]) == 1
    assert [np.asarray(image)[0, 0, 0] for image in shot["doc_to_visual"](docs[0])] == [3, 0]
    asked = shot["doc_to_text"](docs[0])
    assert asked.startswith(utils.TEMPLATE) and "B. No." in asked
    found = scored(alone, lambda doc: "A" if doc["kind"] == "Anomaly Detection" else "Who knows.")
    assert found["anomaly_detection"] == 0.5  # 3 of 3 and 0 of 1
    assert found["object_analysis"] == 0 and found["unparsed"] == 0.5 and found["defect_analysis"] is None
    assert scored(alone, lambda doc: f"{doc['answer']}.")["average"] == 1


def test_a_folder_that_is_not_named_is_said(monkeypatch):
    monkeypatch.delenv(utils.MMAD, raising=False)
    with pytest.raises(RecordError, match="names no folder"):
        utils.mmad_docs(None)
