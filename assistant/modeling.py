"""The model: vision tower, look-twice selector, heatmap head, projector and a causal language model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AutoModel, AutoModelForCausalLM, AutoModelForImageTextToText, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutputWithPast

from assistant.configuration import LookTwiceConfig
from assistant.heatmap import HeatmapHead, MapTokens, map_summary, restated, score_fusion
from assistant.kinds import KindHead
from assistant.look_twice import LookTwiceSelector, Selection
from assistant.reference import (
    ODD_LEVEL,
    OWN_RADIUS,
    VARIANTS,
    References,
    Residuals,
    mirror,
    mirrored,
    oddness,
    own_summary,
    residuals,
)
from assistant.vision import TimmTower, VisionFeatures

TOKEN_KINDS = ("visual", "suspicious", "map", "comparison")
"""Fields of LookTokens in the order of the configuration's `placeholder_ids`."""


@dataclass(frozen=True, eq=False)
class LookTokens:
    """What the language model gets of a look, before projection; made once, asked many times.

    Attributes:
        visual: [B, n_visual, D] the tower's tokens pooled to `visual_grid`.
        suspicious: [B, n_suspicious, D] global and suspicious tokens of the selector.
        map: [B, cells, C + 2] summary of the heatmap, see `heatmap.map_summary`.
        comparison: [B, n, D] how the suspicious places differ from the references, or None without references.
        frames: [B, K, n, D] suspicious tokens of a clip's other key frames in order of time, or None without any.
        framed: [B, K] bool, which of them there are where rows have different numbers; None for all.
    """

    visual: Tensor
    suspicious: Tensor
    map: Tensor
    comparison: Tensor | None = None
    frames: Tensor | None = None
    framed: Tensor | None = None

    @property
    def seen(self) -> Tensor:
        """[B, D] what the whole picture looks like."""
        return self.visual.mean(dim=1)

    def of_kind(self, kind: str) -> Tensor | None:
        """Tokens of one of TOKEN_KINDS as they stand in the prompts: [B, n, D], or [1, N, D] of all rows together."""
        values = getattr(self, kind)
        if kind != "suspicious" or self.frames is None:
            return values
        framed = self.frames.new_ones(self.frames.shape[:2], dtype=torch.bool) if self.framed is None else self.framed
        rows = [
            torch.cat([own, others[there].flatten(0, 1)])
            for own, others, there in zip(values, self.frames, framed, strict=True)
        ]
        return torch.cat(rows)[None]


@dataclass(frozen=True, eq=False)
class LookOutput:
    """One look at B pictures.

    Attributes:
        heatmap_logits: [B, 1, H, W] at the finest stride of the tower.
        score_logit: [B] image logit, as `LookTwiceConfig` weighs its sources; `map_logit` and `selector_logit` [B] are
            the two learned ones.
        kind_logits: [B, kinds] which kind of defect, if there is one.
        selection: the selector's own output.
        tokens: what the language model gets; comparison tokens for all B pictures when any of them has references.
    """

    heatmap_logits: Tensor
    score_logit: Tensor
    map_logit: Tensor
    selector_logit: Tensor
    kind_logits: Tensor
    selection: Selection
    tokens: LookTokens


