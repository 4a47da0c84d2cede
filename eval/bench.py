"""Speed and memory on this machine, as a table: `python -m eval.bench [--profile NAME] [--batch|--clips|--scoring]`.

Start-up is measured in a fresh process, as a user meets it. The peer of the look is the bare tower at the same size:
what is above it is our selector, heatmap head and regions. The peer of the words is the time that reading the language
model's weights once a token would take at this machine's own memory bandwidth.
"""

from __future__ import annotations

import json
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from PIL import Image
from rich.console import Console
from rich.table import Table

from assistant import command, load
from assistant.clip_plan import BUDGET
from assistant.errors import LookTwiceError
from assistant.inspector import Inspector
from assistant.prompts import DEFAULT_QUESTION
from assistant.reference import residuals
from data.event_sets import write_clip

BARS = {
    "look at 320 px, p50": (0.150, "s"),
    "first word, p50": (1.2, "s"),
    "peak memory": (1600.0, "MB"),
    "ready to answer": (15.0, "s"),
    "batch of 200 pictures": (180.0, "s"),
    "batch of 200 pictures, peak memory": (2500.0, "MB"),
    "clip of 10 s at 480p, to the first word": (8.0, "s"),
    "clip of 10 s at 480p, peak memory": (1800.0, "MB"),
    "scoring of 1000 predictions": (60.0, "s"),
    "scoring of 1000 predictions, peak memory": (2000.0, "MB"),
}
"""What the project promises on 2 cores."""
CLIP_RATE = 10
"""Frames a second of the measured clips."""


