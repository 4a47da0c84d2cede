"""Batches with the real classes at tiny size: order, broken files, copies, resuming, a kill in the middle."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from assistant.batch import Batch, PlainEngine, look_at, run_batch
from assistant.batch_store import Store
from assistant.calibration import Calibration
from assistant.entries import Entry, list_entries
from assistant.errors import LookTwiceError
from assistant.fusion import fuse_scores
from assistant.inspector import Inspector
from assistant.loading import Loaded
from tests.tiny import tiny_model

ROOT = Path(__file__).parent.parent


def tiny_inspector() -> Inspector:
    """The real inspector around tiny random weights."""
    model, processor = tiny_model()
    return Inspector("embedded", Loaded(model, processor, Calibration()))


def draw(folder: Path, count: int = 9, odd: int = 4) -> Path:
    """A folder of like textures with a black and white square on one."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        pixels = np.random.default_rng(number).normal(128, 12, (96, 96, 3)).clip(0, 255).astype(np.uint8)
        if number == odd:
            pixels[20:60, 30:70] = 255
            pixels[30:50, 40:60] = 0
        Image.fromarray(pixels).save(folder / f"part{number}.png")
    return folder


class Counting(PlainEngine):
    """The plain engine that counts what is really looked at."""

    def __init__(self) -> None:
        self.inspector = tiny_inspector()
        self.seen = 0
        look = self.inspector.look

        def counted(source: object) -> object:
            self.seen += 1
            return look(source)

        self.inspector.look = counted
        super().__init__(self.inspector)


@pytest.fixture(scope="module")
def engine() -> Counting:
    return Counting()


def numbers(batch: Batch) -> dict[str, tuple]:
    return {row.name: (row.rank, row.suspicion, row.score, row.mutual) for row in batch.rows}


def test_the_odd_picture_comes_first_and_broken_ones_stop_nothing(engine: Counting, tmp_path: Path) -> None:
    folder = draw(tmp_path / "parts")
    (folder / "torn.png").write_bytes((folder / "part0.png").read_bytes()[:200])
    (folder / "text.jpg").write_text("not a picture")
    (folder / "copy.png").write_bytes((folder / "part1.png").read_bytes())
    told: list[tuple[str, int, int]] = []
    entries, notes = list_entries(folder)
    batch = run_batch(entries, tmp_path / "run", "embedded", engine, notes=notes, progress=lambda *at: told.append(at))
    mutual = {row.name: row.mutual for row in batch.rows if row.mutual is not None}
    assert max(mutual, key=mutual.__getitem__) == "part4.png"
    assert len(batch.rows) == 12 and [row.rank for row in batch.rows] == [*range(1, 11), 0, 0]
    suspicion = [row.suspicion for row in batch.rows[:10]]
    assert suspicion == sorted(suspicion, reverse=True)
    assert {row.name for row in batch.rows[10:]} == {"torn.png", "text.jpg"} and all(r.problem for r in batch.rows[10:])
    assert numbers(batch)["copy.png"][1:] == numbers(batch)["part1.png"][1:]
    assert any("copies" in note for note in batch.notes)
    assert told[0] == ("looking", 0, 12) and told[-1] == ("comparing", 9, 9)


def test_a_second_run_looks_at_nothing_and_a_new_picture_only_at_itself(engine: Counting, tmp_path: Path) -> None:
    folder = draw(tmp_path / "parts")
    first = run_batch(list_entries(folder)[0], tmp_path / "run", "embedded", engine)
    engine.seen = 0
    again = run_batch(list_entries(folder)[0], tmp_path / "run", "embedded", engine)
    assert engine.seen == 0 and numbers(again) == numbers(first)
    (folder / "part3.png").rename(folder / "renamed.png")
    Image.fromarray(np.full((80, 80, 3), 40, np.uint8)).save(folder / "new.png")
    more = run_batch(list_entries(folder)[0], tmp_path / "run", "embedded", engine)
    assert engine.seen == 1 and len(more.rows) == 10


def test_a_batch_of_a_known_product_counts_the_others_less(engine: Counting, tmp_path: Path) -> None:
    entries, _ = list_entries(draw(tmp_path / "in"))
    batches = {}
    for share in (0.0, 1.0):
        look = engine.inspector.look
        engine.inspector.look = lambda source, look=look, share=share: replace(look(source), known=share)
        batches[share] = run_batch(entries, tmp_path / f"out{share}", "embedded", engine)
        engine.inspector.look = look
    for share, batch in batches.items():
        own, mutual, found = (np.array([getattr(row, name) for row in sorted(batch.rows, key=lambda row: row.name)])
                              for name in ("score", "mutual", "suspicion"))  # fmt: skip
        assert np.allclose(found, fuse_scores(own, mutual, share))
        assert not np.allclose(found, fuse_scores(own, mutual, 1 - share))
        assert all(batch.look(row).known == share for row in batch.rows)