class LookModel(PreTrainedModel):
    """Everything that looks: pixels -> map, score and tokens. No language in here."""

    config_class = LookTwiceConfig
    base_model_prefix = "look_model"
    main_input_name = "pixel_values"

    def __init__(self, config: LookTwiceConfig) -> None:
        super().__init__(config)
        self.tower = TimmTower(config.vision_config)
        self.selector = LookTwiceSelector(config.selector_config, config.vision_config)
        self.heatmap = HeatmapHead(config.heatmap_config, config.selector_config, config.vision_config)
        self.kinds = KindHead(config.heatmap_config, config.selector_config, config.vision_config)
        levels = len(config.vision_config.channels) - 1
        self.fusion = score_fusion(levels)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """Modules initialise themselves when they are made."""

    def forward(self, pixel_values: Tensor, references: References | None = None) -> LookOutput:
        """[B, 3, H, W] normalised pixels, sides multiples of the coarsest stride -> LookOutput.

        It is the mean over the pictures and their mirror images, as many as `config.mirrors`.

        Args:
            pixel_values: the pictures.
            references: of the one product that all B pictures show; see `remember`.
        """
        features = self.see(pixel_values)
        return self.decide(features, self.compare(features, references))

    def see(self, pixel_values: Tensor) -> VisionFeatures:
        """The tower's features of [B, 3, H, W], each picture followed by mirror images, `config.mirrors` in all."""
        return self.tower(mirrored(pixel_values, self.config.mirrors))

    def compare(self, features: VisionFeatures, references: References | None) -> Residuals:
        """Residuals of the pictures of `see` against references of the one product that all show."""
        return residuals(features.levels[1:], [references] * len(features.tokens), self.config.mirrors)

    def top(self, differences: Residuals) -> float:
        """`Residuals.top` of one picture of `compare`."""
        return float(differences.top.mean())

    def decide(self, features: VisionFeatures, differences: Residuals) -> LookOutput:
        """As `judge`, the mean over each picture and its mirror images: features of `see`, residuals of `compare`."""
        output, mirrors = self.judge(features, differences), self.config.mirrors
        if mirrors > 1:
            output = mean_look(output, mirrors, tuple(self.config.heatmap_config.cells))
        return self._counting_odd(output, features, differences, mirrors)

    def single(self, features: VisionFeatures, differences: Residuals) -> LookOutput:
        """As `decide` for features of the tower on B pictures alone: where time or what was kept allows no more."""
        return self._counting_odd(self.judge(features, differences), features, differences, 1)

    def _counting_odd(
        self, output: LookOutput, features: VisionFeatures, differences: Residuals, mirrors: int
    ) -> LookOutput:
        if gain := self.config.oddness:
            output = replace(output, score_logit=output.score_logit + gain * self.odd(features, differences, mirrors))
        return output

    def odd(self, features: VisionFeatures, differences: Residuals, mirrors: int) -> Tensor:
        """`reference.oddness` of the pictures, [B]; each is followed by its mirror images, `mirrors` in all."""
        own = differences.maps[ODD_LEVEL - 1][:, 0]
        return oddness(features.levels[ODD_LEVEL], own, mirrors, OWN_RADIUS[ODD_LEVEL - 1])

    def remember(self, pixel_values: Tensor, features: VisionFeatures | None = None) -> References:
        """Features of normal pictures [K, 3, H, W] and of their mirror images.

        Args:
            pixel_values: the pictures.
            features: of `see` on these very pictures, where it has looked at them already.
        """
        seen, known = [], self.config.mirrors if features is not None else 0
        for number, picture in enumerate(mirrored(pixel_values).split(1)):
            one, variant = divmod(number, VARIANTS)
            if features is None or variant >= known:
                seen.append(self.tower(picture).levels[1:])
            else:
                row = one * known + variant
                seen.append(tuple(level[row : row + 1] for level in features.levels[1:]))
        return References(tuple(torch.cat(level) for level in zip(*seen, strict=True)), len(pixel_values))

    def judge(self, features: VisionFeatures, differences: Residuals) -> LookOutput:
        """What is trained of a look: the tower's features and the residuals -> LookOutput."""
        selection = self.selector(features, differences)
        logits, map_logit, head = self.heatmap(selection, differences)
        own = own_summary(differences)  # what no training can overfit: it ranks some unseen products best of all
        layer = self.fusion(torch.stack([selection.score_logit, map_logit, *own], dim=1)).squeeze(1)
        score = map_logit + self.config.fusion_share * (layer - map_logit)
        score = score + self.heatmap.references(differences)
        visual = F.adaptive_avg_pool2d(features.levels[-1], tuple(self.config.visual_grid))  # [B, D, r, c]
        tokens = LookTokens(
            visual=visual.flatten(2).transpose(1, 2),
            suspicious=selection.suspicious,
            map=map_summary(logits, head, tuple(self.config.heatmap_config.cells)),
            comparison=selection.comparison if bool(differences.given.any()) else None,
        )
        kinds = self.kinds(selection, logits)
        return LookOutput(logits, score, map_logit, selection.score_logit, kinds, selection, tokens)


