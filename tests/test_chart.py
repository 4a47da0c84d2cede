"""The chart of a clip: where its curve, spans and marks lie, and that nothing foreign becomes markup."""

from __future__ import annotations

from html.parser import HTMLParser

import numpy as np
import pytest

from assistant.chart import chart_html, chart_words, clock, mark_text, marks, points, span_link, spans_html
from assistant.types import ClipFacts, FrameScore, Span

HOSTILE = "<script>window.ran=1</script><img src=x onerror=ran=1>\"' onload=ran=1"
SPAN = Span(2.1, 3.4, 2.4, 0.81, "centre left", "something passes through")
FACTS = ClipFacts(
    8.0, "still", tuple(FrameScore(at, score) for at, score in ((1.0, 0.1), (2.4, 0.81), (6.0, 0.2))), (SPAN,)
)


class Seen(HTMLParser):
    """Tags with their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0:00.0"), (2.14, "0:02.1"), (59.96, "1:00.0"), (754.06, "12:34.1"), (3661.5, "1:01:01.5"), (-1, "0:00.0")],
)
def test_times_are_written_as_players_do(seconds: float, words: str) -> None:
    assert clock(seconds) == words


def test_the_curve_reaches_from_end_to_end_and_lies_where_the_scores_are() -> None:
    assert points(FACTS) == pytest.approx(np.array([(0, 0.1), (0.125, 0.1), (0.3, 0.81), (0.75, 0.2), (1, 0.2)]))
    assert points(ClipFacts(1.0, "still", ())) == [] and chart_html(ClipFacts(1.0, "still", ()), 0.5) == ""


@pytest.mark.parametrize("duration", [0.001, 0.4, 1.0, 7.3, 59.0, 61.0, 754.0, 3700.0, 14400.0, 90_000.0])
def test_the_axis_has_a_few_marks_that_rise_within_the_clip(duration: float) -> None:
    found = marks(duration)
    assert 1 <= len(found) <= 8 and found[0] == 0 and found == sorted(set(found)) and found[-1] <= duration + 1e-6
    assert len({mark_text(at, duration) for at in found}) == len(found)


def test_spans_are_links_over_the_curve_and_in_a_list_and_the_words_say_it_all() -> None:
    seen = Seen(chart_html(FACTS, 0.5, 3))
    (link,) = seen.of("a")
    assert link["href"] == span_link(SPAN, 3, 1) == "#span-3-1-2100"
    assert link["style"] == "left:26.25%;width:16.25%" and "passes through, centre left" in link["aria-label"]
    (svg,) = seen.of("svg")
    assert svg["role"] == "img" and svg["aria-label"] == chart_words(FACTS, 0.5)
    for words in ("highest 0.81 at 0:02.4", "threshold 0.50", "0:02.1–0:03.4, something passes through"):
        assert words in svg["aria-label"]
    (rect,) = seen.of("rect")
    assert (float(rect["x"]), float(rect["width"])) == (262.5, 162.5)
    (level,) = seen.of("line")
    assert level["y1"] == level["y2"] == "50.0"
    assert Seen(spans_html(FACTS, 3)).of("a") == [{"href": "#span-3-1-2100"}]
    assert not Seen(chart_html(FACTS, 0.5)).of("a") and not Seen(spans_html(FACTS)).of("a")


def test_a_moment_is_wide_enough_to_be_clicked_and_stays_in_the_chart() -> None:
    late = ClipFacts(8.0, "still", FACTS.frames, (Span(8.0, 8.0, 8.0),))
    (link,) = Seen(chart_html(late, 0.5, 1)).of("a")
    left, wide = (float(part.split(":")[1].rstrip("%")) for part in link["style"].split(";"))
    assert wide >= 1 and left + wide <= 100.01


def test_foreign_words_are_text() -> None:
    facts = ClipFacts(8.0, "still", FACTS.frames, (Span(1, 2, 1.5, 0.9, HOSTILE, HOSTILE),))
    for text in (chart_html(facts, 0.5, 1), spans_html(facts, 1)):
        seen = Seen(text)
        assert not {tag for tag, _ in seen.tags} & {"script", "img"}
        assert not [name for _, attributes in seen.tags for name in attributes if name.startswith("on")]
