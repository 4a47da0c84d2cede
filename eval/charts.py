"""Curves and histograms of a run as SVG text that stands inside a page."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score, roc_curve

from eval.metrics import ECE_BINS

matplotlib.use("Agg")
from matplotlib import pyplot as plt  # noqa: E402  the backend must be chosen first

Row = dict[str, Any]
NORMAL, ANOMALOUS, LINE = "#3b7dd8", "#c2410c", "#555555"
SIZE = (4.4, 3.5)
STYLE = {
    "svg.fonttype": "none", "svg.hashsalt": "looktwice", "font.size": 9, "axes.spines.top": False,
    "axes.spines.right": False, "font.family": "sans-serif", "legend.frameon": False, "legend.fontsize": 7.5,
    "figure.facecolor": "white", "axes.grid": True, "grid.color": "#e5e5e5", "axes.axisbelow": True,
}  # fmt: skip


def svg(figure: plt.Figure) -> str:
    """A finished figure as an <svg> element."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", bbox_inches="tight", metadata={"Date": None})
    plt.close(figure)
    text = buffer.getvalue()
    return re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)


def curves(groups: Sequence[tuple[str, list[Row]]]) -> tuple[str, str] | None:
    """(ROC, precision-recall) of the image score of every group with both labels; None when there is none."""
    groups = [(name, rows) for name, rows in groups if len({row["label"] for row in rows}) == 2]
    if not groups:
        return None
    drawn = []
    colours = matplotlib.colormaps["tab20" if len(groups) > 10 else "tab10"].colors
    for kind in ("roc", "pr"):
        with plt.rc_context(STYLE):
            figure, axes = plt.subplots(figsize=SIZE)
            for number, (name, rows) in enumerate(groups):
                labels, scores = [row["label"] for row in rows], [row["score"] for row in rows]
                if kind == "roc":
                    x, y, _ = roc_curve(labels, scores)
                    value = roc_auc_score(labels, scores)
                else:
                    y, x, _ = precision_recall_curve(labels, scores)
                    value = average_precision_score(labels, scores)
                axes.plot(x, y, lw=1.4, color=colours[number % len(colours)], label=f"{name} {value:.3f}",
                          drawstyle="default" if kind == "roc" else "steps-post")  # fmt: skip
            if kind == "roc":
                axes.plot([0, 1], [0, 1], "--", lw=0.8, color="#aaaaaa")
            axes.set(
                xlim=(-0.01, 1.01), ylim=(-0.01, 1.02),
                xlabel="false-positive rate" if kind == "roc" else "recall",
                ylabel="true-positive rate" if kind == "roc" else "precision",
            )  # fmt: skip
            axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), title="area" if kind == "roc" else "AP")
            drawn.append(svg(figure))
    return drawn[0], drawn[1]


def reliability(rows: Sequence[Row]) -> str | None:
    """Stated probability of "anomalous" against how often it is so, in ECE_BINS bins; None when none is stated."""
    known = [row for row in rows if row.get("verdict_probability") is not None]
    if not known:
        return None
    stated = np.array([row["verdict_probability"] for row in known])
    labels = np.array([row["label"] for row in known])
    bins = np.minimum((stated * ECE_BINS).astype(int), ECE_BINS - 1)
    counts = np.bincount(bins, minlength=ECE_BINS)
    some = counts > 0
    means = np.bincount(bins, weights=stated, minlength=ECE_BINS)[some] / counts[some]
    shares = np.bincount(bins, weights=labels, minlength=ECE_BINS)[some] / counts[some]
    with plt.rc_context(STYLE):
        figure, (axes, below) = plt.subplots(2, 1, figsize=SIZE, sharex=True, height_ratios=(3, 1))
        axes.plot([0, 1], [0, 1], "--", lw=0.8, color="#aaaaaa")
        axes.plot(means, shares, "o-", color=ANOMALOUS, lw=1.2, ms=4)
        axes.set(ylim=(-0.03, 1.03), ylabel="share anomalous")
        edges = np.arange(ECE_BINS) / ECE_BINS
        below.bar(edges, counts, width=1 / ECE_BINS, align="edge", color="#9ca3af", edgecolor="white")
        below.set(xlim=(0, 1), xlabel='stated probability of "anomalous"', ylabel="samples")
        return svg(figure)


def histogram(rows: Sequence[Row]) -> str | None:
    """How the score is spread over normal and anomalous samples; None without any."""
    scores = {label: [row["score"] for row in rows if row["label"] == label] for label in (0, 1)}
    every = scores[0] + scores[1]
    if not every:
        return None
    low, high = (0.0, 1.0) if 0 <= min(every) and max(every) <= 1 else (min(every), max(every))
    bins = np.linspace(low, high if high > low else low + 1, 31)
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=SIZE)
        for label, colour, name in ((0, NORMAL, "normal"), (1, ANOMALOUS, "anomalous")):
            if scores[label]:
                shown = f"{name}, {len(scores[label])}"
                axes.hist(scores[label], bins, color=colour, alpha=0.6, label=shown)
        thresholds = {row["threshold"] for row in rows if row.get("threshold") is not None}
        if len(thresholds) == 1:
            axes.axvline(thresholds.pop(), color=LINE, lw=1, ls=":", label="threshold")
        axes.set(xlabel="score", ylabel="samples")
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
        return svg(figure)
