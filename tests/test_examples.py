"""The examples: six of them, drawn once, always the same, small, and readable by what reads uploads."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from data.examples import Example, examples
from panels.uploads import read_file


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> list[Example]:
    return examples(tmp_path_factory.mktemp("examples"))


def test_there_are_six_with_a_good_and_a_bad_one_a_reference_a_clip_and_two_follow_ups(drawn: list[Example]) -> None:
    assert len(drawn) == 6 and {one.label for one in drawn} == {"normal", "anomalous"}
    assert sum(len(one.questions) > 1 for one in drawn) == 2 and sum(bool(one.references) for one in drawn) == 2
    assert [one.poster is not None for one in drawn] == [False] * 5 + [True]


def test_they_are_read_as_uploads_are_and_shown_small(drawn: list[Example]) -> None:
    for one in drawn:
        for file in (one.file, *one.references):
            read_file(file, "example")
            assert file.stat().st_size < 500_000
        assert max(one.thumbnail(120).size) == 120


def test_they_are_drawn_once_and_nothing_half_written_is_left(drawn: list[Example]) -> None:
    folder = drawn[0].file.parent
    before = {file: file.stat().st_mtime_ns for file in folder.iterdir()}
    assert [one.file for one in examples(folder)] == [one.file for one in drawn]
    assert {file: file.stat().st_mtime_ns for file in folder.iterdir()} == before
    assert not [file for file in before if "partial" in file.name]


def test_another_drawing_gives_the_same_clip(drawn: list[Example], tmp_path: Path) -> None:
    from assistant.clip_reader import ClipReader

    other = examples(tmp_path)[-1]
    with ClipReader(drawn[-1].file) as one, ClipReader(other.file) as two:
        assert one.duration == two.duration
        for first, second in zip(one.frames([0.5, 4.0]), two.frames([0.5, 4.0]), strict=True):
            assert (first.frame.pixels == second.frame.pixels).all()
    assert Image.open(drawn[-1].poster).tobytes() == Image.open(other.poster).tobytes()
