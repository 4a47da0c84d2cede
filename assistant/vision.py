"""Vision towers: pixels to levels of patch features and final tokens. One adapter a family of towers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import timm
import torch
import torch.nn.functional as F
from timm.layers import Conv2dSame
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from assistant.configuration import LookTwiceVisionConfig
from assistant.errors import WeightsError
from assistant.own_residual import own_maps


@dataclass(frozen=True, eq=False)
class VisionFeatures:
    """What a tower sees.

    Attributes:
        levels: one [B, C_l, H_l, W_l] tensor a level, finest first.
        tokens: [B, N, D] final tokens, row by row.
        grid: (rows, columns) of the tokens; rows * columns = N.
        grey: [n, H, W] uint8 of `registration.grey_of`, of the pictures without their mirror images, where it was made.
        new: [n] 0..1 how far each picture is of a product that the model has not learned from, where that was asked.
        turned: [turns n, C, w, h] of level `own_residual.ODD_LEVEL` of the pictures' quarter turns, where one is new.
    """

    levels: tuple[Tensor, ...]
    tokens: Tensor
    grid: tuple[int, int]
    grey: Tensor | None = field(default=None, kw_only=True)
    new: Tensor | None = field(default=None, kw_only=True)
    turned: Tensor | None = field(default=None, kw_only=True)

    @cached_property
    def own(self) -> tuple[Tensor, ...]:
        """`own_residual.own_maps` of the residual levels; made once, whatever the pictures are held against."""
        return own_maps(self.levels[1:])


def describe(tokens: Tensor, grid: tuple[int, int], pooled: Sequence[int]) -> Tensor:
    """What a whole picture looks like: final tokens [B, N, D] on a grid -> [B, D] unit vectors.

    Pooled in the cells of `pooled` first, as the look's visual tokens are, so that both give the same.
    """
    square = tokens.transpose(1, 2).unflatten(2, grid)
    return F.normalize(F.adaptive_avg_pool2d(square, tuple(pooled)).mean(dim=(2, 3)), dim=1)


class TimmTower(nn.Module):
    """A convolutional tower from timm, frozen: its batch statistics never move.

    Raises:
        WeightsError: the backbone's channels or strides are not those of the configuration.
    """

    def __init__(self, config: LookTwiceVisionConfig) -> None:
        super().__init__()
        self.backbone = timm.create_model(
            config.backbone, pretrained=False, features_only=True, out_indices=tuple(config.out_indices)
        )
        found = (self.backbone.feature_info.channels(), self.backbone.feature_info.reduction())
        wanted = (list(config.channels), list(config.strides))
        if found != wanted:
            raise WeightsError(f"The tower {config.backbone} has channels and strides {found}, not {wanted}.")
        self.backbone.requires_grad_(False)
        self.eval()

    def fold(self) -> TimmTower:
        """Multiplies the frozen batch statistics into the convolutions: the same output in less time.

        Call it once, after the backbone has been filled; its tensors then have other names.
        """
        _fold(self.backbone)
        _evenly_padded(self.backbone)
        self.backbone.requires_grad_(False).to(memory_format=torch.channels_last)
        return self

    def train(self, mode: bool = True) -> TimmTower:
        """Stays in evaluation mode: the tower is frozen."""
        return super().train(False)

    def forward(self, pixels: Tensor) -> VisionFeatures:
        """[B, 3, H, W] normalised pixels, H and W multiples of the coarsest stride -> VisionFeatures in float32."""
        dtype = next(self.backbone.parameters()).dtype
        inputs = pixels.to(dtype=dtype, memory_format=torch.channels_last)
        with torch.no_grad():
            levels = tuple(level.float().contiguous() for level in self.backbone(inputs))  # [B, C_l, H_l, W_l]
        last = levels[-1]
        return VisionFeatures(levels, last.flatten(2).transpose(1, 2), (last.shape[2], last.shape[3]))

    def early(self, pixels: Tensor, level: int) -> Tensor:
        """One of the levels of `forward` alone, [B, C_l, H_l, W_l]: what comes after it takes no time."""
        backbone = self.backbone
        stages = int(backbone.feature_info.module_name()[level].removeprefix("blocks.")) + 1
        inputs = pixels.to(dtype=next(backbone.parameters()).dtype, memory_format=torch.channels_last)
        with torch.no_grad():
            return backbone.blocks[:stages](backbone.bn1(backbone.conv_stem(inputs))).float().contiguous()


def _fold(module: nn.Module) -> None:
    """Every batch norm that follows a convolution goes into it; its activation, which timm keeps in it, stays."""
    convolution: tuple[str, nn.Conv2d] | None = None
    for name, child in list(module.named_children()):
        if isinstance(child, nn.Conv2d):
            convolution = (name, child)
        elif isinstance(child, nn.BatchNorm2d) and convolution is not None:
            setattr(module, convolution[0], fuse_conv_bn_eval(convolution[1], child))
            setattr(module, name, getattr(child, "act", nn.Identity()))
            convolution = None
        else:
            _fold(child)
            convolution = None


def _evenly_padded(module: nn.Module) -> None:
    """Every convolution of stride 2 that copies its input into a larger one, to pad it at the end, pads by itself.

    TensorFlow's padding of an even side has one row more after it than before it. With a first row of zeros in the
    kernel the same comes from equal rows at both ends, which the convolution needs no copy for. Sides are even, for
    they are multiples of the coarsest stride.
    """
    for name, child in list(module.named_children()):
        size = child.kernel_size[0] if isinstance(child, Conv2dSame) else 0
        if size % 2 and child.kernel_size == (size, size) and child.stride == (2, 2) and child.dilation == (1, 1):
            even = nn.Conv2d(
                child.in_channels, child.out_channels, size + 1, stride=2, padding=size // 2, groups=child.groups,
                bias=child.bias is not None, dtype=child.weight.dtype,
            )  # fmt: skip
            with torch.no_grad():
                even.weight.copy_(F.pad(child.weight, (1, 0, 1, 0)))
                if child.bias is not None:
                    even.bias.copy_(child.bias)
            setattr(module, name, even)
        else:
            _evenly_padded(child)
