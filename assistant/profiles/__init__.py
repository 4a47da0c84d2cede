"""Profiles: which tower, language model and weights make up a model. Reading them needs no torch."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from pathlib import Path

import yaml

from assistant.errors import ProfileError, WeightsError
from assistant.versions import SHIPPED, split_name, version_folder, versions

FOLDER = Path(__file__).parent
ROOT = FOLDER.parent.parent


@dataclass(frozen=True)
class Profile:
    """One profile.

    Attributes:
        tower_package: import name of the package that carries the tower's state dict.
        language_package: import name of the package that carries the language model.
        dtype: torch dtype name of the language model, or "auto".
        weights: folder with our own weights.
        training_sets: names of the only sets the weights may learn from; None for all that are at hand.
        checkpoint: folder or hub name of a LLaVA-OneVision checkpoint, "" for a profile of packaged parts.
    """

    name: str
    tower_package: str
    language_package: str
    dtype: str
    weights: Path
    training_sets: tuple[str, ...] | None = None
    checkpoint: str = ""


def profile_names() -> tuple[str, ...]:
    """Names of all profiles, sorted."""
    return tuple(sorted(file.stem for file in FOLDER.glob("*.yaml")))


def read_profile(name: str) -> Profile:
    """The profile of this name; or of a folder or hub repository with a LLaVA-OneVision checkpoint or weights for one.

    "embedded@2026-11-25" is a profile with weights that were trained on this machine, see `versions`; without a
    version the weights are the shipped ones.

    Raises:
        ProfileError: there is none; the sentence lists those there are.
        WeightsError: there is no such version.
    """
    base, version = split_name(name)
    if base in profile_names() and "@" in name:
        shipped = read_profile(base)
        if version == SHIPPED:
            return shipped
        if version not in versions(base):
            raise WeightsError(
                f"There are no weights {version!r} of {base}.", f"There are: {', '.join(versions(base))}."
            )
        return replace(shipped, name=name, weights=version_folder(base, version))
    if name not in profile_names():
        return _elsewhere(name)
    values = yaml.safe_load((FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))
    return Profile(
        name=name,
        tower_package=values.get("tower", {}).get("package", ""),
        language_package=values["language"].get("package", ""),
        dtype=values["language"]["dtype"],
        weights=ROOT / values["weights"],
        training_sets=tuple(values["training_sets"]) if "training_sets" in values else None,
        checkpoint=values.get("checkpoint", ""),
    )


def _elsewhere(name: str) -> Profile:
    """A profile made of a folder (a checkpoint, or weights that name theirs) or of the name of a hub repository."""
    folder = Path(name)
    if (folder / "config.json").is_file():
        try:
            values = json.loads((folder / "config.json").read_text(encoding="utf-8"))
            kind, base = values.get("model_type"), values.get("base", "")
        except (OSError, ValueError, AttributeError):
            raise ProfileError(f"The configuration of the folder '{folder.name}' cannot be read.") from None
        if kind == "llava_onevision":
            return Profile(folder.name, "", "", "auto", folder / "looktwice", checkpoint=str(folder))
        if kind == "looktwice_onevision" and base:
            return Profile(folder.name, "", "", "auto", folder, checkpoint=base)
        raise ProfileError(f"The folder '{folder.name}' holds no LLaVA-OneVision checkpoint and no weights for one.")
    if re.fullmatch(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", name) and not folder.parent.is_dir():
        return Profile(name, "", "", "auto", ROOT / "weights" / name.split("/")[1], checkpoint=name)
    raise ProfileError(f"There is no profile {name!r}.", f"Profiles: {', '.join(profile_names())}.")
