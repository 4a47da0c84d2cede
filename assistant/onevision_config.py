"""Sizes of what is ours beside a LLaVA-OneVision checkpoint; they follow from the checkpoint's own configuration."""

from __future__ import annotations

from typing import Any

from transformers import LlavaOnevisionConfig, PreTrainedConfig

from assistant.configuration import LookTwiceHeatmapConfig, LookTwiceSelectorConfig, LookTwiceVisionConfig

PAPER_TAPS = (6, 12, 18, 24)
"""Blocks of SigLIP so400m, counted from 0, after which Anomaly-OneVision taps the tower."""
PARTS = ("selector", "heatmap")
"""What can be trained of a look; kinds and fusion come with the heatmap head."""


class OneVisionConfig(PreTrainedConfig):
    """Selector and heatmap head on the SigLIP tower of a LLaVA-OneVision checkpoint.

    Args:
        taps: blocks of the tower, counted from 0, after which its features become levels.
        vision_config: channels and strides of the levels, derived from the checkpoint.
        selector_config, heatmap_config: as of the embedded profile; by default the paper's sizes.
        parts: which of PARTS are trained. Without "heatmap" the stitched significance map is the heatmap, and the
            selector's score the score: what an imported expert gives.
        base: hub name of the checkpoint these weights belong to, "" when it is not known.
        visual_grid: cells of the base view that a picture's descriptor is pooled to.
    """

    model_type = "looktwice_onevision"
    sub_configs = {
        "vision_config": LookTwiceVisionConfig,
        "selector_config": LookTwiceSelectorConfig,
        "heatmap_config": LookTwiceHeatmapConfig,
    }

    taps: list[int] | tuple[int, ...] = PAPER_TAPS
    vision_config: dict[str, Any] | PreTrainedConfig | None = None
    selector_config: dict[str, Any] | PreTrainedConfig | None = None
    heatmap_config: dict[str, Any] | PreTrainedConfig | None = None
    parts: list[str] | tuple[str, ...] = PARTS
    base: str = ""
    visual_grid: list[int] | tuple[int, ...] = (1, 1)

    def __post_init__(self, **kwargs: Any) -> None:
        for name, kind in self.sub_configs.items():
            value = getattr(self, name)
            setattr(self, name, value if isinstance(value, PreTrainedConfig) else kind(**(value or {})))
        if not set(self.parts) <= set(PARTS) or "selector" not in self.parts:
            raise ValueError(f"parts are {list(self.parts)}: a selector, and maybe a heatmap")
        super().__post_init__(**kwargs)

    @property
    def positions(self) -> int:
        """Tokens of one view."""
        return (self.vision_config.image_side // self.vision_config.strides[0]) ** 2

    @property
    def queries(self) -> int:
        """Suspicious tokens of one view."""
        return self.selector_config.query_grid[0] * self.selector_config.query_grid[1]


def taps_of(layers: int) -> tuple[int, ...]:
    """Blocks to tap in a tower of so many: the paper's where there are enough, else up to four spread evenly."""
    if layers > PAPER_TAPS[-1]:
        return PAPER_TAPS
    return tuple(sorted({round((n + 1) * layers / 4) - 1 for n in range(4)} - {-1}))


def config_for(checkpoint: LlavaOnevisionConfig, **changes: Any) -> OneVisionConfig:
    """Our configuration for a LLaVA-OneVision checkpoint; `changes` are fields of OneVisionConfig."""
    vision = checkpoint.vision_config
    taps = tuple(changes.pop("taps", None) or taps_of(vision.num_hidden_layers))
    values: dict[str, Any] = {
        "taps": taps,
        "vision_config": {
            "backbone": vision.model_type,
            "channels": [vision.hidden_size] * len(taps),
            "strides": [vision.patch_size] * len(taps),
            "image_side": vision.image_size,
        },
        "selector_config": {"size": 512, "temperature": 0.01, "dropout": 0.0},
    }
    return OneVisionConfig(**(values | changes))
