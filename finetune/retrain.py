"""A short training with corrections: heads and LoRA go on from the weights that answer now.

    python -m finetune.retrain --corrections DIR --data DIR [--profile NAME] [--out RUN]

New weights are a version beside the shipped ones, and answer only when the pictures held out for validation are judged
no worse than before; see `versions`. `--go-back` lets the shipped ones answer again.
"""

from __future__ import annotations

import json
import random
import shutil
import tempfile
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import torch
import torch.nn.functional as F
import typer

from assistant.calibration import Calibration
from assistant.command import run
from assistant.configuration import LookTwiceConfig
from assistant.errors import CorrectionError, RecordError
from assistant.familiar import SCENE, Familiar
from assistant.look_model import LookModel
from assistant.profiles import Profile, read_profile
from assistant.versions import FACTS_FILE, SHIPPED, joined, resolved, split_name, use, version_folder
from assistant.weights import (
    CALIBRATION_FILE,
    FAMILIAR_FILE,
    LOOK_FILE,
    LOOK_PARTS,
    load_parts,
    read_config,
    save_parts,
)
from data.layouts_talks import Talk, read_talks
from data.readers import read_manifest
from data.schema import Record
from finetune.corrected import CorrectedSamples, Figures, few, judge
from finetune.corrected_words import teach_words
from finetune.features import make_features, read_batch
from finetune.look import BATCH, fit
from finetune.recalibrate import judged, recalibrated
from finetune.records import RecordSamples, training_records
from finetune.stage import new_model

MIXES = (1.0, 0.75, 0.5, 0.25)
"""How far the weights go from the old to the newly trained ones: WiSE-FT (Wortsman et al., CVPR 2022)."""
MOST_FALL = 0.02
"""Of one single figure of the validation pictures; their mean may not fall at all."""
CALIBRATED = 12
"""Pictures of each set and label, held out for calibration, that say where scores have moved."""
DRAWN_VAL = 96
"""Drawn pictures that stand for validation where no set is given."""


def main(
    corrections: Annotated[Path | None, typer.Option(help="Folder of `data.feedback export`.")] = None,
    data: Annotated[Path | None, typer.Option(help="The set that the weights know; without it drawn products.")] = None,
    profile: Annotated[str, typer.Option(help="The weights that answer for it are trained on.")] = "embedded",
    out: Annotated[Path, typer.Option(help="Run folder.")] = Path("runs/retrain"),
    samples: Annotated[int, typer.Option(min=BATCH, help="Pictures the tower looks at.")] = 384,
    steps: Annotated[int, typer.Option(min=1, help=f"Of the heads, batches of {BATCH}.")] = 72,
    rate: Annotated[float, typer.Option(help="Highest learning rate of the heads.")] = 6e-4,
    val: Annotated[int, typer.Option(min=1, help="Validation pictures of each set and label.")] = 10,
    word_steps: Annotated[int, typer.Option(min=0, help="Of the LoRA; 0 leaves the words as they are.")] = 24,
    seed: int = 0,
    go_back: Annotated[bool, typer.Option("--go-back", help="Let the shipped weights answer again.")] = False,
) -> None:
    """Trains with corrections and keeps what is better."""
    name, _ = split_name(profile)
    if go_back:
        use(name, SHIPPED)
        typer.echo(f"the shipped weights of {name} answer again")
        return
    if corrections is None:
        raise CorrectionError("No corrections are named.", "Give --corrections a folder of data.feedback export.")
    random.seed(seed)
    torch.manual_seed(seed)
    chosen = read_profile(resolved(profile))
    corrected, talks = read_corrections(corrections)
    records = training_records(data, chosen) if data is not None else []
    kept = retrain_look(chosen, corrected, records, out, samples=samples, steps=steps, rate=rate, val=val, seed=seed)
    facts: dict[str, Any] = {"made": datetime.now(UTC).isoformat(timespec="seconds"), "from": chosen.name}
    facts |= {"corrections": len(corrected) + len(talks), "words": len(talks), "seed": seed} | kept
    table(facts)
    words = bool(talks) or facts["mix"] > 0
    if word_steps and words:
        made, said = teach_words(chosen, out, talks, steps=word_steps, seed=seed)
        facts["language"] = said
        typer.echo(f"loss of words, held / corrected: before {said['before']}, after {said['after']}")
    else:
        made = None
    if not facts["mix"] and made is None:
        typer.echo("nothing came out better: the weights stay as they are")
        return
    version = keep(name, chosen, out, made, facts)
    typer.echo(f"{joined(name, version)} answers from now on; --go-back lets the shipped weights answer again")


