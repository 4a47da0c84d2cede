"""Corrections: kept with consent only, whole or not at all, and exported as records that the readers take."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from assistant import corrections as module
from assistant.corrections import CONSENT, Correction, CorrectionStore
from assistant.errors import CorrectionError, WeightsError
from assistant.exchange import Exchange
from assistant.profiles import read_profile
from assistant.types import Finding, Look
from assistant.versions import FACTS_FILE, SHIPPED, current, joined, resolved, use, version_folder, versions
from data.feedback import app, write_export
from data.layouts_talks import read_talks
from data.readers import read_manifest
from panels.correct import correction_of, drawn_mask

PICTURE = np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8)
HOSTILE = "../../x.png'); DROP TABLE correction; -- <script>"


def marked() -> np.ndarray:
    mask = np.zeros((40, 60), bool)
    mask[5:15, 20:30] = True
    return mask


@pytest.fixture
def store(tmp_path: Path) -> CorrectionStore:
    return CorrectionStore(tmp_path / "deep" / "corrections.sqlite")


def test_what_is_kept_comes_back(store: CorrectionStore) -> None:
    given = Correction(
        "missed", PICTURE, marked(), HOSTILE, HOSTILE, "Why?", "No.", "", "normal", 0.2, 0.5, "embedded@1"
    )
    assert store.add(given, consent=True) == 1
    (kept,) = store.read()
    assert np.array_equal(kept.picture, PICTURE) and np.array_equal(kept.mask, marked()) and kept.made
    for name in ("kind", "name", "product", "question", "answer", "verdict", "score", "threshold", "profile"):
        assert getattr(kept, name) == getattr(given, name), name
    row = sqlite3.connect(store.file)
    assert row.execute("SELECT consent FROM correction").fetchone()[0] == CONSENT
    row.close()
    assert store.file.stat().st_mode & 0o077 == 0  # of this user alone


def test_without_consent_nothing_is_written(store: CorrectionStore) -> None:
    with pytest.raises(CorrectionError, match="consent"):
        store.add(Correction("normal", PICTURE), consent=False)
    assert not store.file.exists() and store.count() == 0 and list(store.read()) == []


@pytest.mark.parametrize(
    ("correction", "sentence"),
    [
        (Correction("missed", PICTURE, np.zeros((40, 60), bool)), "Nothing is marked"),
        (Correction("missed", PICTURE, np.ones((4, 6), bool)), "another size"),
        (Correction("words", PICTURE, words="  "), "no corrected words"),
        (Correction("words", PICTURE, answer="Yes.", words="Yes. "), "words are the ones"),
        (Correction("words", PICTURE, words="x" * 601), "more than 600"),
        (Correction("other", PICTURE), "no kind"),  # type: ignore[arg-type]
    ],
)
def test_what_says_nothing_is_refused(store: CorrectionStore, correction: Correction, sentence: str) -> None:
    with pytest.raises(CorrectionError, match=sentence):
        store.add(correction, consent=True)
    assert store.count() == 0


def test_a_full_store_and_a_damaged_file_are_sentences(
    store: CorrectionStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(module, "MAX_KEPT", 1)
    store.add(Correction("normal", PICTURE), consent=True)
    with pytest.raises(CorrectionError, match="kept already"):
        store.add(Correction("normal", PICTURE), consent=True)
    (tmp_path / "bad.sqlite").write_bytes(b"no database at all" * 100)
    with pytest.raises(CorrectionError, match="cannot be used"):
        CorrectionStore(tmp_path / "bad.sqlite").count()


def test_what_is_forgotten_is_gone_from_the_file(store: CorrectionStore) -> None:
    store.add(Correction("normal", PICTURE, name="walnut.png"), consent=True)
    store.add(Correction("normal", PICTURE), consent=True)
    assert store.forget([1, 9]) == 1 and [kept.number for kept in store.read()] == [2]
    assert b"walnut.png" not in store.file.read_bytes()


def test_the_export_is_read_by_the_readers_and_the_last_word_counts(store: CorrectionStore, tmp_path: Path) -> None:
    other = PICTURE[::-1].copy()
    store.add(Correction("normal", PICTURE), consent=True)
    store.add(Correction("missed", PICTURE, marked(), product="dial"), consent=True)  # said otherwise of the same one
    store.add(Correction("normal", other), consent=True)
    store.add(
        Correction("words", other, question="Where?", answer="Left.", words="There is <image> none."), consent=True
    )
    assert write_export(store, tmp_path / "out") == (2, 1)
    missed, normal = read_manifest(tmp_path / "out")
    assert (missed.label, missed.category, normal.label, normal.dataset) == (1, "dial", 0, "corrections")
    assert np.array_equal(missed.read_mask(), marked()) and np.array_equal(missed.read_image(), PICTURE)
    (talk,) = read_talks(tmp_path / "out")
    assert talk.turns[0][0] == "Where?" and talk.turns[0][1].endswith("none.")


def test_the_commands_list_export_and_forget(store: CorrectionStore, tmp_path: Path) -> None:
    store.add(Correction("missed", PICTURE, marked(), name=HOSTILE, verdict="normal"), consent=True)
    run, at = CliRunner(), ["--store", str(store.file)]
    assert "1.7 % marked" not in (listed := run.invoke(app, ["list", *at]).stdout) and "4.2 % marked" in listed
    assert "1 labelled pictures" in run.invoke(app, ["export", str(tmp_path / "out"), *at]).stdout
    assert "1 deleted" in run.invoke(app, ["forget", "1", *at]).stdout
    assert isinstance(run.invoke(app, ["export", str(tmp_path / "out"), *at]).exception, CorrectionError)


def test_only_the_drawing_counts_and_it_gets_the_size_of_the_picture() -> None:
    layer = np.zeros((80, 120, 4), np.uint8)
    layer[10:30, 40:60, 3] = 200
    mask = drawn_mask({"background": None, "layers": [layer], "composite": None}, (40, 60))
    assert np.array_equal(mask, marked())
    assert drawn_mask({"layers": [np.zeros((80, 120, 4), np.uint8)]}, (40, 60)) is None
    assert drawn_mask(None, (40, 60)) is None


def test_a_correction_is_about_the_picture_shown() -> None:
    look = Look((60, 40), 0.2, np.zeros((40, 60), np.float32), (), PICTURE, {}, name="part.png")
    finding = Finding("normal", 0.8, 0.2, 0.2, 0.5, "", (), "No.", profile="embedded@7")
    exchange = Exchange(1, "Is it?", answer="No.", look=look, finding=finding)
    made = correction_of(exchange, "words", None, " It is fine. ", " a\ndial ")
    assert (made.words, made.product, made.profile, made.verdict) == ("It is fine.", "a dial", "embedded@7", "normal")
    assert correction_of(exchange, "missed", None, "", "").mask is None  # that something is wrong is known all the same
    for shown, kind in ((None, "normal"), (exchange, None), (exchange, "drop")):
        with pytest.raises(CorrectionError):
            correction_of(shown, kind, None, "", "")


def test_versions_are_named_chosen_and_fall_back(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LOOKTWICE_DATA", str(tmp_path))
    assert versions("embedded") == (SHIPPED,) and resolved("embedded") == "embedded"
    folder = version_folder("embedded", "2026-01-01")
    folder.mkdir(parents=True)
    assert versions("embedded") == (SHIPPED,)  # not finished
    (folder / FACTS_FILE).write_text(json.dumps({"corrections": 3}))
    use("embedded", "2026-01-01")
    assert resolved("embedded") == "embedded@2026-01-01" == joined("embedded", current("embedded"))
    assert read_profile("embedded@2026-01-01").weights == folder
    assert read_profile("embedded").name == read_profile("embedded@shipped").name == "embedded"
    (folder / FACTS_FILE).unlink()
    assert current("embedded") == SHIPPED
    for bad in ("../x", "", "current", "a/b", "none"):
        with pytest.raises(WeightsError):
            use("embedded", bad)
    with pytest.raises(WeightsError, match="no weights"):
        read_profile("embedded@none")
