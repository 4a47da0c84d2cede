"""A LLaVA-OneVision checkpoint that looks twice: our look beside the library's own model, forward and generate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from transformers import LlavaOnevisionForConditionalGeneration, LlavaOnevisionModel
from transformers.modeling_outputs import BaseModelOutputWithPooling, CausalLMOutputWithPast

from assistant.anyres import Views, join_views, stitch
from assistant.expert import ExpertSelector, ViewSelection
from assistant.heatmap import HeatmapHead, score_fusion
from assistant.kinds import KindHead
from assistant.look_model import Known, LookOutput
from assistant.mirrors import VARIANTS, mirrored
from assistant.onevision_config import OneVisionConfig
from assistant.own_residual import top_mean
from assistant.reference import References, Residuals, own_summary, residuals
from assistant.siglip import SiglipTower, ViewFeatures

TOP_SHARE = 0.004
"""Share of the stitched map whose mean is the picture's map score, see `LookTwiceHeatmapConfig.top_shares`."""


MAX_ROWS = 320
"""Views, with their mirror images, that a memory of references keeps: eight pictures of ten views."""


@dataclass(frozen=True, eq=False)
class ViewTokens:
    """What the language model gets of a look at one picture, before projection.

    Attributes:
        visual: [1, V * N, D] the tower's tokens, view by view, base first.
        suspicious: [1, 1 + V * n, D] the global suspicious token, then those of each view.
        size: [1, 2] width and height of the picture; the library lays the crops' tokens out by it.
        seen: [1, D] mean of the base view's tokens.
    """

    visual: Tensor
    suspicious: Tensor
    size: Tensor
    seen: Tensor

    def base_only(self, positions: int) -> ViewTokens:
        """Without the crops' ordinary tokens, for a prompt of several pictures; `positions` are those of one view."""
        return replace(self, visual=self.visual[:, :positions])