def read_corrections(folder: Path) -> tuple[list[Record], list[Talk]]:
    """Labelled pictures and conversations of an export, all of them to be learnt from.

    Raises:
        RecordError: it cannot be read.
        CorrectionError: it is empty.
    """
    corrected = [replace(record, split="fit") for record in read_manifest(folder)]
    talks = list(read_talks(folder)) if (folder / "conversations.json").is_file() else []
    if not corrected and not talks:
        raise CorrectionError(f"There are no corrections in {folder.name}.")
    return corrected, talks


def retrain_look(
    profile: Profile,
    corrected: list[Record],
    records: list[Record],
    out: Path,
    *,
    samples: int,
    steps: int,
    rate: float,
    val: int,
    seed: int,
) -> dict[str, Any]:
    """Trains the heads; writes look, calibration and what is familiar of the mix that is kept into `out`.

    Returns:
        Facts with figures before and after.

    Args:
        profile: of the weights to go on from.
        corrected: the corrections; with none of them nothing is trained and the mix is 0.
        records: of the set that the weights know, all splits; [] for drawn products alone.
        out: run folder, its features are made anew.
        samples, steps, rate, val, seed: see `main`.
    """
    stored = stored_calibration(profile)
    model = new_model(profile)
    load_parts(model, LOOK_PARTS, profile.weights / LOOK_FILE)
    for part in ("features", "val", "calibration", "corrected"):
        shutil.rmtree(out / part, ignore_errors=True)
    vision = model.config.vision_config
    fitted = [record for record in records if record.split == "fit"]
    held = few([record for record in records if record.split == "val"], val)
    if held:
        checks = make_features(model, RecordSamples(held, vision), out / "val", "validation")
    else:
        drawn = CorrectedSamples([], [], vision, DRAWN_VAL, BATCH, seed + 1)
        checks = make_features(model, drawn, out / "val", "drawn validation")
    own = make_features(model, RecordSamples(corrected, vision), out / "corrected", "corrections") if corrected else []
    kept_out = few([record for record in records if record.split == "calibrate"], CALIBRATED)
    told = make_features(model, RecordSamples(kept_out, vision), out / "calibration", "calibration") if kept_out else []
    mixed = CorrectedSamples(corrected, fitted, vision, samples // BATCH * BATCH, BATCH, seed)
    files = make_features(model, mixed, out / "features", "samples")
    before, standing = tuple(judge(model, *stored, part) for part in (checks, own)), judged(model, told)
    kept: dict[str, Any] = {
        "mix": 0.0,
        "val": {"before": asdict(before[0])},
        "corrected": {"before": asdict(before[1])},
    }
    kept["val_pictures"] = "held out of the set" if held else "drawn"
    old = {name: value.clone() for name, value in model.state_dict().items() if name.startswith(LOOK_PARTS)}
    best, after, measured = old, before, stored
    if corrected:
        shutil.rmtree(out / "look", ignore_errors=True)
        fit(
            model, files, [], out / "look", steps=steps, rate=rate, seed=seed, average=False, mix_style=False,
            save_steps=steps, changing={record.dataset for record in corrected},
        )  # fmt: skip
        model.eval()
        new = {name: value.clone() for name, value in model.state_dict().items() if name in old}
        for share in MIXES:
            fill(model, old, new, share)
            moved = recalibrated(*stored, standing, judged(model, told))
            found = tuple(judge(model, *moved, part) for part in (checks, own))
            if holds(before[0], found[0]) and better(after[1], found[1]):
                best, after, measured, kept["mix"] = mixture(old, new, share), found, moved, share
    kept["val"]["after"], kept["corrected"]["after"] = asdict(after[0]), asdict(after[1])
    model.load_state_dict(best, strict=False)
    save_parts(model, LOOK_PARTS, out / LOOK_FILE)
    calibration, familiar = measured
    calibration.save(out / CALIBRATION_FILE)
    if familiar is not None:
        familiar.save(out / FAMILIAR_FILE)
    return kept


def stored_calibration(profile: Profile) -> tuple[Calibration, Familiar | None]:
    """Calibration of a profile's weights, and what is familiar to them, None where they have none."""
    file = profile.weights / FAMILIAR_FILE
    size = read_config(profile.weights, LookTwiceConfig).vision_config.token_size
    familiar = Familiar.load(file, size) if file.is_file() else None
    return Calibration.load(profile.weights / CALIBRATION_FILE), familiar


def mixture(old: dict[str, torch.Tensor], new: dict[str, torch.Tensor], share: float) -> dict[str, torch.Tensor]:
    """(1 - share) of the old and `share` of the new weights; whole numbers are the new ones."""
    return {
        name: torch.lerp(old[name], value, share) if value.is_floating_point() else value for name, value in new.items()
    }


def fill(model: LookModel, old: dict[str, torch.Tensor], new: dict[str, torch.Tensor], share: float) -> None:
    """Gives a model the `mixture`."""
    model.load_state_dict(mixture(old, new, share), strict=False)


def holds(before: Figures, after: Figures) -> bool:
    """Whether the validation pictures are judged no worse: their mean figure does not fall, no single one by much."""
    names = ("image_auroc", "pixel_auroc", "balanced_accuracy")
    single = all(getattr(after, name) >= getattr(before, name) - MOST_FALL for name in names)
    return single and after.overall >= before.overall


def better(before: Figures, after: Figures) -> bool:
    """Whether corrected pictures are judged better: fewer errors, or as many with scores nearer to the truth."""
    return (after.error, after.distance) < (before.error, before.distance)


def keep(name: str, chosen: Profile, out: Path, language: Path | None, facts: dict[str, Any]) -> str:
    """Makes a version of the run's weights and lets it answer; its name.

    Args:
        name: the profile's, without a version.
        chosen: the weights that the training began with.
        out: has what `retrain_look` writes.
        language: folder with new language weights, None when the old ones stay.
        facts: what is written down about it.

    Raises:
        RecordError: the data folder cannot be written.
    """
    version = datetime.now(UTC).strftime("%Y-%m-%d-%H%M%S")
    folder = version_folder(name, version)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(dir=folder.parent, prefix="."))
        shutil.copytree(chosen.weights, aside, dirs_exist_ok=True, ignore=shutil.ignore_patterns(FACTS_FILE))
        for made in (LOOK_FILE, CALIBRATION_FILE, FAMILIAR_FILE):
            if (out / made).is_file():
                shutil.copy2(out / made, aside / made)
        if language is not None:
            shutil.copytree(language, aside, dirs_exist_ok=True)
        widen_familiar(chosen, aside, out / "corrected")
        (aside / FACTS_FILE).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
        aside.chmod(0o755)
        aside.replace(folder)
    except OSError:
        raise RecordError(f"The weights could not be kept in {folder.parent}.") from None
    use(name, version)
    return version


