"""Fits how what is unusual in a clip is weighed, with a normal clip and without, on drawn events.

    python -m finetune.clips --data DIR [--fold train] [--profile NAME]

A logistic regression of the frames' labels on the channels' sums, gains not under 0; the tipping point is where most
training clips come out right. `python -m data.build events DIR --fold train` makes the set. What was measured is kept
in the run folder, place by place: a second start goes on where the first stopped.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from scipy.optimize import minimize
from sklearn.metrics import roc_auc_score
from tqdm import tqdm

from assistant import load
from assistant.clip_gains import CLIPS_FILE, ClipGains, Weighing, level
from assistant.clip_look import Normality
from assistant.command import run
from assistant.errors import RecordError
from assistant.inspector import Inspector
from assistant.profiles import read_profile
from assistant.spans import scored
from data.clips import HIT, Clip, read_clips, time_overlap
from finetune.kept import keep_arrays, kept_arrays

MODES = ("alone", "held")
USUAL_CELLS = 0.998
"""Share of the cells of normal clips that stay dark on the map."""
USUAL_LEVEL = 0.95
"""Share of the normal clips whose own level is taken off whole."""
LEAST_ZERO = 0.02
RIDGE = 0.1
"""Strong enough that on grounds left out a channel that few clips of the others show is not trusted for them."""


@dataclass(frozen=True, eq=False)
class Frames:
    """Frames of one clip: times [n] in seconds, labels [n], sums [n, 4], quantile of the cells [3]; seconds in all."""

    times: np.ndarray
    labels: np.ndarray
    sums: np.ndarray
    cells: np.ndarray
    duration: float


def measured(inspector: Inspector, clips: list[Clip], out: Path) -> dict[str, list[Frames]]:
    """Frames of all clips by mode; each place is a file of `out`, and one that is there already is not measured again.

    Clips of one place, which stand together, share what was learned of its normal.

    Raises:
        RecordError: a file is of other clips or of other weights.
    """
    found: dict[str, list[Frames]] = {mode: [] for mode in MODES}
    out.mkdir(parents=True, exist_ok=True)
    with tqdm(total=len(clips), desc="clips", unit="clip") as bar:
        for number, (reference, group) in enumerate(groupby(clips, key=lambda clip: clip.reference)):
            here, file = list(group), out / f"place-{number:05d}.safetensors"
            origin = " ".join([inspector.fingerprint, *(clip.name for clip in here)])
            if not file.is_file():
                known = inspector.learn_normal(list(reference))
                keep(file, _of_place(inspector, here, known), origin)
            for mode, frames in kept(file, origin).items():
                found[mode] += frames
            bar.update(len(here))
    return found


def _of_place(inspector: Inspector, clips: list[Clip], known: Normality) -> dict[str, list[Frames]]:
    found: dict[str, list[Frames]] = {mode: [] for mode in MODES}
    for clip in clips:
        for mode, one in zip(MODES, inspector.measure_clip(clip.files[0], (None, known)), strict=True):
            cells = np.quantile(one.cells.numpy().transpose(1, 0, 2, 3).reshape(3, -1), USUAL_CELLS, axis=1)
            labels = np.array(clip.time_labels(one.times))
            found[mode].append(Frames(np.array(one.times), labels, one.sums.numpy(), cells, one.duration))
    return found


def keep(file: Path, found: dict[str, list[Frames]], origin: str) -> None:
    """Writes what was measured as one safetensors file, whole or not at all; `origin` says of what it is."""
    arrays = {}
    for mode, clips in found.items():
        for number, one in enumerate(clips):
            for name, value in vars(one).items():
                arrays[f"{mode}.{number:05d}.{name}"] = np.atleast_1d(np.asarray(value))
    keep_arrays(file, arrays, origin)


def kept(file: Path, origin: str) -> dict[str, list[Frames]]:
    """Reads what `keep` has written; raises RecordError when it is damaged or of another origin."""
    rows: dict[str, dict[str, dict[str, np.ndarray]]] = {}
    for key, value in kept_arrays(file, origin).items():
        mode, number, name = key.split(".")
        rows.setdefault(mode, {}).setdefault(number, {})[name] = value
    return {
        mode: [Frames(**(one | {"duration": float(one["duration"][0])})) for _, one in sorted(clips.items())]
        for mode, clips in rows.items()
    }


def fit(clips: list[Frames]) -> Weighing:
    """Gains, tipping point and zeros of one mode.

    Both labels weigh alike. The bias is moved to where the mean of two shares is highest: of the clips with an event,
    those whose called time overlaps it by HIT; of the others, those of which nothing is called.
    """
    quiet = [level(one.times, one.sums[:, :3]) for one in clips if not one.labels.any()]
    levels = tuple(float(one) for one in np.quantile(quiet, USUAL_LEVEL, axis=0).clip(0))
    start = Weighing(0.0, (0.0,) * 4, (1.0,) * 3, levels)
    over = [start.over(one.times, one.sums) for one in clips]
    sums, labels = np.concatenate(over), np.concatenate([one.labels for one in clips])
    scale = sums.std(axis=0) + 1e-6
    share = np.where(labels == 1, 0.5 / labels.mean(), 0.5 / (1 - labels.mean()))
    gains = logistic(sums / scale, labels, share, RIDGE) / scale
    gains *= logistic((sums @ gains)[:, None], labels, share, 0.0)  # what was shrunk is their shares, not their sum
    evidence = [one @ gains for one in over]
    tried = np.quantile(np.concatenate(evidence), np.linspace(0.2, 0.999, 120))
    rights = [right(clips, evidence, -cut) for cut in tried]
    top = np.flatnonzero(np.array(rights) >= max(rights) - 0.01)
    bias = -float(tried[top[len(top) // 2]])  # the middle of what is as good: the end would be chance
    normal = np.stack([one.cells for one in clips if not one.labels.any()])
    zeros = np.maximum(np.median(normal, axis=0), LEAST_ZERO)
    return Weighing(bias, tuple(float(one) for one in gains), tuple(float(one) for one in zeros), levels)


def logistic(values: np.ndarray, labels: np.ndarray, share: np.ndarray, ridge: float) -> np.ndarray:
    """Gains [k], >= 0, of a logistic regression with a free bias.

    Args:
        values: [n, k].
        labels: [n] 0 or 1.
        share: [n] what each row counts, > 0.
        ridge: what the sum of squared gains costs, >= 0.
    """

    def loss(guess: np.ndarray) -> tuple[float, np.ndarray]:
        logits = guess[0] + values @ guess[1:]
        away = share * (1 / (1 + np.exp(-logits)) - labels)
        cost = (share * (np.logaddexp(0, logits) - labels * logits)).mean() + ridge * (guess[1:] ** 2).sum()
        slope = np.concatenate([[away.mean()], (away[:, None] * values).mean(axis=0) + 2 * ridge * guess[1:]])
        return float(cost), slope

    bounds = [(None, None), *[(0, None)] * values.shape[1]]
    return minimize(loss, np.zeros(1 + values.shape[1]), jac=True, method="L-BFGS-B", bounds=bounds).x[1:]


def right(clips: list[Frames], evidence: list[np.ndarray], bias: float) -> float:
    """The mean of the two shares of `fit` for a bias, 0..1."""
    hits, quiet = [], []
    for one, values in zip(clips, evidence, strict=True):
        _, spans = scored(one.times.tolist(), values + bias, one.duration)
        if one.labels.any():
            called = np.array([any(span.start <= at <= span.end for span in spans) for at in one.times])
            hits.append(time_overlap(called, one.labels == 1) >= HIT)
        else:
            quiet.append(not spans)
    return (float(np.mean(hits)) + float(np.mean(quiet))) / 2


def main(
    data: Annotated[Path, typer.Option(help="Folder of a set of drawn events.")],
    fold: Annotated[str, typer.Option(help="Fold that is fitted to.")] = "train",
    out: Annotated[Path, typer.Option(help="Run folder: what was measured.")] = Path("runs/clips"),
    profile: Annotated[str, typer.Option(help="Its clips.json is written.")] = "embedded",
) -> None:
    """Fits both modes and writes clips.json beside the profile's weights."""
    clips = [clip for clip in read_clips(data, fold) if clip.seconds is not None and clip.reference]
    if len({clip.label for clip in clips}) < 2:
        raise RecordError(
            f"There are no clips with and without an event and with a reference in the fold {fold!r} of {data}.",
            "python -m data.build events makes them.",
        )
    found = measured(load(profile), clips, out)
    weighings = {}
    for mode in MODES:
        weighings[mode] = one = fit(found[mode])
        evidence = [one.over(clip.times, clip.sums) @ np.array(one.gains) for clip in found[mode]]
        labels = np.concatenate([clip.labels for clip in found[mode]])
        typer.echo(
            f"{mode}: frame AUROC {roc_auc_score(labels, np.concatenate(evidence)):.3f}, "
            f"{right(found[mode], evidence, one.bias):.3f} of the clips right, {one}"
        )
    gains = ClipGains(source=f"fitted to {len(clips)} clips of drawn events", **weighings)
    target = read_profile(profile).weights / CLIPS_FILE
    gains.save(target)
    typer.echo(f"wrote {target.name}: next, python -m eval.run video --data {data} --out RUN")


if __name__ == "__main__":
    run(main)
