"""Weights that were trained on this machine, beside the shipped ones: which there are, and which of them answer.

A model is named by its profile and, where the weights are not the shipped ones, their version: "embedded@2026-11-25".
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

from assistant.cache import data_folder
from assistant.errors import WeightsError

SHIPPED = "shipped"
FACTS_FILE = "version.json"
_CURRENT = "current"
_NAME = re.compile(r"[0-9A-Za-z][0-9A-Za-z.-]{0,39}")


def split_name(model: str) -> tuple[str, str]:
    """("embedded", "2026-11-25") of "embedded@2026-11-25"; the version is SHIPPED where none is named."""
    profile, _, version = model.partition("@")
    return profile, version or SHIPPED


def joined(profile: str, version: str) -> str:
    """The model's name; the shipped weights go without a version."""
    return profile if version == SHIPPED else f"{profile}@{version}"


def version_folder(profile: str, version: str) -> Path:
    """Where a version lies, or is to lie; raises WeightsError for a name that none can have."""
    if not _NAME.fullmatch(version) or not _NAME.fullmatch(profile) or version == _CURRENT:
        raise WeightsError("There are no such weights.", "Versions are named by letters, digits, dots and dashes.")
    return data_folder() / "weights" / profile / version


def versions(profile: str) -> tuple[str, ...]:
    """SHIPPED and the versions trained here, oldest first."""
    folder = data_folder() / "weights" / profile
    if not _NAME.fullmatch(profile) or not folder.is_dir():
        return (SHIPPED,)
    return (SHIPPED, *sorted(child.name for child in folder.iterdir() if (child / FACTS_FILE).is_file()))


def facts(profile: str, version: str) -> dict[str, Any]:
    """What is written down about a version: what it was trained on, and figures before and after; {} for none."""
    try:
        return dict(json.loads((version_folder(profile, version) / FACTS_FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return {}


def current(profile: str) -> str:
    """The version that answers when none is named; SHIPPED when the one that was chosen has gone."""
    try:
        chosen = (data_folder() / "weights" / profile / _CURRENT).read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return SHIPPED
    return chosen if chosen in versions(profile) else SHIPPED


def use(profile: str, version: str) -> None:
    """Lets a version answer from now on, wherever none is named; raises WeightsError when there is none."""
    if version not in versions(profile):
        raise WeightsError(f"There are no weights {version!r} of {profile}.", f"There are: {_listed(profile)}.")
    file = data_folder() / "weights" / profile / _CURRENT
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        aside = file.with_name(f".{_CURRENT}.{os.getpid()}")
        aside.write_text(version, encoding="ascii")
        aside.replace(file)
    except OSError:
        raise WeightsError("Which weights answer could not be written down.", "Check the data folder.") from None


def _listed(profile: str) -> str:
    return ", ".join(versions(profile))


def resolved(model: str) -> str:
    """The full name of a model: without a version, the one that answers is named."""
    profile, _, version = model.partition("@")
    return joined(profile, version or current(profile))
