"""Whether one run is better than another, or only luckier: differences with bootstrap intervals.

python -m eval.compare RUN_A RUN_B

Both runs must hold predictions of the same samples (those that only one has are left out). AUPIMO gives a score an
anomalous picture, so that the runs are compared picture by picture with Wilcoxon's signed-rank test.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table
from scipy.stats import wilcoxon

from assistant import command
from assistant.errors import LookTwiceError
from eval import metrics
from eval.aupimo import aupimo_scores
from eval.predictions import keys_of, read_predictions, read_settings
from eval.score import VERDICT, groups_of, is_peer, read_truths
from eval.tables import cell

Row = dict[str, Any]
FIGURES: dict[str, Callable[[Sequence[Row]], float | None]] = {
    name: getattr(metrics, name)
    for name in (
        "image_auroc", "image_ap", "image_f1_max", "yes_no", "balanced_accuracy", "accuracy", "f1", "ece",
        "faithfulness", "hallucination_rate",
    )
}  # fmt: skip
"""Figures that follow from rows alone, so that resampling pictures is quick."""
PERCENT = 95


def paired(a: Sequence[Row], b: Sequence[Row]) -> tuple[list[int], list[int]]:
    """Indices in A and in B of the samples that both have, in A's order.

    Raises:
        LookTwiceError: the runs have no sample in common, or label one differently.
    """
    at = {key: index for index, key in enumerate(keys_of(b))}
    pairs = [(index, at[key]) for index, key in enumerate(keys_of(a)) if key in at]
    if not pairs:
        raise LookTwiceError("The two runs have no sample in common.", "Compare runs of the same set.")
    for i, j in pairs:
        if a[i]["label"] != b[j]["label"]:
            raise LookTwiceError(f"The two runs label {a[i]['image']} differently.")
    return [i for i, _ in pairs], [j for _, j in pairs]


def intervals(a: Sequence[Row], b: Sequence[Row], groups: Sequence[Sequence[int]], draws: int, seed: int) -> list[Row]:
    """One row a figure: {"figure", "a", "b", "difference", "low", "high"}, b minus a, means over the groups.

    Pictures are drawn with replacement within each group and label (paired, stratified bootstrap, percentile
    interval), so that every draw has both labels where the group has.

    Args:
        a, b: rows of the same samples in the same order.
        groups: indices of each set.
    """
    rng = np.random.default_rng(seed)
    strata = []
    for group in groups:
        labels = np.array([a[index]["label"] for index in group])
        strata.append([np.asarray(group)[labels == label] for label in (0, 1) if (labels == label).any()])
    results = []
    silent = any(row.get("verdict") is None for row in (*a, *b))  # a peer's row: none is not a wrong verdict
    for name, figure in FIGURES.items():
        if silent and name in VERDICT:
            continue
        whole = _mean_difference(figure, a, b, groups)
        if whole is None:
            continue
        drawn = []
        for _ in range(draws):
            sample = [np.concatenate([rng.choice(part, len(part)) for part in parts]).tolist() for parts in strata]
            values = _mean_difference(figure, a, b, sample)
            if values is not None:
                drawn.append(values[1] - values[0])
        tail = (100 - PERCENT) / 2
        low, high = np.percentile(drawn, [tail, 100 - tail])
        results.append(
            {
                "figure": name, "a": whole[0], "b": whole[1], "difference": whole[1] - whole[0],
                "low": float(low), "high": float(high),
            }
        )  # fmt: skip
    return results


def _mean_difference(
    figure: Callable[[Sequence[Row]], float | None], a: Sequence[Row], b: Sequence[Row], groups: Sequence[Sequence[int]]
) -> tuple[float, float] | None:
    pairs = []
    for group in groups:
        values = figure([a[index] for index in group]), figure([b[index] for index in group])
        if None not in values:
            pairs.append(values)
    if not pairs:
        return None
    means = np.mean(pairs, axis=0)
    return float(means[0]), float(means[1])


def paired_test(a: Sequence[float], b: Sequence[float]) -> float | None:
    """Two-sided p of Wilcoxon's signed-rank test that paired scores do not differ; None when all are equal."""
    differences = np.asarray(b, dtype=float) - np.asarray(a, dtype=float)
    return float(wilcoxon(differences).pvalue) if np.any(differences != 0) else None


def main(
    run_a: Annotated[Path, typer.Argument(help="Folder of eval.run.")],
    run_b: Annotated[Path, typer.Argument(help="Folder of eval.run, same samples.")],
    draws: Annotated[int, typer.Option(min=100, help="Bootstrap draws.")] = 1000,
    seed: int = 0,
) -> None:
    """Prints B minus A for every figure of rows, and AUPIMO picture by picture."""
    rows_a, rows_b = read_predictions(run_a), read_predictions(run_b)
    for run, rows in ((run_a, rows_a), (run_b, rows_b)):
        if any(row["label"] is None or "verdict" not in row for row in rows):
            raise LookTwiceError(f"The run {run} has samples without label.", "Compare runs of labelled pictures.")
    at_a, at_b = paired(rows_a, rows_b)
    truths_a, truths_b = read_truths(run_a, len(rows_a)), read_truths(run_b, len(rows_b))
    rows_a, rows_b = [rows_a[i] for i in at_a], [rows_b[i] for i in at_b]
    truths_a, truths_b = [truths_a[i] for i in at_a], [truths_b[i] for i in at_b]
    settings = read_settings(run_a), read_settings(run_b)
    products = any(map(is_peer, settings))
    groups = [chosen for _, _, chosen in groups_of(rows_a, settings[0].get("task"), products)]
    console = Console(width=120)
    table = Table("figure", "A", "B", "B - A", f"{PERCENT} % interval", "", title=f"{len(rows_a)} samples in both runs")
    for line in intervals(rows_a, rows_b, groups, draws, seed):
        sure = "" if line["low"] <= 0 <= line["high"] else "differs"
        table.add_row(
            line["figure"].replace("_", " "), cell(line["a"]), cell(line["b"]), f"{line['difference']:+.3f}",
            f"{line['low']:+.3f} to {line['high']:+.3f}", sure,
        )  # fmt: skip
    console.print(table)
    scores: tuple[list[float], list[float]] = ([], [])
    for group in groups:
        both = [aupimo_scores([truths[index] for index in group]) for truths in (truths_a, truths_b)]
        if None in both:
            continue
        for one, other in zip(*both, strict=True):
            if one is not None and other is not None:
                scores[0].append(one)
                scores[1].append(other)
    if scores[0]:
        p = paired_test(*scores)
        told = "all equal" if p is None else f"p = {p:.4f}, Wilcoxon's signed-rank test"
        means = [float(np.mean(part)) for part in scores]
        console.print(f"AUPIMO over {len(scores[0])} pictures: A {means[0]:.3f}, B {means[1]:.3f} ({told})")


if __name__ == "__main__":
    command.run(main)
