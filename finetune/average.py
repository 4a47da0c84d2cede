"""The mean of the weights of several look runs that went on from each other: steadier on products that none has seen.

    python -m finetune.average FILE FILE ... [--profile NAME]

Model soups (Wortsman et al., ICML 2022, arXiv 2203.05482): runs from one start lie in one basin, where the mean is as
good on what they know and better on what they do not. What counts references and names kinds is fitted afterwards.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import torch
import typer
from torch import Tensor

from assistant.command import run
from assistant.errors import WeightsError
from assistant.profiles import read_profile
from assistant.weights import LOOK_FILE, load_tensors, save_tensors


def average(parts: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Mean of tensors of the same names and shapes, in their own dtypes.

    Raises:
        WeightsError: names or shapes differ; names the first one.
    """
    for part in parts[1:]:
        for name in sorted(parts[0].keys() | part.keys()):
            if name not in part or name not in parts[0] or part[name].shape != parts[0][name].shape:
                raise WeightsError(f"The weights do not belong together: {name} differs.")
    return {
        name: torch.stack([part[name].double() for part in parts]).mean(dim=0).to(first.dtype).contiguous()
        for name, first in parts[0].items()
    }


def main(
    files: Annotated[list[Path], typer.Argument(help="look.safetensors of two or more runs.")],
    profile: Annotated[str, typer.Option(help="Its look.safetensors gets the mean.")] = "embedded",
) -> None:
    """Averages look weights."""
    if len(files) < 2:
        raise WeightsError("A mean needs two files of weights or more.")
    target = read_profile(profile).weights / LOOK_FILE
    save_tensors(average([load_tensors(file) for file in files]), target)
    typer.echo(f"wrote {target}: the mean of {len(files)} runs")


if __name__ == "__main__":
    run(main)
