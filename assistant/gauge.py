"""How sure a verdict is, and how far its score lies from the threshold, as two bars that say the same in words."""

from __future__ import annotations

import html

from assistant.render import plain, score_line, verdict_line
from assistant.types import Finding

COLOURS = {"anomalous": "#d9480f", "normal": "#2b8a3e", "unsure": "#a87900"}
"""Of the bars; the words beside them say the same, for those who see no colours."""


def gauge_html(finding: Finding) -> str:
    """Probability that something is wrong, and score against threshold, as HTML with a text for screen readers."""
    yes = f"{100 * finding.verdict_probability:.0f} %"
    source = plain(finding.threshold_source)
    words = f"{verdict_line(finding)}. Something is wrong with a probability of {yes}. {score_line(finding)}."
    side = "over" if finding.score >= finding.threshold else "under"
    bars = (
        _bar("Something is wrong", yes, finding.verdict_probability, 0.5, COLOURS[finding.verdict])
        + _bar(
            "Score of the look", f"{finding.score:.2f}, {side} {finding.threshold:.2f}", finding.score,
            finding.threshold, COLOURS["anomalous" if side == "over" else "normal"],
        )
    )  # fmt: skip
    note = f'<div class="gauge-note">Threshold {finding.threshold:.2f}: {html.escape(source)}</div>' if source else ""
    return f'<div role="img" aria-label="{html.escape(words)}" class="gauge">{bars}{note}</div>'


def _bar(name: str, value: str, share: float, mark: float, colour: str) -> str:
    """One bar from 0 to 1, `share` of it filled, with a line at `mark`."""
    filled, at = (round(100 * min(1.0, max(0.0, number)), 1) for number in (share, mark))
    return (
        f'<div class="gauge-row"><span>{html.escape(name)}</span><b>{html.escape(value)}</b></div>'
        f'<div class="gauge-bar"><div style="width:{filled}%;background:{colour}"></div>'
        f'<i style="left:{at}%"></i></div>'
    )
