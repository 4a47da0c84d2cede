"""The list as files: complete, harmless to spreadsheets and browsers, and in need of nothing beside it."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from assistant.__main__ import app
from assistant.batch import Batch, run_batch
from assistant.batch_report import COLUMNS, harmless, summary, to_csv, to_html, to_json, write_reports
from assistant.entries import list_entries
from tests.test_batch import Counting, draw


@pytest.fixture(scope="module")
def batch(tmp_path_factory: pytest.TempPathFactory) -> Batch:
    folder = draw(tmp_path_factory.mktemp("parts") / "parts", 5)
    (folder / "part0.png").rename(folder / '=HYPERLINK("http:x").png')
    (folder / "part1.png").rename(folder / "<script>alert(1)<script>.png")
    (folder / "-torn.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    return run_batch(list_entries(folder)[0], tmp_path_factory.mktemp("run"), "embedded", Counting())


def test_no_cell_of_the_csv_is_a_formula(batch: Batch) -> None:
    header, *lines = csv.reader(io.StringIO(to_csv(batch)))
    assert tuple(header) == COLUMNS and len(lines) == 6 and {len(line) for line in lines} == {len(COLUMNS)}
    texts = [COLUMNS.index(name) for name in ("file", "kinds", "warnings", "problem")]
    assert not [line for line in lines for at in texts if line[at].startswith(("=", "+", "-", "@"))]
    assert any(line[1].startswith("'=HYPERLINK") for line in lines) and any(line[1] == "'-torn.png" for line in lines)


@pytest.mark.parametrize("text", ["=1", "+1", "-1", "@a", "\t=1", "\r=1", "\n=1", "\u200b=1", " =1"])
def test_formulas_become_text(text: str) -> None:
    assert harmless(text).startswith("'") and "\n" not in harmless(text)


def test_plain_names_stay(batch: Batch) -> None:
    assert harmless("part 3-a.png") == "part 3-a.png"


def test_json_has_every_row(batch: Batch) -> None:
    report = json.loads(to_json(batch))
    assert report["pictures"] == 6 and report["not_read"] == 1
    assert [row["rank"] for row in report["rows"]] == [1, 2, 3, 4, 5, 0]
    assert report["rows"][-1]["problem"] and report["rows"][-1]["suspicion"] is None
    thresholds = [row["threshold"] for row in report["rows"][:-1]]
    assert report["rows"][-1]["threshold"] is None and len(set(thresholds)) == 1
    assert f"over the threshold {thresholds[0]:.2f}," in summary(batch)
    known = replace(batch, rows=(replace(batch.rows[0], threshold=0.75), *batch.rows[1:]))
    assert f"over the threshold {thresholds[0]:.2f} to 0.75," in summary(known)
    assert summary(batch).startswith("6 pictures:") and "1 could not be read" in summary(batch)


def test_the_page_asks_nobody_for_anything_and_runs_nothing(batch: Batch) -> None:
    page = to_html(batch)
    assert "<script" not in page and "&lt;script&gt;" in page
    sources = re.findall(r"""(?:src|href|url)\s*[=(]\s*["']?([^"'\s>)]+)""", page)
    assert sources and all(source.startswith(("data:image/jpeg;base64,", "#")) for source in sources)
    assert "default-src 'none'" in page and page.count("data:image/jpeg") == 10


def test_files_are_written_whole(batch: Batch, tmp_path: Path) -> None:
    files = write_reports(batch, tmp_path)
    assert [file.name for file in files] == ["report.csv", "report.json", "report.html"]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["report.csv", "report.html", "report.json"]


def test_the_command_prints_json_or_a_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("assistant.load", lambda profile: Counting().inspector)
    folder = draw(tmp_path / "parts", 4)
    (folder / "text.jpg").write_text("not a picture")
    arguments = [str(folder), "--batch", "--out", str(tmp_path / "run")]
    done = CliRunner().invoke(app, [*arguments, "--json"])
    assert done.exit_code == 0 and len(json.loads(done.stdout)["rows"]) == 5
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0 and "5 pictures:" in done.stdout and (tmp_path / "run" / "report.html").is_file()
    for wrong, sentence in (
        ([str(tmp_path / "none"), "--batch"], "There is no file 'none'."),
        ([str(folder), "--batch", "--ask", "why?"], "not for --batch"),
        ([str(folder), "--batch", "--out", str(folder / "part1.png")], "--out is a file"),
        ([str(folder), "--batch", "--profile", "nobody"], "no profile 'nobody'"),
    ):
        done = CliRunner().invoke(app, wrong)
        assert done.exit_code == 2 and sentence in " ".join(done.stderr.split()), wrong
