"""Predictions of a profile on a benchmark, one JSON line a sample; a second start goes on where the first stopped.

python -m eval.run TASK --data DIR --out RUN [--mode zero_shot|reference|batch] [--shots K] [--limit N]
                   [--ask/--no-ask] [--model looktwice|patchcore|padim|gaussian|wide_nn]
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from tqdm import tqdm

from assistant import command, load
from assistant.errors import LookTwiceError, RecordError
from assistant.inspector import Inspector
from eval.modes import Looker
from eval.peer_runs import PeerRun, peer_samples
from eval.peers import Model
from eval.predict import FRAMES, predict, predict_clip, predict_each, predict_exam, predict_yes_no, top_mean, truth_of
from eval.predictions import complete_lines, read_settings, write_settings
from eval.tasks import EVALUATED, Mode, Sample, Task, limited, records_of, samples_of, with_references

__all__ = ["Task", "predict", "records_of", "run", "top_mean"]
MOST_REFERENCES = 64
"""Pictures that a look is held against at most."""
TOGETHER = 16
"""Samples that are predicted at a time: their words are made side by side."""


def predicted(
    inspector: Inspector, task: Task, samples: Sequence[Sample], looker: Looker, ask: bool, frames: int
) -> list[tuple[dict[str, Any], dict[str, np.ndarray]]]:
    """Row and arrays of each of up to TOGETHER samples."""
    if all(_plain(task, sample) for sample in samples):
        return predict_each(
            inspector, [sample.record for sample in samples], ask, [looker.of(sample) for sample in samples]
        )
    return [_predicted(inspector, task, sample, looker, ask, frames) for sample in samples]


def _plain(task: Task, sample: Sample) -> bool:
    """Whether it is a picture with one answer, which can be predicted with others."""
    return sample.clip is None and sample.exam is None and task is not Task.visa_dr


def _predicted(
    inspector: Inspector, task: Task, sample: Sample, looker: Looker, ask: bool, frames: int
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    looking = None if sample.clip is not None and sample.clip.is_video else looker.of(sample)
    if sample.clip is not None:
        return predict_clip(inspector, sample.clip, looking, frames, looker.normal_of(sample))
    if sample.exam is not None:
        return predict_exam(inspector, sample.exam, looking, frames)
    return (predict_yes_no if task is Task.visa_dr else predict)(inspector, sample.record, ask, looking)


def run(
    task: Annotated[Task, typer.Argument(help="Benchmark or layout of the set.")],
    data: Annotated[Path, typer.Option(help="Folder of the set.")],
    out: Annotated[Path, typer.Option(help="Run folder: predictions.jsonl and maps.")],
    split: Annotated[
        str,
        typer.Option(
            help=f"Of a manifest, several with commas: fit or calibrate (parts of the training fold), val, or test "
            f"(sets that are only evaluated on); {EVALUATED} when empty. Other layouts have one test part."
        ),
    ] = "",
    sets: Annotated[str, typer.Option(help="Only these datasets, with commas between them; all when empty.")] = "",
    profile: str = "embedded",
    mode: Annotated[Mode, typer.Option(help="What a look may know besides the picture.")] = Mode.zero_shot,
    shots: Annotated[int, typer.Option(min=1, help="Normal references a product with --mode reference.")] = 1,
    ask: Annotated[bool, typer.Option(help="Ask for words as well.")] = True,
    limit: Annotated[int, typer.Option(min=0, help="At most this many samples, drawn with the seed; 0 means all.")] = 0,
    seed: int = 0,
    maps: Annotated[bool, typer.Option(help="Keep heatmaps, as compressed arrays.")] = True,
    frames: Annotated[
        int, typer.Option(min=0, help="Frames that are looked at of a clip in single frames; 0: all.")
    ] = FRAMES,
    model: Annotated[
        Model,
        typer.Option(
            help="The profile's own model, or a training-free peer on its tower, fitted to --shots normals a product "
            "with --mode reference and to all that are not evaluated without."
        ),
    ] = Model.looktwice,
) -> None:
    """Predicts and keeps what was predicted."""
    if mode is Mode.reference and shots > MOST_REFERENCES:
        raise LookTwiceError(f"--shots is {shots}.", f"A look takes 1 to {MOST_REFERENCES} references.")
    samples = limited(samples_of(task, data, split, sets), limit, seed)
    if not samples:
        wanted = f" of the split {split!r}" if split else ""
        raise RecordError(f"There are no records{wanted} in {data}.")
    if model is not Model.looktwice:
        samples, without = peer_samples(model, task, mode, data, samples, shots, seed)
        shots, mode, ask = shots if mode is Mode.reference else 0, Mode.reference, False
        if without:
            typer.echo(f"Left out, for {model} has no normals to be fitted to: {', '.join(without)}.", err=True)
    elif mode is Mode.reference:
        samples = with_references(task, data, samples, shots, seed)
    if mode is not Mode.zero_shot:
        samples = sorted(samples, key=lambda sample: sample.key[:2])  # pictures of one product share what is kept
    settings = {
        "task": str(task), "model": str(model), "mode": str(mode), "shots": shots if mode is Mode.reference else 0,
        "profile": profile, "split": split, "sets": sets, "limit": limit, "seed": seed, "ask": ask,
    }  # fmt: skip
    done = _checked(out, settings, samples)
    inspector = load(profile)
    (out / "maps").mkdir(parents=True, exist_ok=True)
    write_settings(out, settings)
    looker = Looker(inspector, mode, samples)
    peer = None if model is Model.looktwice else PeerRun(inspector, model)
    file = out / "predictions.jsonl"
    step = TOGETHER if all(_plain(task, sample) for sample in samples) else 1  # clips and exams take long: one by one
    bar = tqdm(desc=str(task), unit="sample", initial=done, total=len(samples))
    with file.open("a", encoding="utf-8") as lines, bar:
        for start in range(done, len(samples), step):
            some = samples[start : start + step]
            if peer is not None:
                results = [peer.predict(sample) for sample in some]
            else:
                results = predicted(inspector, task, some, looker, ask, frames)
            for index, (sample, (row, kept)) in enumerate(zip(some, results, strict=True), start=start):
                if maps:
                    record = sample.record or (sample.exam and sample.exam.record)
                    truth = truth_of(record, kept["heatmap"]) if record else {}
                    _keep(out / "maps" / f"{index:06d}.npz", kept | truth)
                lines.write(json.dumps(row) + "\n")
            lines.flush()
            bar.update(len(some))
    typer.echo(f"wrote {file}: next, python -m eval.score {out}")


def _checked(out: Path, settings: dict[str, Any], samples: list[Sample]) -> int:
    """How many samples are predicted already.

    Raises:
        RecordError: the folder holds predictions of other samples, or of the same ones made otherwise.
    """
    rows = [json.loads(line) for line in complete_lines(out / "predictions.jsonl")]
    names = [(row.get("dataset"), row.get("category"), row.get("image")) for row in rows]
    if names != [sample.key for sample in samples[: len(names)]]:  # another set, split, limit or seed than before
        raise RecordError(f"{out} holds predictions of other pictures.", "Name another folder with --out.")
    before = {"model": str(Model.looktwice)} | read_settings(out)  # runs from before there were peers name no model
    for name in ("task", "model", "mode", "shots", "profile", "ask"):
        if rows and len(before) > 1 and before.get(name) != settings[name]:
            raise RecordError(
                f"{out} holds predictions with {name} {before.get(name)}, not {settings[name]}.",
                "Name another folder with --out.",
            )
    return len(rows)


def _keep(file: Path, arrays: dict[str, np.ndarray]) -> None:
    """Written aside and renamed: after a kill there is a whole file or none."""
    aside = file.with_name(f".{file.name}.partial")
    with aside.open("wb") as opened:
        np.savez_compressed(opened, **arrays | {"heatmap": arrays["heatmap"].astype(np.float16)})
    os.replace(aside, file)


if __name__ == "__main__":
    command.run(run)