def mean_look(output: LookOutput, mirrors: int, cells: tuple[int, int]) -> LookOutput:
    """One look (B) of a look at each picture and its mirror images (mirrors B rows): map, scores and kinds are means.

    What a tower trained on upright photographs holds for odd in one direction is evened out. Tokens are the picture's
    own, with the mean map's values.

    Args:
        output: of `LookModel.judge` on pictures that are followed by their mirror images.
        mirrors: how many rows belong to one picture.
        cells: rows and columns of the map tokens.
    """
    rows = output.heatmap_logits.unflatten(0, (-1, mirrors))  # [B, mirrors, 1, H, W]
    logits = torch.stack([mirror(rows[:, number], number) for number in range(mirrors)]).mean(dim=0)
    means = {
        name: getattr(output, name).unflatten(0, (-1, mirrors)).mean(dim=1)
        for name in ("score_logit", "map_logit", "selector_logit", "kind_logits")
    }
    tokens = {name: value[::mirrors] for name, value in vars(output.tokens).items() if value is not None}
    tokens["map"] = restated(tokens["map"], logits, cells)
    return LookOutput(logits, **means, selection=output.selection.rows(mirrors), tokens=LookTokens(**tokens))


class Projector(nn.Module):
    """Tower tokens [.., D] to the language model's width, at the scale of its own embeddings."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.LayerNorm(inputs),
            nn.Linear(inputs, outputs),
            nn.GELU(),
            nn.Linear(outputs, outputs),
            nn.LayerNorm(outputs),
        )

    def forward(self, tokens: Tensor) -> Tensor:
        return self.layers(tokens)


class LookTwiceForConditionalGeneration(PreTrainedModel):
    """A picture and a conversation to words.

    `look` turns pixels into a `LookOutput`; `embed` puts its tokens in the place of the placeholders of a tokenised
    conversation; the language model's own forward and generate do the rest.
    """

    config_class = LookTwiceConfig
    base_model_prefix = ""
    main_input_name = "input_ids"
    _tied_weights_keys = {"language_model.lm_head.weight": "language_model.model.embed_tokens.weight"}

    def __init__(self, config: LookTwiceConfig, language_model: PreTrainedModel | None = None) -> None:
        """Makes the model; `language_model` is taken as it is instead of a new one of `config.text_config`."""
        super().__init__(config)
        width = config.text_config.hidden_size
        self.look_model = LookModel(config)
        self.projector = Projector(config.vision_config.token_size, width)
        self.map_tokens = MapTokens(config.heatmap_config, width)
        self.language_model = language_model or AutoModelForCausalLM.from_config(config.text_config)
        # soft tokens enter at the spread of ordinary word embeddings; set from the table when weights are composed
        self.register_buffer("embedding_scale", torch.tensor(config.initializer_range))
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """Modules initialise themselves when they are made."""

    def get_input_embeddings(self) -> nn.Module:
        """The language model's table of word embeddings."""
        return self.language_model.get_input_embeddings()

    tokens_class = LookTokens

    def joined(self, tokens: Sequence[LookTokens]) -> LookTokens:
        """Tokens of one prompt: the first look's, and the suspicious ones of a clip's other key frames."""
        first, *others = tokens
        if not others:
            return first
        return replace(first, frames=torch.stack([one.suspicious for one in others], dim=1))

    @property
    def tiles_at_once(self) -> int:
        """Tiles looked at together: eight pictures or a few more, mirror images counted."""
        return -(-8 // self.config.mirrors)

    prompts_as_ids = False
    """Prompts with a look go to the library's generate as embeddings, and do not come back."""

    def look(self, pixel_values: Tensor, references: References | None = None) -> LookOutput:
        """See `LookModel.forward`."""
        return self.look_model(pixel_values, references)

    def look_each(self, pixel_values: Sequence[Tensor]) -> list[LookOutput]:
        """Looks (B = 1) at several pictures [1, 3, H, W] of one size, together."""
        output = self.look(torch.cat(list(pixel_values)))
        outputs = []
        for row in range(len(pixel_values)):
            mine = {n: v[row : row + 1] for n, v in vars(output).items() if isinstance(v, Tensor)}
            tokens = {n: v[row : row + 1] for n, v in vars(output.tokens).items() if v is not None}
            outputs.append(replace(output, **mine, tokens=LookTokens(**tokens)))
        return outputs

    def looking_state(self) -> dict[str, Tensor]:
        """Every tensor that a look depends on."""
        return self.look_model.state_dict()

    def next_logits(self, input_ids: Tensor, tokens: LookTokens | None) -> Tensor:
        """Logits [B, vocabulary] of the word that follows [B, T] ids, in float32."""
        embeddings = self.embed(input_ids, tokens)
        return self.language_model(inputs_embeds=embeddings, logits_to_keep=1, use_cache=False).logits[:, -1].float()

    def embed(self, input_ids: Tensor, tokens: LookTokens | None) -> Tensor:
        """Word embeddings with the look's tokens in the place of the placeholders.

        Args:
            input_ids: [B, T]; placeholders have the ids of `config.placeholder_ids`.
            tokens: the look's tokens, or None for a conversation without a picture. Comparison tokens go to the rows
                that have placeholders for them: a batch may hold looks with and without references.

        Returns:
            [B, T, hidden] in the language model's dtype.

        Raises:
            ValueError: the number of placeholders is not the number of tokens; names both.
        """
        table = self.get_input_embeddings()
        vocabulary = table.weight.shape[0]
        embeddings = table(input_ids.masked_fill(input_ids >= vocabulary, 0))  # [B, T, hidden]
        for kind, placeholder in zip(TOKEN_KINDS, self.config.placeholder_ids, strict=True):
            where = input_ids == placeholder  # [B, T]
            values = None if tokens is None else tokens.of_kind(kind)
            if kind == "comparison" and values is not None:
                values = values[where.any(dim=1)]  # rows of looks with references
            found, given = int(where.sum()), 0
            if values is not None:
                values = self.map_tokens(values) if kind == "map" else self.projector(values)
                given = values.shape[0] * values.shape[1]
            if found != given:
                raise ValueError(f"The text holds {found} {kind} placeholders and the look gives {given} tokens.")
            if given:
                scaled = (values * self.embedding_scale).to(embeddings.dtype)
                embeddings = embeddings.masked_scatter(where.unsqueeze(-1), scaled)
        return embeddings

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        pixel_values: Tensor | None = None,
        visual: Tensor | None = None,
        suspicious: Tensor | None = None,
        map: Tensor | None = None,  # the name of the LookTokens field
        comparison: Tensor | None = None,
        frames: Tensor | None = None,
        framed: Tensor | None = None,
        labels: Tensor | None = None,
        **kwargs: object,
    ) -> CausalLMOutputWithPast:
        """One pass over whole conversations, with pixels or with the tokens of an earlier look.

        Args:
            input_ids, attention_mask: [B, T].
            pixel_values: [B, 3, H, W]; left out when the fields of LookTokens are given.
            labels: [B, T], -100 where no loss is taken.

        Returns:
            The language model's output: `loss` when labels are given, `logits` [B, T, vocabulary].
        """
        if pixel_values is not None:
            tokens: LookTokens | None = self.look(pixel_values).tokens
        else:
            tokens = None if visual is None else LookTokens(visual, suspicious, map, comparison, frames, framed)
        return self.language_model(
            inputs_embeds=self.embed(input_ids, tokens), attention_mask=attention_mask, labels=labels, **kwargs
        )

    @torch.no_grad()
    def generate(
        self,
        input_ids: Tensor,
        tokens: LookTokens | None = None,
        attention_mask: Tensor | None = None,
        **kwargs: object,
    ) -> Tensor:
        """Words for [B, T] ids and a look's tokens: the language model's own `generate`; returns [B, new] ids."""
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        embeddings = self.embed(input_ids, tokens)
        if tokens is not None:
            return self.language_model.generate(inputs_embeds=embeddings, attention_mask=attention_mask, **kwargs)
        # plain text goes in as ids: the library's own rules against repetition then see the prompt as well
        whole = self.language_model.generate(input_ids=input_ids, attention_mask=attention_mask, **kwargs)
        return whole[:, input_ids.shape[1] :]


def as_batch(tokens: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
    """Tokens of a look as a batch of one."""
    return {name: torch.tensor(value).unsqueeze(0) for name, value in tokens.items()}


AutoModel.register(LookTwiceConfig, LookModel)
AutoModelForImageTextToText.register(LookTwiceConfig, LookTwiceForConditionalGeneration)