def median_seconds(work: Callable[[], Any], repeats: int) -> float:
    """Median seconds of `work` after two calls to warm up."""
    work(), work()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def picture(side: int) -> np.ndarray:
    """[side, side, 3] uint8, reproducible noise with a dark spot: speed does not depend on what is shown."""
    pixels = np.random.default_rng(0).integers(90, 160, (side, side, 3), dtype=np.uint8)
    pixels[side // 4 : side // 3, side // 4 : side // 3] = 20
    return pixels


def start_up(profile: str) -> dict[str, float]:
    """Seconds from process start to a loaded model and to a first answer, and peak memory, of a fresh process."""
    start = time.time()
    shown = subprocess.run(
        [sys.executable, "-m", "eval.bench", "--child", "--profile", profile],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    values = json.loads(shown.stdout.splitlines()[-1])
    return {
        "ready": values["ready_at"] - start,
        "answered": values["answered_at"] - start,
        "peak_mb": values["peak_mb"],
    }


def child(profile: str) -> None:
    """What `start_up` runs: load, answer once, report."""
    inspector = load(profile)
    ready = time.time()
    inspector.inspect(picture(320))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    typer.echo(json.dumps({"ready_at": ready, "answered_at": time.time(), "peak_mb": peak}))


_OBSERVER = """
import resource, subprocess, sys
code = subprocess.run([sys.executable, *sys.argv[1:]], stdout=subprocess.DEVNULL).returncode
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(code)
"""
"""Starts a program from a small process: a program's peak memory counts that of the process which started it."""


def batch_run(profile: str, count: int = 200) -> dict[str, float]:
    """Seconds and peak memory (MB) of the command line over a folder of `count` pictures, start-up and reports too."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "pictures"
        folder.mkdir()
        for number in range(count):
            pixels = np.random.default_rng(number).integers(90, 160, (512, 512, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{number:04d}.png")
        return _measured(["-m", "assistant", str(folder), "--batch", "--out", f"{place}/run", "--profile", profile])


def _measured(arguments: list[str]) -> dict[str, float]:
    """Seconds and peak memory (MB) of a fresh Python process with these arguments."""
    start = time.perf_counter()
    run = subprocess.run([sys.executable, "-c", _OBSERVER, *arguments], stdout=subprocess.PIPE, text=True)
    if run.returncode:
        raise LookTwiceError(f"{' '.join(arguments[:2])} ended with an error.")
    return {"seconds": time.perf_counter() - start, "peak_mb": float(run.stdout) / 1024}


def clip_times(inspector: Inspector, lengths: tuple[int, int] = (10, 60)) -> dict[str, float]:
    """Seconds to the verdict and first word of clips of two lengths, and of the shorter one with half the looks.

    The first two differ by how far the decoder must jump only; the last shows what a look costs.
    """
    found = {}
    with tempfile.TemporaryDirectory() as place:
        for seconds, budget in ((lengths[0], BUDGET), (lengths[1], BUDGET), (lengths[0], BUDGET // 2)):
            file = Path(place) / f"{seconds}.mp4"
            write_clip(file, moving(seconds), CLIP_RATE)
            start = time.perf_counter()
            look = inspector.look_clip(file, budget=budget)
            inspector.finding(look, next(iter(inspector.ask(look, DEFAULT_QUESTION))))
            what = f"clip of {seconds} s at 480p, to the first word" + ("" if budget == BUDGET else f", {budget} looks")
            found[what] = time.perf_counter() - start
    return found


def clip_peak(profile: str, seconds: int = 10) -> float:
    """Peak memory (MB) of the command line on a clip of so many seconds."""
    with tempfile.TemporaryDirectory() as place:
        write_clip(Path(place) / "clip.mp4", moving(seconds), CLIP_RATE)
        return _measured(["-m", "assistant", f"{place}/clip.mp4", "--profile", profile])["peak_mb"]


def moving(seconds: int) -> np.ndarray:
    """[n, 480, 640, 3] uint8 at CLIP_RATE: noise that a bright block crosses again and again."""
    ground = np.random.default_rng(0).integers(90, 160, (480, 640, 3), dtype=np.uint8)
    frames = np.repeat(ground[None], seconds * CLIP_RATE, axis=0)
    for number, pixels in enumerate(frames):
        x = 8 * number % 560
        pixels[200:280, x : x + 80] = 230
    return frames


def scoring_run(count: int = 1000, side: int = 320) -> dict[str, float]:
    """Seconds and peak memory (MB) of `python -m eval.score` over `count` drawn predictions, reports too.

    Args:
        side: of the kept maps, masks and thumbnails, pixels.
    """
    with tempfile.TemporaryDirectory() as place:
        write_predictions(Path(place), count, side)
        return _measured(["-m", "eval.score", place])


def write_predictions(run: Path, count: int, side: int) -> None:
    """A run of `count` drawn predictions of two sets as `eval.run` leaves it, with words and a map each.

    Maps are smooth as the model's are, dark on normals and lit where the mask is on half of the anomalies.
    """
    (run / "maps").mkdir()
    rng, lines = np.random.default_rng(0), []
    for number in range(count):
        label, found = number % 2, number % 4 == 1
        mask = np.zeros((side, side), bool)
        y, x = rng.integers(0, side // 2, 2)
        mask[y : y + side // 8, x : x + side // 4] = bool(label)
        coarse = Image.fromarray(rng.normal(-4, 1, (12, 12)).astype(np.float32))
        logits = np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC)) + 6 * (mask & found)
        arrays = {"heatmap": (1 / (1 + np.exp(-logits))).astype(np.float16), "mask": mask}
        arrays["thumbnail"] = np.full((side, side, 3), 120, np.uint8)
        np.savez_compressed(run / "maps" / f"{number:06d}.npz", **arrays)
        score, place = float(np.clip(rng.normal(0.4 + 0.2 * label, 0.15), 0, 1)), "centre"
        region = {"box": [int(x), int(y), int(x) + side // 4, int(y) + side // 8], "place": place}
        region |= {"area": 0.03, "peak": 0.9, "mean": 0.8, "tone": "darker", "shape": "compact"}
        lines.append(
            {
                "dataset": f"drawn{number // 2 % 2}", "category": "part", "image": f"{number}.png", "split": "test",
                "size": [side, side], "label": label, "defect": "crack" if label else "good", "score": score,
                "threshold": 0.5, "verdict": "anomalous" if score > 0.5 else "normal",
                "confidence": max(score, 1 - score), "verdict_probability": score, "place": place,
                "word_places": [place] * found, "region_places": [place] * found, "regions": [region] * found,
                "kinds": [["crack", 0.8]], "references": 0, "lit": 0.01, "top": 0.3,
                "explanation": f"Yes. There is a crack in the {place}." if found else "No.", "warnings": [],
                "seconds": 0.1,
            }
        )  # fmt: skip
    (run / "predictions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def look_times(inspector: Inspector, repeats: int) -> dict[str, float]:
    """Seconds of a look and of its parts at 320 px and at the profile's own size."""
    config = inspector.model.config.vision_config
    model = inspector.model.look_model
    own, times = config.image_side, {}
    for side in sorted({320, own}):
        config.image_side = side
        pixels = picture(side)
        tensor = inspector.processor.pixels(pixels)
        with torch.inference_mode():
            features = model.tower(tensor)
            times[f"tower alone at {side} px"] = median_seconds(lambda t=tensor: model.tower(t), repeats)
            alone = residuals(features.levels[1:], [None])
            times[f"selector at {side} px"] = median_seconds(lambda f=features, r=alone: model.selector(f, r), repeats)
            times[f"tower, selector, heatmap at {side} px"] = median_seconds(lambda t=tensor: model(t), repeats)
        times[f"look at {side} px, p50"] = median_seconds(lambda p=pixels: inspector.look(p), repeats)
    config.image_side = own
    return times


def word_times(inspector: Inspector, repeats: int) -> dict[str, float]:
    """Seconds to the first word of an answer, and words (tokens) a second."""
    look = inspector.look(picture(320))
    first, rates = [], []
    for _ in range(repeats + 1):
        start, pieces = time.perf_counter(), []
        for piece in inspector.ask(look, DEFAULT_QUESTION):
            pieces.append((time.perf_counter() - start, piece))
        count = len(inspector.processor.tokenizer("".join(piece for _, piece in pieces)).input_ids)
        first.append(pieces[0][0])
        if count > 1 and pieces[-1][0] > pieces[0][0]:
            rates.append((count - 1) / (pieces[-1][0] - pieces[0][0]))
    return {"first word, p50": statistics.median(first[1:]), "tokens a second": statistics.median(rates)}


def bandwidth_limit(inspector: Inspector) -> float:
    """Tokens a second if each token only read the language model's weights once at this machine's measured rate."""
    weights = sum(p.numel() * p.element_size() for p in inspector.model.language_model.parameters())
    block = torch.ones(64 * 2**20, dtype=torch.float32)
    return block.numel() * 4 / median_seconds(block.sum, 5) / weights


def main(
    profile: str = "embedded",
    repeats: Annotated[int, typer.Option(min=1)] = 15,
    batch: Annotated[bool, typer.Option("--batch", help="Also 200 pictures at once: minutes.")] = False,
    clips: Annotated[bool, typer.Option("--clips", help="Also clips of 10 s and 60 s.")] = False,
    scoring: Annotated[bool, typer.Option("--scoring", help="Also the scoring of 1000 predictions.")] = False,
    child_run: Annotated[bool, typer.Option("--child", hidden=True)] = False,
) -> None:
    """Measures and prints."""
    if child_run:
        child(profile)
        return
    started = start_up(profile)
    inspector = load(profile)
    rows: dict[str, tuple[float, str]] = {
        "ready to answer": (started["ready"], "s"),
        "first whole answer from process start": (started["answered"], "s"),
        "peak memory": (started["peak_mb"], "MB"),
    }
    rows |= {name: (value, "s") for name, value in look_times(inspector, repeats).items()}
    words = word_times(inspector, max(3, repeats // 3))
    rows["first word, p50"] = (words["first word, p50"], "s")
    rows["words"] = (words["tokens a second"], "tokens/s")
    rows["memory-bandwidth limit of the words"] = (bandwidth_limit(inspector), "tokens/s")
    if batch:
        found = batch_run(profile)
        rows["batch of 200 pictures"] = (found["seconds"], "s")
        rows["batch of 200 pictures, peak memory"] = (found["peak_mb"], "MB")
    if clips:
        rows |= {name: (value, "s") for name, value in clip_times(inspector).items()}
        rows["clip of 10 s at 480p, peak memory"] = (clip_peak(profile), "MB")
    if scoring:
        found = scoring_run()
        rows["scoring of 1000 predictions"] = (found["seconds"], "s")
        rows["scoring of 1000 predictions, peak memory"] = (found["peak_mb"], "MB")
    table = Table(
        "what", "measured", "bar", title=f"{profile} on {torch.get_num_threads()} threads, {platform.machine()}"
    )
    for name, (value, unit) in rows.items():
        bar = BARS.get(name)
        shown = f"{value:.3f} {unit}" if unit == "s" else f"{value:.0f} {unit}"
        table.add_row(
            name, shown, "" if bar is None else f"{bar[0]:g} {bar[1]} {'ok' if value <= bar[0] else 'MISSED'}"
        )
    Console(width=100).print(table)


if __name__ == "__main__":
    command.run(main)
