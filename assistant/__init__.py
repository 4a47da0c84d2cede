"""LookTwice: whether something is wrong in a picture, where and why.

    from assistant import load
    inspector = load("embedded")

Importing this package loads nothing heavy; `load` does.
"""

from __future__ import annotations

from os import PathLike
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from assistant.inspector import Inspector

__all__ = ["__version__", "load"]
__version__ = "0.1.0"


def load(
    profile: str = "embedded",
    *,
    quantization: str | None = None,
    device_map: str | None = None,
    adapter: str | PathLike[str] | None = None,
    share_gpu: float | None = None,
) -> Inspector:
    """A ready inspector for a profile; takes a few seconds.

    Args:
        profile: name of a file in `assistant/profiles`, without `.yaml`; or a folder or hub repository with a
            LLaVA-OneVision checkpoint, or with weights of ours for one.
        quantization: "4bit", for OneVision profiles.
        device_map: as transformers takes it, for OneVision profiles; "auto" where there is a GPU.
        adapter: folder or hub repository with weights of ours, for OneVision profiles.
        share_gpu: most of each GPU's memory that this process may take, over 0 and at most 1, for OneVision profiles.

    Raises:
        ProfileError: no such profile, its packages are not installed, it takes none of these options, or no GPU.
        WeightsError: its weights are missing or damaged, 4 bits cannot run here, or they do not fit.
    """
    from assistant.inspector import Inspector

    asked = {"quantization": quantization, "device_map": device_map, "adapter": adapter, "share_gpu": share_gpu}
    return Inspector.load(profile, **{name: value for name, value in asked.items() if value is not None})
