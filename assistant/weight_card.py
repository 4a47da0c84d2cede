"""The model card of a OneVision weights folder, generated from the files that lie in it: nothing is stated by heart."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from assistant.errors import WeightsError
from assistant.profiles import Profile
from assistant.weights import ADAPTER_FOLDER, CALIBRATION_FILE, FAMILIAR_FILE, LANGUAGE_FILE, LOOK_FILE

CARD = "README.md"
TRAINING_FILE = "training.json"
"""What the trainings left: stage -> {"recipe", "sets": {name: {"count", "licences"}}}."""
FIGURES_FILE = "metrics.json"
"""Figures of a run of `eval.score`, when somebody has put them there."""
UNKNOWN = "not stated"
LIMITS = (
    "A verdict is advice, not an acceptance test.",
    "A part that is missing from, or wrongly placed in, a product the model has never seen is not known as an anomaly.",
    "The words are a language model's: where they and the map disagree, trust the map.",
)


def write_card(profile: Profile, weights: Path) -> Path:
    """Writes README.md beside the weights and returns it; a card that somebody wrote by hand is kept.

    Raises:
        WeightsError: the folder is not there or cannot be written.
    """
    file = weights / CARD
    try:
        if file.is_file() and "generated: true" not in file.read_text(encoding="utf-8")[:400]:
            return file
        file.write_text(card_of(profile, weights), encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise WeightsError(f"The card cannot be written to {weights.name}.") from None
    return file


def card_of(profile: Profile, weights: Path) -> str:
    """The card's Markdown, with the metadata block the hub reads."""
    training, figures = _read(weights / TRAINING_FILE), _read(weights / FIGURES_FILE)
    # a set that states none may not be passed off under the licence of another
    stated = {tuple(one["licences"]) for stage in training.values() for one in stage["sets"].values()}
    licences = stated.pop() if len(stated) == 1 else ()
    licence = licences[0].lower() if len(licences) == 1 else "other"
    adapted = (weights / ADAPTER_FOLDER / "adapter_config.json").is_file()
    held = [
        (LOOK_FILE, "selector" + (" and heatmap head" if _headed(weights) else "")),
        (CALIBRATION_FILE, "thresholds and scales"),
        (FAMILIAR_FILE, "what known pictures look like as wholes"),
        (LANGUAGE_FILE, "projector"),
        (f"{ADAPTER_FOLDER}/", "LoRA of the language model"),
    ]
    there = [f"- `{name}`: {what}" for name, what in held if (weights / name).exists()]
    lines = [
        "---",
        "generated: true",
        "library_name: peft" if adapted else "library_name: transformers",
        f"base_model: {profile.checkpoint if not Path(profile.checkpoint).is_absolute() else UNKNOWN}",
        f"license: {licence}",
        "tags: [anomaly-detection, visual-inspection, looktwice]",
        "---",
        "",
        f"# LookTwice weights for {_name(profile)}",
        "",
        "Whether something is wrong in a picture, where and why. Load them by this repository's name or path:",
        "",
        "```python",
        "from assistant import load",
        "",
        f'inspector = load("{_name(profile)}", adapter="<this repository>")',
        "```",
        "",
        *there,
        "",
        "## Data and licences",
        "",
        *_data(training),
        "",
        "## Figures",
        "",
        *_figures(figures),
        "",
        "## Limits",
        "",
        *(f"- {limit}" for limit in LIMITS),
        "",
    ]
    return "\n".join(lines)


def _name(profile: Profile) -> str:
    return profile.name if not Path(profile.checkpoint).is_absolute() else "a LLaVA-OneVision checkpoint"


def _headed(weights: Path) -> bool:
    return "heatmap" in _read(weights / "config.json").get("parts", ["heatmap"])


def _data(training: dict[str, Any]) -> list[str]:
    if not training:
        return ["What these weights were trained on is not recorded here."]
    lines = ["| stage | set | samples | licence |", "| --- | --- | --: | --- |"]
    for stage, facts in sorted(training.items()):
        for name, one in sorted(facts["sets"].items()):
            lines.append(
                f"| {stage} | {_cell(name)} | {one['count']} | {_cell(', '.join(one['licences']) or UNKNOWN)} |"
            )
    return [
        *lines,
        "",
        "The weights may be used as far as every licence of their data and of the base model lets them.",
    ]


def _figures(figures: dict[str, Any]) -> list[str]:
    numbers = {name: value for name, value in figures.get("mean", {}).items() if isinstance(value, int | float)}
    if not numbers:
        return ["None measured: run `python -m eval.run` and `python -m eval.score`, and put metrics.json beside this."]
    return [
        "| figure | value |",
        "| --- | --: |",
        *(f"| {_cell(name)} | {value:.3f} |" for name, value in numbers.items()),
    ]


def _cell(text: str) -> str:
    return str(text).replace("|", "/").replace("\n", " ")


def _read(file: Path) -> dict[str, Any]:
    if not file.is_file():
        return {}
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(values, dict):
            raise ValueError("no object")
        return values
    except (OSError, ValueError):
        raise WeightsError(f"The file {file.name} of {file.parent.name} cannot be read.") from None
