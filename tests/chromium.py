"""A real Chromium for tests of the page; `browser` is a fixture to import."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright import sync_api

PROGRAM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
WAIT = 120_000
"""Milliseconds."""
needs_chromium = pytest.mark.skipif(PROGRAM is None, reason="no Chromium on the path")


@pytest.fixture(scope="module")
def browser() -> Iterator[sync_api.Browser]:
    started = pytest.importorskip("playwright.sync_api").sync_playwright()
    with started as playwright:
        chromium = playwright.chromium.launch(executable_path=PROGRAM, args=FLAGS)
        yield chromium
        chromium.close()