class OneVisionLook(nn.Module):
    """Everything that looks: views -> map, score and tokens. The tower is held, the rest is ours.

    Without a trained heatmap head the stitched significance map is the heatmap, its logit the map's, and the
    selector's logit the score.
    """

    def __init__(self, config: OneVisionConfig, tower: SiglipTower, pinpoints: list[list[int]]) -> None:
        super().__init__()
        self.config, self.pinpoints = config, pinpoints
        self.max_rows = MAX_ROWS
        self._tower = (tower,)
        self.selector = ExpertSelector(config)
        self.headed = "heatmap" in config.parts
        if self.headed:
            sizes = (config.heatmap_config, config.selector_config, config.vision_config)
            self.heatmap = HeatmapHead(*sizes)
            self.kinds = KindHead(*sizes)
            self.fusion = score_fusion(len(config.vision_config.channels) - 1)

    @property
    def compares(self) -> bool:
        """Whether references change map and score: an imported expert alone has no part that has learned to."""
        return self.headed or any(bool(layer.weight.any()) for layer in self.selector.residual)

    def thaw(self) -> None:
        """All that is trained wants gradients; how far references count is chosen afterwards, see `ReferenceGain`."""
        self.requires_grad_(True)
        if self.headed:
            self.heatmap.references.requires_grad_(False)

    @property
    def tower(self) -> SiglipTower:
        """The tower; a part of the language checkpoint."""
        return self._tower[0]

    def forward(self, views: Views, references: References | None = None) -> tuple[LookOutput, ...]:
        """Views of B pictures -> one LookOutput (B = 1) a picture; `references` are of the one product all show."""
        features = self.see(views)
        if references is not None:
            device = features.tokens.device
            references = replace(references, levels=tuple(level.to(device) for level in references.levels))
        return self.judge_all(features, self.compare(features, references))

    def see(self, views: Views) -> ViewFeatures:
        """The tower's features of the views of one picture or several."""
        return self.tower(views)

    def compare(self, features: ViewFeatures, references: References | None) -> Residuals:
        """Residuals of the views of `see` against references of the one product that all show."""
        return residuals(features.levels[1:], [references] * len(features.tokens), own=features.own)

    def top(self, differences: Residuals) -> float:
        """`Residuals.top` of one picture of `compare`: of the view that is farthest."""
        return float(differences.top.amax())

    def judge(self, features: ViewFeatures, differences: Residuals) -> LookOutput:
        """As `judge_all`, of one picture."""
        (output,) = self.judge_all(features, differences)
        return output

    decide = single = judge

    def alone(self, features: ViewFeatures) -> None:
        """Nothing is kept of it as of `LookModel.alone`: references enter score and kinds by what was trained too."""

    def remember(self, views: Views, features: ViewFeatures | None = None) -> References:
        """Features of the views of one normal picture and of their mirror images: patches at every scale it is seen.

        Args:
            views: of the picture.
            features: of the tower on these very views, where it has looked at them already.
        """
        features = features or self.tower(views)
        turned = mirrored(views.pixels).unflatten(0, (-1, VARIANTS))[:, 1:].flatten(0, 1)
        mirrors = self.tower(replace(views, pixels=turned)).levels[1:]
        seen = [
            torch.cat([own[:, None], level.unflatten(0, (-1, VARIANTS - 1))], dim=1).flatten(0, 1)
            for own, level in zip(features.levels[1:], mirrors, strict=True)
        ]
        return References(tuple(seen), len(views.counts), rows=len(seen[0]) // len(views.counts))

    def judge_all(self, features: ViewFeatures, differences: Residuals) -> tuple[LookOutput, ...]:
        """What is trained of a look: features and residuals of V views of B pictures -> a LookOutput a picture."""
        selection = self.selector(features, differences)
        if self.headed:
            maps, map_logits, _ = self.heatmap(selection, differences)
            kinds = self.kinds(selection, maps)
            own, referenced = own_summary(differences), self.heatmap.references(differences)
        else:
            maps = torch.logit(selection.significance, eps=1e-6)
        outputs = []
        for picture, (base, count) in enumerate(zip(features.views.bases, features.views.counts, strict=True)):
            mine = slice(base, base + count)
            logits = stitch(maps[mine, 0], features.views.boxes[mine])[None, None]  # [1, 1, H, W]
            selector_logit = selection.score_logit[picture : picture + 1]
            if self.headed:
                map_logit = map_logits[mine].amax(dim=0, keepdim=True)
                # of each summary the view that differs most counts
                *extra, held = (value[mine].amax(dim=0, keepdim=True) for value in (*own, referenced))
                score = self.fusion(torch.stack([selector_logit, map_logit, *extra], dim=1)).squeeze(1) + held
                kind = kinds[base + int(map_logits[mine].argmax())][None]
            else:
                map_logit, score, kind = top_mean(logits, TOP_SHARE), selector_logit, logits.new_zeros(1, 0)
            tokens = self._tokens(features, selection, picture, mine)
            outputs.append(LookOutput(logits, score, map_logit, selector_logit, kind, selection, tokens))
        return tuple(outputs)

    def _tokens(self, features: ViewFeatures, selection: ViewSelection, picture: int, mine: slice) -> ViewTokens:
        suspicious = torch.cat([selection.whole[picture : picture + 1], selection.suspicious[mine].flatten(0, 1)])
        tokens = features.tokens[mine]
        return ViewTokens(
            visual=tokens.flatten(0, 1)[None],
            suspicious=suspicious[None],
            size=torch.tensor([features.views.sizes[picture]]),
            seen=tokens[:1].mean(dim=1),
        )


class OneVision(nn.Module):
    """Views and a conversation to words.

    Args:
        config: of our parts.
        language_model: a LLaVA-OneVision checkpoint; its tower looks, its projector and language model speak.
    """

    tokens_class = ViewTokens

    def joined(self, tokens: Sequence[ViewTokens]) -> list[ViewTokens]:
        """Tokens of the pictures of one prompt, as they enter it: of several the base view's ordinary ones only."""
        if len(tokens) == 1:
            return list(tokens)
        return [one.base_only(self.config.positions) for one in tokens]

    tiles_at_once = 2
    """A tile is ten views; the features of so many on four levels and their maps are about half a gigabyte."""
    prompts_as_ids = True
    """The library's generate gets ids and gives them back before the words."""

    def __init__(self, config: OneVisionConfig, language_model: LlavaOnevisionForConditionalGeneration) -> None:
        super().__init__()
        self.config = config
        self.language_model: nn.Module = language_model
        inner = language_model.model
        tower = SiglipTower(inner.vision_tower, config.taps, language_model.config.vision_feature_layer)
        self.look_model = OneVisionLook(config, tower, language_model.config.image_grid_pinpoints)
        self.look_model.to(next(inner.vision_tower.parameters()).device)

    @property
    def llava(self) -> LlavaOnevisionForConditionalGeneration:
        """The library's model, whether or not an adapter is on it."""
        wrapped = self.language_model
        return wrapped.get_base_model() if hasattr(wrapped, "get_base_model") else wrapped

    def look(self, views: Views, references: References | None = None, known: Known | None = None) -> LookOutput:
        """See `OneVisionLook.forward`, for one picture; everything that comes out lies on the CPU in float32.

        What is `known` makes no difference here: views are not turned.
        """
        (output,) = self.look_model(views, references)
        tokens = ViewTokens(**{name: value.cpu() for name, value in vars(output.tokens).items()})
        values = {n: v.float().cpu() for n, v in vars(output).items() if isinstance(v, Tensor)}
        return replace(output, **values, tokens=tokens)

    def look_each(self, views: Sequence[Views]) -> list[LookOutput]:
        """Looks (B = 1) at several pictures, together; what comes out lies on the model's device."""
        return list(self.look_model(join_views(list(views))))

    def looking_state(self) -> dict[str, Tensor]:
        """Every tensor that a look depends on."""
        tower = {f"tower.{name}": tensor for name, tensor in self.look_model.tower.siglip.state_dict().items()}
        return self.look_model.state_dict() | tower

    def visual_features(self, tokens: ViewTokens) -> Tensor:
        """A look's tokens through the checkpoint's own projector and layout -> [n, hidden].

        First the ordinary tokens as the library lays them out (base, crops with line ends), then the suspicious ones.
        """
        inner: LlavaOnevisionModel = self.llava.model
        weight = inner.image_newline
        positions = self.config.positions
        visual = tokens.visual[0].unflatten(0, (-1, positions)).to(weight.device, weight.dtype)  # [V, N, D]
        width, height = tokens.size[0].tolist()
        packed, _ = inner.pack_image_features(
            [inner.multi_modal_projector(visual)],
            [(height, width)],
            image_newline=weight,
            vision_aspect_ratio=inner.config.vision_aspect_ratio,
        )
        suspicious = inner.multi_modal_projector(tokens.suspicious[0].to(weight.device, weight.dtype))
        return torch.cat([packed[0], suspicious])

    def encoded(self, input_ids: Tensor, tokens: Sequence[ViewTokens]) -> dict[str, BaseModelOutputWithPooling]:
        """The looks as the library's `mm_encoder_outputs`.

        Raises:
            ValueError: the number of placeholders is not the number of tokens; names both.
        """
        features = [self.visual_features(one) for one in tokens]
        found, given = int((input_ids == self.llava.config.image_token_id).sum()), sum(len(f) for f in features)
        if found != given:
            raise ValueError(f"The text holds {found} image placeholders and the looks give {given} tokens.")
        return {"image": BaseModelOutputWithPooling(pooler_output=features)}

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        tokens: Sequence[ViewTokens] | None = None,
        labels: Tensor | None = None,
        **kwargs: object,
    ) -> CausalLMOutputWithPast:
        """One pass over whole conversations.

        Args:
            input_ids, attention_mask: [B, T].
            tokens: the looks in the order of their placeholders, row by row; None without pictures.
            labels: [B, T], -100 where no loss is taken.

        Raises:
            ValueError: as `encoded`.
        """
        device = self.llava.get_input_embeddings().weight.device
        encoded = {"mm_encoder_outputs": self.encoded(input_ids, tokens)} if tokens else {}
        mask = None if attention_mask is None else attention_mask.to(device)
        wanted = {} if labels is None else {"labels": labels.to(device)}
        return self.language_model(input_ids=input_ids.to(device), attention_mask=mask, **wanted, **encoded, **kwargs)

    def next_logits(self, input_ids: Tensor, tokens: Sequence[ViewTokens] | None) -> Tensor:
        """Logits [1, vocabulary] of the word that follows [1, T] ids, on the CPU in float32."""
        output = self(input_ids, tokens=tokens, logits_to_keep=1, use_cache=False)
        return output.logits[:, -1].float().cpu()

    @torch.no_grad()
    def generate(
        self,
        input_ids: Tensor,
        tokens: Sequence[ViewTokens] | None = None,
        attention_mask: Tensor | None = None,
        **kwargs: object,
    ) -> Tensor:
        """Words for [1, T] ids and the looks of `joined`: by the library's `generate`; [1, new] ids on the CPU."""
        device = self.llava.get_input_embeddings().weight.device
        encoded = {} if tokens is None else {"mm_encoder_outputs": self.encoded(input_ids, tokens)}
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        whole = self.language_model.generate(
            input_ids=input_ids.to(device), attention_mask=mask.to(device), **encoded, **kwargs
        )
        return whole[:, input_ids.shape[1] :].cpu()
