"""Figures of unlabelled batches from a manifest, with tiny weights; a second start looks at nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sklearn.metrics import roc_auc_score

from assistant.batch import run_batch
from assistant.entries import Entry
from data.readers import read_manifest
from eval.batch import COLUMNS, figures, grouped, measure
from tests.test_batch import Counting, draw


@pytest.fixture
def data(tmp_path: Path) -> Path:
    draw(tmp_path / "parts", 10, odd=4)
    rows = [
        {"image": f"parts/part{n}.png", "dataset": "s", "category": "c", "label": int(n == 4), "fold": "val"}
        for n in range(10)
    ]
    (tmp_path / "manifest.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    return tmp_path


def test_figures_are_scikit_learns_and_a_second_run_looks_at_nothing(data: Path) -> None:
    records, engine = list(read_manifest(data)), Counting()
    result = measure(records, data / "run", "embedded", engine)
    found = result["s"]["categories"]["c"]
    assert (found["pictures"], found["anomalous"], engine.seen) == (10, 1, 10)
    assert found["mutual"] == 1.0  # the one with the square
    entries = [Entry(f"{number:05d}", record.image) for number, record in enumerate(records)]
    batch = run_batch(entries, data / "run" / "s" / "c", "embedded", engine)
    assert engine.seen == 10
    truth = [int(row.name == "00004") for row in batch.rows]
    for name, field in COLUMNS.items():
        assert found[name] == pytest.approx(roc_auc_score(truth, [getattr(row, field) for row in batch.rows]))
        assert result["s"][name] == found[name]


def test_one_label_gives_no_figure_and_the_limit_is_drawn(data: Path) -> None:
    records, engine = list(read_manifest(data)), Counting()
    normal = [record for record in records if record.label == 0]
    assert measure(normal, data / "run", "embedded", engine) == {} and engine.seen == 0
    drawn = [group["c"] for group in (grouped(records, 6, 0)["s"], grouped(records, 6, 0)["s"])]
    assert len(drawn[0]) == 6 and drawn[0] == drawn[1]
    entries = [Entry("a", normal[0].image)]
    assert figures(run_batch(entries, data / "one", "embedded", engine), {"a": 0}) == {}
