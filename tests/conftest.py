"""What several test modules share: the real model, loaded once, and one drawn defect."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

if TYPE_CHECKING:
    from assistant.inspector import Inspector


@pytest.fixture(scope="session")
def inspector() -> Inspector:
    """The embedded profile; tests that need it are skipped where its weight packages are not installed."""
    from assistant import load
    from assistant.errors import ProfileError

    try:
        return load("embedded")
    except ProfileError as error:
        pytest.skip(str(error))


@pytest.fixture
def short_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers end after a few words: tests of what surrounds them need no more."""
    monkeypatch.setattr("assistant.inspector.MAX_WORDS", 12)


@pytest.fixture(scope="session")
def cracked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A PNG of a brick wall, 512 x 512, with a drawn crack."""
    from data.photos import photograph
    from data.synth import draw_defect

    drawn = draw_defect(photograph("brick.png"), np.random.default_rng(3), "crack", strength=1.0, count=1)
    file = tmp_path_factory.mktemp("pictures") / "wall.png"
    Image.fromarray(drawn.image).save(file)
    return file


@pytest.fixture(scope="session")
def broken(tmp_path_factory: pytest.TempPathFactory, cracked: Path) -> Path:
    """A PNG whose second half is missing."""
    file = tmp_path_factory.mktemp("broken") / "half.png"
    data = cracked.read_bytes()
    file.write_bytes(data[: len(data) // 2])
    return file
