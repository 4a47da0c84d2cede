"""LookTwice: whether something is wrong in a picture, where and why.

    from assistant import load
    inspector = load("embedded")

Importing this package loads nothing heavy; `load` does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from assistant.inspector import Inspector

__all__ = ["load"]


def load(profile: str = "embedded") -> Inspector:
    """A ready inspector for a profile; takes a few seconds.

    Args:
        profile: name of a file in `assistant/profiles`, without `.yaml`.

    Raises:
        ProfileError: no such profile, or its packages are not installed.
        WeightsError: its weights are missing or damaged.
    """
    from assistant.inspector import Inspector

    return Inspector.load(profile)
