"""An inspector for tests of the page: the tiny model, whose looks have two lit regions, and answers held at a gate.

Every clip is anomalous in two stretches, from 20 to 40 and from 70 to 85 hundredths of its length.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from assistant.clip_look import Normality, Progress
from assistant.clip_reader import ClipReader
from assistant.clip_words import checked_rules, clip_opening
from assistant.regions import find_regions
from assistant.types import SUSPICIOUS, ClipFacts, ClipFile, FrameScore, Look, Media, Span
from tests.tiny import tiny_inspector

WORDS = "Yes. There is a stain in the top left."
DRAFT = ("The camera is still.", "At most 2 things move at once.")
SPANS = ((0.2, 0.3, 0.4, 0.81), (0.7, 0.8, 0.85, 0.66))
"""(start, peak, end) as shares of a clip's length, and the score at the peak."""


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

    def learn_normal(self, sources: Any, *, progress: Progress) -> Any:
        """Nothing is learned; that something was is all the looks need to know."""
        return ("normal", len(sources))

    def look_clip(self, source: ClipFile, normal: Normality | Any = (), *, rules: str = "", progress: Progress) -> Look:
        """The tiny model's looks at key frames, with a score that rises twice; pauses at the third frame of four while
        the gate is closed.
        """
        for number in range(1, 5):
            progress("watching", number, 4)
            while number == 3 and not self.gate.wait(0.05):
                progress("watching", number, 4)
        with ClipReader(source.source, name=source.name) as reader:
            length = reader.duration
            times = [0.0, *(length * peak for _, peak, _, _ in SPANS), length - 0.1]
            frames = [grab.frame for grab in reader.frames(times)]
            name = reader.name
        scores = (0.2, *(score for *_, score in SPANS), 0.3)
        keys = tuple(
            replace(self.look(Media((frame,), "clip", name)), score=score, time=at)
            for frame, at, score in zip(frames, times, scores, strict=True)
        )
        curve = np.interp(np.linspace(0, 1, 21), (0, 0.15, 0.3, 0.45, 0.65, 0.8, 0.9, 1),
                          (0.2, 0.25, 0.81, 0.25, 0.2, 0.66, 0.3, 0.3))  # fmt: skip
        spans = tuple(
            Span(length * start, length * end, length * peak, score, "centre left", "something moves left")
            for start, peak, end, score in SPANS
        )
        facts = ClipFacts(
            length, "still", tuple(FrameScore(length * n / 20, float(score)) for n, score in enumerate(curve)), spans,
            keys, "One thing moves.", "6.0 s of a normal clip" if normal else "",
            checked_rules(rules) or (DRAFT if normal else ()),
        )  # fmt: skip
        return replace(keys[1], clip=facts, warnings=("Take it as a hint.",), threshold_source="chosen by hand")

    def ask(self, look: Any, question: str, history: Any = (), *, stop: threading.Event | None = None) -> Iterator[str]:
        """WORDS, word by word; of a clip what was measured where that is asked for."""
        self.asked.append(question)
        if look is not None and look.clip is not None and (said := clip_opening(look.clip, question)):
            yield said
            return
        *first, last = WORDS.split(" ")
        for word in first:
            yield word + " "
        while not self.gate.wait(0.05):
            if stop is not None and stop.is_set():
                return
        yield last
