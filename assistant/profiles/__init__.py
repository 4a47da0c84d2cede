"""Profiles: which tower, language model and weights make up a model. Reading them needs no torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import yaml

from assistant.errors import ProfileError

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
    """

    name: str
    tower_package: str
    language_package: str
    dtype: str
    weights: Path
    training_sets: tuple[str, ...] | None = None


def profile_names() -> tuple[str, ...]:
    """Names of all profiles, sorted."""
    return tuple(sorted(file.stem for file in FOLDER.glob("*.yaml")))


def read_profile(name: str) -> Profile:
    """The profile of this name.

    Raises:
        ProfileError: there is none; the sentence lists those there are.
    """
    if name not in profile_names():
        raise ProfileError(f"There is no profile {name!r}.", f"Profiles: {', '.join(profile_names())}.")
    values = yaml.safe_load((FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))
    return Profile(
        name=name,
        tower_package=values["tower"]["package"],
        language_package=values["language"]["package"],
        dtype=values["language"]["dtype"],
        weights=ROOT / values["weights"],
        training_sets=tuple(values["training_sets"]) if "training_sets" in values else None,
    )
