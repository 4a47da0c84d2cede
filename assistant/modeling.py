"""The model: what looks, a projector and a causal language model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutputWithPast

from assistant.configuration import LookTwiceConfig
from assistant.heatmap import MapTokens
from assistant.look_model import TOKEN_KINDS, Known, LookModel, LookOutput, LookTokens
from assistant.reference import References


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

    def look(
        self, pixel_values: Tensor, references: References | None = None, known: Known | None = None
    ) -> LookOutput:
        """See `LookModel.forward`."""
        return self.look_model(pixel_values, references, known)

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


AutoModelForImageTextToText.register(LookTwiceConfig, LookTwiceForConditionalGeneration)
