"""LookTwiceConfig: every size of the model; nothing after the tower reads a literal."""

from __future__ import annotations

from typing import Any

from transformers import AutoConfig, LlamaConfig, PreTrainedConfig

MOST_MIRRORS = MOST_TURNS = 4
"""A picture and its mirror images along both axes."""


class LookTwiceVisionConfig(PreTrainedConfig):
    """The vision tower and how a picture is brought to it.

    Args:
        backbone: timm model name whose `features_only` form gives the levels.
        out_indices: which timm stages become levels, coarse last.
        channels: channels of each level; checked against the backbone.
        strides: pixels per cell of each level.
        image_side: side of the square with the pixel budget of one look; other aspects keep the budget.
        max_aspect: longer side over shorter side beyond which a picture is squeezed.
        image_mean, image_std: per channel, on pixels scaled to 0..1.
    """

    model_type = "looktwice_vision"
    base_config_key = "vision_config"

    backbone: str = "tf_efficientnet_lite2"
    out_indices: list[int] | tuple[int, ...] = (1, 2, 3, 4)
    channels: list[int] | tuple[int, ...] = (24, 48, 120, 352)
    strides: list[int] | tuple[int, ...] = (4, 8, 16, 32)
    image_side: int = 384
    max_aspect: float = 4.0
    image_mean: list[float] | tuple[float, ...] = (0.5, 0.5, 0.5)
    image_std: list[float] | tuple[float, ...] = (0.5, 0.5, 0.5)

    @property
    def token_size(self) -> int:
        """Width D of the tower's final tokens."""
        return self.channels[-1]


class LookTwiceSelectorConfig(PreTrainedConfig):
    """The look-twice selector.

    Args:
        size: width d of the descriptor, of the learned embeddings and of the adapted patches.
        temperature: divides the cosine difference of anomalous and normal embedding.
        query_grid: rows and columns of the suspicious tokens.
        dropout: on the descriptor, while training.
    """

    model_type = "looktwice_selector"
    base_config_key = "selector_config"

    size: int = 96
    temperature: float = 0.07
    query_grid: list[int] | tuple[int, ...] = (2, 2)
    dropout: float = 0.2


class LookTwiceHeatmapConfig(PreTrainedConfig):
    """The heatmap head and the tokens read from its map.

    Args:
        size: channels of the head at the second level.
        fine_size: channels of the head at the finest level, where each costs four times as much.
        stride: pixels per cell of the map before it is brought to the picture.
        top_shares: shares of the map's cells, highest first, whose means make up the map's own score: a small one
            for specks, a larger one because a mean over more cells ranks unseen products better.
        cells: rows and columns of the grid of map tokens.
        free_tokens: learned tokens that stand after the map tokens.
        kinds: names of the kinds of defects the head tells apart.
    """

    model_type = "looktwice_heatmap"
    base_config_key = "heatmap_config"

    size: int = 96
    fine_size: int = 32
    top_shares: list[float] | tuple[float, ...] = (0.004, 0.03)
    cells: list[int] | tuple[int, ...] = (3, 3)
    free_tokens: int = 3
    kinds: list[str] | tuple[str, ...] = ("crack", "hole")


SCORED = (
    "mirrors",
    "fusion_share",
    "oddness",
    "turns",
    "registered_score",
    "registered_usual",
    "registered_map",
    "misplaced_score",
    "misplaced_map",
)
"""Numbers of a LookTwiceConfig that scores depend on beside weights; other configurations have none of them."""


