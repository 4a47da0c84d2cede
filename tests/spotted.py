"""An inspector for tests of the page: the tiny model, whose looks have two lit regions, and answers held at a gate."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from assistant.regions import find_regions
from assistant.types import SUSPICIOUS, Look
from tests.tiny import tiny_inspector

WORDS = "Yes. There is a stain in the top left."


class Spotted:
    """Every picture is anomalous at two places; an answer pauses before its last word while the gate is closed.

    Attributes:
        gate: open at first.
        asked: every question, in order.
    """

    def __init__(self) -> None:
        self._inspector = tiny_inspector(look_scale=3.0, word_scale=0.01)
        self.gate = threading.Event()
        self.gate.set()
        self.asked: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inspector, name)

    def look(self, source: Any, *terms: Any, **more: Any) -> Look:
        """The tiny model's look with two regions drawn on its map."""
        look = self._inspector.look(source, *terms, **more)
        heatmap = np.zeros_like(look.heatmap)
        height, width = heatmap.shape
        heatmap[height // 8 : height // 4, width // 8 : width // 4] = 0.9
        heatmap[-height // 4 : -height // 8, -width // 4 : -width // 8] = 0.8
        regions = find_regions(heatmap, look.thumbnail, SUSPICIOUS, look.size)
        return replace(look, score=0.95, heatmap=heatmap, regions=regions, doubt="", warnings=())

    def ask(self, look: Any, question: str, history: Any = (), *, stop: threading.Event | None = None) -> Iterator[str]:
        """WORDS, word by word."""
        self.asked.append(question)
        *first, last = WORDS.split(" ")
        for word in first:
            yield word + " "
        while not self.gate.wait(0.05):
            if stop is not None and stop.is_set():
                return
        yield last
