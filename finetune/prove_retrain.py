"""Does it learn from corrections? Twenty of them on a product that no weight has seen, by the page's own way.

    python -m finetune.prove_retrain --data DIR [--out RUN]

A user meets dials (`data.dials`), corrects twenty that the model judges wrong, or else least surely, and trains. Judged
are fresh dials and validation pictures that had no part in choosing the weights. Everything lies in the run's folder:
the user's own corrections and weights are not touched.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from PIL import Image

from assistant.cache import DATA_VARIABLE
from assistant.calibration import Calibration
from assistant.command import run
from assistant.corrections import Correction, CorrectionStore
from assistant.errors import RecordError
from assistant.profiles import read_profile
from assistant.versions import resolved
from assistant.weights import CALIBRATION_FILE, LOOK_FILE, LOOK_PARTS, load_parts
from data.dials import PRODUCT, draw_dials
from data.feedback import write_export
from data.schema import Record
from finetune.corrected import Figures, few, judge
from finetune.features import make_features, read_batch
from finetune.records import RecordSamples, training_records
from finetune.retrain import main as retrain
from finetune.retrain import stored_calibration
from finetune.stage import new_model

CORRECTIONS = 20
OFF = 0.01
"""How far the mean figure of the other pictures may lie under the old one: another draw of them moves it further."""


def main(
    data: Annotated[Path, typer.Option(help="The set that the weights know.")],
    out: Annotated[Path, typer.Option(help="Run folder, made anew.")] = Path("runs/prove-retrain"),
    profile: str = "embedded",
    met: Annotated[int, typer.Option(min=CORRECTIONS, help="Dials the user meets.")] = 60,
    fresh: Annotated[int, typer.Option(min=2, help="Dials that are judged.")] = 80,
    val: Annotated[int, typer.Option(min=1, help="Validation pictures of each set and label, twice.")] = 8,
    samples: int = 256,
    steps: int = 60,
    word_steps: int = 8,
) -> None:
    """Corrects, trains, judges; exit code 1 when it did not learn or forgot."""
    shutil.rmtree(out, ignore_errors=True)
    os.environ[DATA_VARIABLE] = str(out / "data")
    store = CorrectionStore()
    given = _correct(store, profile, out, met)
    write_export(store, out / "corrections")
    records = training_records(data, read_profile(profile))
    held = [record for record in records if record.split == "val"]
    seen = set(few(held, val))
    others = few([record for record in held if record not in seen], val)
    looks = {"fresh dials": _written(draw_dials(fresh, 2), out / "fresh"), "other validation pictures": others}
    before = {name: _judged(profile, rows, out / f"judged-{n}") for n, (name, rows) in enumerate(looks.items())}
    retrain(
        corrections=out / "corrections", data=data, profile=profile, out=out / "run", samples=samples, steps=steps,
        val=val, word_steps=word_steps,
    )  # fmt: skip
    after = {
        name: _judged(resolved(profile), rows, out / f"judged-{n}") for n, (name, rows) in enumerate(looks.items())
    }
    figures: dict[str, Any] = {"corrections": given, "model": resolved(profile)}
    for name in looks:
        figures[name] = {"before": asdict(before[name]), "after": asdict(after[name])}
        for key, value in asdict(before[name]).items():
            typer.echo(f"{name}, {key}: {value:.3f} -> {asdict(after[name])[key]:.3f}")
    (out / "proof.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    dials, rest = (tuple(part[name] for part in (before, after)) for name in looks)
    learnt = dials[1].error < dials[0].error
    kept = rest[1].overall >= rest[0].overall - OFF
    typer.echo(
        f"learnt: {'yes' if learnt else 'no'}; the rest {'holds' if kept else 'fell'}; wrote {out / 'proof.json'}"
    )
    if not (learnt and kept):
        raise typer.Exit(1)


def _correct(store: CorrectionStore, profile: str, out: Path, met: int) -> dict[str, int]:
    """Keeps CORRECTIONS corrections of the dials that the model judges worst; how many of each kind."""
    dials = draw_dials(met, 1)
    rows = _written(dials, out / "met")
    chosen = read_profile(resolved(profile))
    calibration = Calibration.load(chosen.weights / CALIBRATION_FILE)
    model = new_model(chosen)
    load_parts(model, LOOK_PARTS, chosen.weights / LOOK_FILE)
    files = make_features(model, RecordSamples(rows, model.config.vision_config), out / "met-features", "dials met")
    scores = []
    with torch.inference_mode():
        for batch in map(read_batch, files):
            output = model.single(batch.features, batch.residuals)
            scores.append(calibration.score(float(output.score_logit[0])))
    wrong = [(score >= calibration.threshold) != bool(row.label) for score, row in zip(scores, rows, strict=True)]
    order = sorted(range(met), key=lambda n: (not wrong[n], -abs(scores[n] - rows[n].label)))
    for number in order[:CORRECTIONS]:
        picture, mask = dials[number]
        kind = "missed" if rows[number].label else "normal"
        said = "anomalous" if scores[number] >= calibration.threshold else "normal"
        store.add(
            Correction(
                kind, picture, mask if rows[number].label else None, f"dial {number}.png", PRODUCT, verdict=said,
                score=scores[number], threshold=calibration.threshold, profile=chosen.name,
            ),
            consent=True,
        )  # fmt: skip
    taken = order[:CORRECTIONS]
    missed = sum(rows[number].label for number in taken)
    return {"missed": missed, "normal": len(taken) - missed, "were wrong": sum(wrong[number] for number in taken)}


def _written(dials: list[tuple[np.ndarray, np.ndarray]], folder: Path) -> list[Record]:
    """Dials on disk, as records."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for number, (picture, mask) in enumerate(dials):
        image, marked = folder / f"{number:04d}.png", folder / f"{number:04d}-mask.png"
        Image.fromarray(picture).save(image)
        Image.fromarray(mask).save(marked)
        label = int(mask.any())
        rows.append(Record(image, label, PRODUCT, PRODUCT, "unknown" if label else "good", marked if label else None))
    return rows


def _judged(name: str, rows: list[Record], features: Path) -> Figures:
    """Figures of a model; its tower sees the pictures once."""
    if not rows:
        raise RecordError("There are too few validation pictures.", "Ask for fewer with --val.")
    chosen = read_profile(resolved(name))
    model = new_model(chosen)
    load_parts(model, LOOK_PARTS, chosen.weights / LOOK_FILE)
    files = make_features(model, RecordSamples(rows, model.config.vision_config), features, features.name)
    return judge(model, *stored_calibration(chosen), files)


if __name__ == "__main__":
    run(main)
