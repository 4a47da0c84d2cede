"""A real Chromium for tests of the page; `browser` is a fixture to import."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright import sync_api

PROGRAM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
WAIT = 120_000
"""Milliseconds."""
needs_chromium = pytest.mark.skipif(PROGRAM is None, reason="no Chromium on the path")


@contextmanager
def watched(browser: sync_api.Browser, url: str, width: int, height: int, scheme: str) -> Iterator[sync_api.Page]:
    """The page with its examples; at the end it must not scroll sideways, nor have silent pictures or errors."""
    opened = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
    opened.set_default_timeout(WAIT)
    problems: list[str] = []
    opened.on("console", lambda said: problems.append(said.text) if said.type == "error" else None)
    opened.on("pageerror", lambda error: problems.append(str(error)))
    opened.goto(url)
    opened.wait_for_selector("#examples .thumbnail-item")
    yield opened
    assert opened.evaluate("document.documentElement.scrollWidth <= innerWidth"), "the page scrolls sideways"
    silent = opened.evaluate(
        "[...document.images].filter(image => !image.alt).map(image => image.outerHTML.slice(0, 300))"
    )
    assert silent == [], "a picture has no text"
    assert problems == []
    opened.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[sync_api.Browser]:
    started = pytest.importorskip("playwright.sync_api").sync_playwright()
    with started as playwright:
        chromium = playwright.chromium.launch(executable_path=PROGRAM, args=FLAGS)
        yield chromium
        chromium.close()