def test_a_damaged_kept_file_is_made_anew(engine: Counting, tmp_path: Path) -> None:
    folder = draw(tmp_path / "parts")
    first = run_batch(list_entries(folder)[0], tmp_path / "run", "embedded", engine)
    looks, mutual = (sorted((tmp_path / "run").glob(f"{name}-*/*.safetensors")) for name in ("looks", "mutual"))
    looks[2].write_bytes(looks[2].read_bytes()[:5000])
    mutual[1].write_bytes(b"")
    engine.seen = 0
    assert numbers(run_batch(list_entries(folder)[0], tmp_path / "run", "embedded", engine)) == numbers(first)
    assert engine.seen == 1


SLOW = """
import sys, time
from pathlib import Path
from tests.test_batch import Counting, list_entries, run_batch
run_batch(list_entries(Path(sys.argv[1]))[0], Path(sys.argv[2]), "embedded", Counting(),
          progress=lambda *at: time.sleep(0.05))
print("done")
"""


def test_a_run_that_is_killed_goes_on_where_it_was(engine: Counting, tmp_path: Path) -> None:
    folder, run = draw(tmp_path / "parts", 12), tmp_path / "run"
    command = [sys.executable, "-c", SLOW, str(folder), str(run)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 240
    while len(list(run.glob("looks-*/*.safetensors"))) < 3:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL and b"done" not in process.communicate()[0]
    kept = len(list(run.glob("looks-*/*.safetensors")))
    assert 3 <= kept < 12
    engine.seen = 0
    batch = run_batch(list_entries(folder)[0], run, "embedded", engine)
    assert engine.seen == 12 - kept and not list(run.rglob("*.partial"))
    whole = run_batch(list_entries(folder)[0], tmp_path / "other", "embedded", engine)
    for name, values in numbers(whole).items():
        assert numbers(batch)[name] == pytest.approx(values, abs=1e-5)


def test_a_stop_keeps_what_was_done(engine: Counting, tmp_path: Path) -> None:
    folder, stop = draw(tmp_path / "parts"), threading.Event()

    def progress(step: str, done: int, total: int) -> None:
        if done == 4:
            stop.set()

    with pytest.raises(LookTwiceError, match="stopped"):
        run_batch(list_entries(folder)[0], tmp_path / "run", "embedded", engine, progress=progress, stop=stop)
    engine.seen = 0
    run_batch(list_entries(folder)[0], tmp_path / "run", "embedded", engine)
    assert engine.seen == 5


def test_other_weights_are_not_mixed_in(engine: Counting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = draw(tmp_path / "parts", 3)
    run_batch(list_entries(folder)[0], tmp_path / "run", "embedded", engine)
    engine.seen = 0
    monkeypatch.setattr("assistant.batch.weights_id", lambda profile, tiles: "other")
    run_batch(list_entries(folder)[0], tmp_path / "run", "embedded", engine)
    assert engine.seen == 3


def test_one_picture_and_a_few_have_an_answer_with_a_doubt(engine: Counting, tmp_path: Path) -> None:
    folder = draw(tmp_path / "parts", 1, odd=9)
    batch = run_batch(list_entries(folder)[0], tmp_path / "run", "embedded", engine)
    (row,) = batch.rows
    assert row.mutual is None and row.suspicion == 0 and 0 <= row.score <= 1
    assert any("says little" in note for note in batch.notes)
    assert batch.look(row).heatmap.shape == (96, 96)


def test_rows_can_be_drawn(engine: Counting, tmp_path: Path) -> None:
    from assistant.render import overlay

    folder = draw(tmp_path / "parts")
    (folder / "text.jpg").write_text("not a picture")
    batch = run_batch(list_entries(folder)[0], tmp_path / "run", "embedded", engine)
    look = batch.look(batch.rows[0])
    assert overlay(look).shape == (96, 96, 3) and look.regions == batch.rows[0].regions
    with pytest.raises(LookTwiceError, match="text, not a picture"):
        batch.look(batch.rows[-1])


def test_a_picture_that_breaks_a_library_is_a_row_and_a_full_disk_ends_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    inspector, store = tiny_inspector(), Store(tmp_path / "run", "m")
    entry = Entry("a.png", draw(tmp_path / "parts", 1) / "part0.png")
    store.prepare()
    (tmp_path / "run" / "looks-m").rmdir()
    (tmp_path / "run" / "looks-m").write_text("in the way")
    with pytest.raises(LookTwiceError, match="cannot be written"):
        look_at(inspector, store, entry)
    monkeypatch.setattr(inspector, "look", lambda source: 1 / 0)
    assert "could not be looked at" in look_at(inspector, store, entry).problem and "ZeroDivisionError" in caplog.text