def widen_familiar(chosen: Profile, folder: Path, features: Path) -> None:
    """What was corrected is known from now on: its pictures as wholes join those that are familiar."""
    file = folder / FAMILIAR_FILE
    batches = sorted(features.glob("*.safetensors"))
    if not file.is_file() or not batches:
        return
    model = new_model(chosen)
    load_parts(model, LOOK_PARTS, chosen.weights / LOOK_FILE)
    seen = []
    with torch.inference_mode():
        for batch in map(read_batch, batches):
            seen.append(F.normalize(model.judge(batch.features, batch.residuals).tokens.seen, dim=1))
    known = Familiar.load(file, seen[0].shape[1])
    centres = torch.cat([known.centres, *seen])
    products = torch.cat([known.products, torch.full((len(centres) - len(known.centres),), SCENE)])
    replace(known, centres=centres, products=products).save(file)


def table(facts: dict[str, Any]) -> None:
    """Figures before and after, in a terminal."""
    for part in ("val", "corrected"):
        before, after = facts[part]["before"], facts[part]["after"]
        said = ", ".join(f"{name} {before[name]:.3f} -> {after[name]:.3f}" for name in before if name != "pictures")
        typer.echo(f"{part} ({before['pictures']} pictures): {said}")
    typer.echo(f"share of the new weights that is kept: {facts['mix']:.2f}")


if __name__ == "__main__":
    run(main)