class LookTwiceConfig(PreTrainedConfig):
    """Vision tower, selector, heatmap head, projector and causal language model.

    Args:
        visual_grid: rows and columns to which the tower's final tokens are pooled for the language model.
        image_token, suspicious_token, map_token, comparison_token: placeholder strings; their ids follow in
            `placeholder_ids`.
        placeholder_ids: id of each placeholder, all at or above the language model's vocabulary, so that its
            embedding table stays as it is.
        mirrors: how many mirror images a look is the mean of, itself included: 1 to 4, see `mirrors.mirrored`.
        fusion_share: how far the trained fusion counts in the image score beside the map alone, 0..1, chosen likewise.
        oddness: logits of the image score for each unit of `own_residual.oddness`, chosen by `finetune.image_score`.
        turns: how many quarter turns odd patches are held against as well, 0 to 4, of pictures without references of a
            product that the model has not learned from.
        registered_score, registered_map: logits of the image score and of the map for each unit of
            `registration.excess`, chosen by `finetune.registered`.
        registered_usual: of the score beyond so much of it, 0..2, which the very scene has too where nothing is wrong.
        misplaced_score, misplaced_map: the same for `in_place.out_of_place`, of products that the model has not learned
            from, chosen by `finetune.misplaced`.
    """

    model_type = "looktwice"
    sub_configs = {
        "vision_config": LookTwiceVisionConfig,
        "selector_config": LookTwiceSelectorConfig,
        "heatmap_config": LookTwiceHeatmapConfig,
        "text_config": AutoConfig,
    }

    vision_config: dict[str, Any] | PreTrainedConfig | None = None
    selector_config: dict[str, Any] | PreTrainedConfig | None = None
    heatmap_config: dict[str, Any] | PreTrainedConfig | None = None
    text_config: dict[str, Any] | PreTrainedConfig | None = None
    visual_grid: list[int] | tuple[int, ...] = (5, 5)
    image_token: str = "<lt_image>"
    suspicious_token: str = "<lt_suspicious>"
    map_token: str = "<lt_map>"
    comparison_token: str = "<lt_comparison>"
    placeholder_ids: list[int] | tuple[int, ...] = (49152, 49153, 49154, 49155)
    initializer_range: float = 0.02
    mirrors: int = 1
    fusion_share: float = 1.0
    oddness: float = 0.0
    turns: int = 0
    registered_score: float = 0.0
    registered_usual: float = 0.0
    registered_map: float = 0.0
    misplaced_score: float = 0.0
    misplaced_map: float = 0.0

    def __post_init__(self, **kwargs: Any) -> None:
        self.vision_config = _nested(self.vision_config, LookTwiceVisionConfig)
        self.selector_config = _nested(self.selector_config, LookTwiceSelectorConfig)
        self.heatmap_config = _nested(self.heatmap_config, LookTwiceHeatmapConfig)
        if isinstance(self.text_config, dict):
            self.text_config = AutoConfig.for_model(**self.text_config)
        elif self.text_config is None:
            self.text_config = LlamaConfig()
        if not 1 <= self.mirrors <= MOST_MIRRORS:
            raise ValueError(f"A look is the mean of 1 to {MOST_MIRRORS} mirror images, not of {self.mirrors}")
        if not 0 <= self.turns <= MOST_TURNS:
            raise ValueError(f"A picture is turned 0 to {MOST_TURNS} times, not {self.turns} times")
        super().__post_init__(**kwargs)

    @property
    def counts(self) -> dict[str, int]:
        """How many tokens of each kind one look gives: {"visual", "suspicious", "map", "comparison"}.

        Comparison tokens stand in a prompt only when references were given.
        """
        queries = self.selector_config.query_grid[0] * self.selector_config.query_grid[1]
        return {
            "visual": self.visual_grid[0] * self.visual_grid[1],
            "suspicious": 1 + queries,
            "map": self.heatmap_config.cells[0] * self.heatmap_config.cells[1] + self.heatmap_config.free_tokens,
            "comparison": queries,
        }


def _nested(value: dict[str, Any] | PreTrainedConfig | None, kind: type[PreTrainedConfig]) -> PreTrainedConfig:
    if isinstance(value, PreTrainedConfig):
        return value
    return kind(**(value or {}))


AutoConfig.register(LookTwiceVisionConfig.model_type, LookTwiceVisionConfig)
AutoConfig.register(LookTwiceSelectorConfig.model_type, LookTwiceSelectorConfig)
AutoConfig.register(LookTwiceHeatmapConfig.model_type, LookTwiceHeatmapConfig)
AutoConfig.register(LookTwiceConfig.model_type, LookTwiceConfig)
