"""The page's folder over HTTP with the real model: a list, its files, refusals, and a chat that goes on meanwhile."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest
from gradio_client import handle_file

from folder_tab import HEADERS
from tests.test_app import TAG, Served, chat, end, raw, served, words  # noqa: F401
from tests.test_batch import draw

pytestmark = [pytest.mark.usefixtures("short_answers"), pytest.mark.filterwarnings("ignore")]


def test_pictures_and_a_zip_become_one_list(served: Served, tmp_path: Path) -> None:  # noqa: F811
    folder = draw(tmp_path / "parts", 5, odd=2)
    with zipfile.ZipFile(tmp_path / "more.zip", "w") as archive:
        archive.write(folder / "part4.png", "../<b>in.png")
        archive.writestr("torn.png", b"\x89PNG\r\n\x1a\n")
    uploads = [handle_file(file) for file in (*sorted(folder.glob("part[0-3].png")), tmp_path / "more.zip")]
    job = served.client().submit(uploads, api_name="/folder")
    assert len(chat(served.client(), "Hello.")) == 2  # the model is not kept from conversations
    status, rows, reports, title, overlay, _ = end(job)
    assert "6 pictures:" in status and "1 could not be read" in status
    cells = rows["value"] if "value" in rows else rows
    files = [row[HEADERS.index("File")] for row in cells["data"]]
    assert sorted(files) == sorted([*(f"part{n}.png" for n in range(4)), "<b>in.png", "torn.png"])
    assert files[-1] == "torn.png" and files[0] in str(title).replace("&lt;b&gt;", "<b>") and overlay
    made = [Path(item if isinstance(item, str) else item["path"]) for item in reports.get("value", reports)]
    report = json.loads(next(file for file in made if file.suffix == ".json").read_text(encoding="utf-8"))
    assert [row["file"] for row in report["rows"]] == files


def test_no_files_and_foreign_files_are_sentences(served: Served) -> None:  # noqa: F811
    import app as page_module

    assert "Drop pictures or a zip first" in raw(served.url, "folder", None)
    assert page_module.REFUSED in raw(served.url, "folder", [{"path": "/etc/passwd", "meta": TAG}])
