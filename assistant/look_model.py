"""Everything that looks, without a word of language: pixels to map, scores and the tokens that are told of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AutoModel, PreTrainedModel

from assistant.configuration import LookTwiceConfig
from assistant.heatmap import HeatmapHead, map_summary, restated, score_fusion
from assistant.in_place import SHARE
from assistant.kinds import KindHead
from assistant.look_twice import LookTwiceSelector, Selection
from assistant.mirrors import VARIANTS, mirror, mirrored, turned
from assistant.own_residual import ODD_LEVEL, OWN_RADIUS, oddness, top_mean
from assistant.reference import TOP_SHARE, Alone, References, Residuals, own_summary, residuals
from assistant.registration import excess, found_under, grey_of, laid_under, moved
from assistant.vision import TimmTower, VisionFeatures, describe

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


Known = Callable[[Tensor], float]
"""How far a picture of a descriptor [1, D], a unit vector, is of a product that was learned from, 0..1."""


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

    def forward(
        self, pixel_values: Tensor, references: References | None = None, known: Known | None = None
    ) -> LookOutput:
        """[B, 3, H, W] normalised pixels, sides multiples of the coarsest stride -> LookOutput.

        It is the mean over the pictures and their mirror images, as many as `config.mirrors`.

        Args:
            pixel_values: the pictures.
            references: of the one product that all B pictures show; see `remember`.
            known: what is not known has its odd patches held against quarter turns of the picture too, if there are
                no references; without it everything counts as known.
        """
        features = self.see(pixel_values, known if references is None else None)
        return self.decide(features, self.compare(features, references))

    def see(self, pixel_values: Tensor, known: Known | None = None) -> VisionFeatures:
        """The tower's features of [B, 3, H, W], each picture followed by mirror images, `config.mirrors` in all.

        With `known` also of quarter turns, `config.turns` of each picture, if one of them shows a new product.
        """
        features = self.tower(mirrored(pixel_values, self.config.mirrors))
        features = replace(features, grey=grey_of(pixel_values).cpu())
        if known is None or not self.config.turns:
            return features
        seen = describe(features.tokens[:: self.config.mirrors], features.grid, self.config.visual_grid)
        new = torch.tensor([1 - known(one) for one in seen.cpu().split(1)]).to(seen)
        if not bool(new.any()):
            return features
        return replace(features, new=new, turned=self.tower.early(turned(pixel_values, self.config.turns), ODD_LEVEL))

    def compare(self, features: VisionFeatures, references: References | None) -> Residuals:
        """Residuals of the pictures of `see` against references of the one product that all show."""
        memories, rows = [], []
        for number in range(0, len(features.tokens), self.config.mirrors):
            memory, found = self.under(features, number, references)
            memories += [memory] * self.config.mirrors
            rows.append(found)
        found = residuals(features.levels[1:], memories, self.config.mirrors, features.own)
        if all(row is None for row in rows):
            return found
        blank = torch.zeros(1, 1, *features.levels[0].shape[-2:])
        registered = [mirrored(blank if row is None else row, self.config.mirrors) for row in rows]
        laid = torch.tensor([float(row is not None) for row in rows]).repeat_interleave(self.config.mirrors)
        return replace(found, registered=torch.cat(registered).to(features.levels[0]), laid=laid.to(features.levels[0]))

    def under(
        self, features: VisionFeatures, row: int, references: References | None
    ) -> tuple[References | None, Tensor | None]:
        """What a picture of `see` is held against, and `registration.excess` [1, 1, H, W] of it.

        Where a reference shows the very scene but turned, as a part that was laid down otherwise, it is among the
        references once more as it lies in the picture. None for the excess where no reference shows the scene.
        """
        if references is None or features.grey is None:
            return references, None
        grey = features.grey[row // self.config.mirrors]
        found = found_under(features.levels[-1][row].cpu(), grey, references)
        if found is None:
            return references, None
        fine, (high, wide), (height, width) = features.levels[0][row].cpu(), grey.shape, references.shown.shape[-2:]
        cells = fine.shape[-2], fine.shape[-1]
        below, shown = moved(references.fine[found.number], found.matrix, cells, high / wide, height / width)
        if found.turned:
            part = self.remember(self._normalised(laid_under(found, references, (high, wide))))
            levels = zip(references.levels, part.levels, strict=True)
            references = replace(references, levels=tuple(torch.cat(both) for both in levels))
            below = part.fine[0]
        return references, excess(fine, below, shown)[None, None]

    def _normalised(self, shown: Tensor) -> Tensor:
        """[K, 3, H, W] uint8 as the tower takes it."""
        mean, std = self._scaling
        return ((shown.float() / 255 - mean) / std).to(self.device)

    def _shown(self, pixel_values: Tensor) -> Tensor:
        """The way back of `_normalised`."""
        mean, std = self._scaling
        return (255 * (pixel_values.cpu() * std + mean)).round().clamp(0, 255).to(torch.uint8)

    @property
    def _scaling(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation [3, 1, 1] of pixels 0..1, as the tower was trained."""
        vision = self.config.vision_config
        return torch.tensor(vision.image_mean).view(3, 1, 1), torch.tensor(vision.image_std).view(3, 1, 1)

    def top(self, differences: Residuals) -> float:
        """`Residuals.top` of one picture of `compare`."""
        return float(differences.top.mean())

    def decide(self, features: VisionFeatures, differences: Residuals) -> LookOutput:
        """As `judge`, the mean over each picture and its mirror images: features of `see`, residuals of `compare`."""
        output, mirrors = self._beside(features, differences), self.config.mirrors
        if mirrors > 1:
            output = mean_look(output, mirrors, tuple(self.config.heatmap_config.cells))
        return self._counting_odd(output, features, differences, mirrors)

    def single(self, features: VisionFeatures, differences: Residuals) -> LookOutput:
        """As `decide` for features of the tower on B pictures alone: where time or what was kept allows no more."""
        return self._counting_odd(self._beside(features, differences), features, differences, 1)

    def _beside(self, features: VisionFeatures, differences: Residuals) -> LookOutput:
        """As `judge`, but references enter the score by their gains alone: what was trained ranks best without them.

        The kind of defect is named without them too, as far as the product is known: the map that references light
        has other shapes than the one kinds were learned on. Of new products it shows more of what is odd.
        """
        output = self.judge(features, differences)
        if not bool(differences.given.any()):
            return output
        without = self.alone(features, differences) if differences.alone is None else differences.alone
        trained = self._trained_score(output.selector_logit, output.map_logit, differences)
        kinds = torch.lerp(output.kind_logits, without.kind_logits, differences.known_share.view(-1, 1))
        return replace(output, score_logit=output.score_logit - trained + without.score_logit, kind_logits=kinds)

    def alone(self, features: VisionFeatures, differences: Residuals | None = None) -> Alone:
        """`Residuals.alone` of pictures of `see`; `differences` are theirs, of anything, where they are known."""
        within = (self.compare(features, None) if differences is None else differences).without()
        selection = self.selector(features, within)
        logits, map_logit, _ = self.heatmap(selection, within)
        score = self._trained_score(selection.score_logit, map_logit, within)
        return Alone(score, self.kinds(selection, logits))

    def _counting_odd(
        self, output: LookOutput, features: VisionFeatures, differences: Residuals, mirrors: int
    ) -> LookOutput:
        if gain := self.config.oddness:
            output = replace(output, score_logit=output.score_logit + gain * self.odd(features, differences, mirrors))
        return output

    def odd(self, features: VisionFeatures, differences: Residuals, mirrors: int) -> Tensor:
        """`own_residual.oddness` of the pictures, [B]; each is followed by its mirror images, `mirrors` in all.

        Of a new product without references beside quarter turns too: what is known is judged best without.
        """
        level, own = features.levels[ODD_LEVEL], differences.maps[ODD_LEVEL - 1][:, 0]
        terms = level, own, mirrors, OWN_RADIUS[ODD_LEVEL - 1]
        if features.turned is None or features.new is None:
            return oddness(*terms)
        new = features.new * (1 - differences.given[::mirrors])
        turned_too = oddness(*terms, features.turned)
        return turned_too if bool((new == 1).all()) else torch.lerp(oddness(*terms), turned_too, new)

    def remember(self, pixel_values: Tensor, features: VisionFeatures | None = None) -> References:
        """Features of normal pictures [K, 3, H, W] and of their mirror images.

        Args:
            pixel_values: the pictures.
            features: of `see` on these very pictures, where it has looked at them already.
        """
        seen, fine, known = [], [], self.config.mirrors if features is not None else 0
        for number, picture in enumerate(mirrored(pixel_values).split(1)):
            one, variant = divmod(number, VARIANTS)
            if features is None or variant >= known:
                levels = self.tower(picture).levels
            else:
                row = one * known + variant
                levels = tuple(level[row : row + 1] for level in features.levels)
            seen.append(levels[1:])
            if not variant:
                fine.append(levels[0].cpu())
        return References(
            tuple(torch.cat(level) for level in zip(*seen, strict=True)),
            len(pixel_values),
            fine=torch.cat(fine),
            shown=self._shown(pixel_values),
        )

    def judge(self, features: VisionFeatures, differences: Residuals) -> LookOutput:
        """What is trained of a look: the tower's features and the residuals -> LookOutput."""
        selection = self.selector(features, differences)
        logits, map_logit, head = self.heatmap(selection, differences)
        if differences.registered is not None:
            logits = logits + self.config.registered_map * differences.registered
        if (misplaced := _of_new(differences)) is not None:
            size = logits.shape[-2:]
            at_size = F.interpolate(misplaced, size=size, mode="bilinear", align_corners=False)
            logits = logits + self.config.misplaced_map * at_size
        score = self._trained_score(selection.score_logit, map_logit, differences)
        score = score + self.heatmap.references(differences)
        if differences.registered is not None:
            beyond = top_mean(differences.registered, TOP_SHARE) - self.config.registered_usual
            beyond = beyond if differences.laid is None else differences.laid * beyond
            score = score + self.config.registered_score * beyond
        if misplaced is not None:
            score = score + self.config.misplaced_score * top_mean(misplaced, SHARE)
        visual = F.adaptive_avg_pool2d(features.levels[-1], tuple(self.config.visual_grid))  # [B, D, r, c]
        tokens = LookTokens(
            visual=visual.flatten(2).transpose(1, 2),
            suspicious=selection.suspicious,
            map=map_summary(logits, head, tuple(self.config.heatmap_config.cells)),
            comparison=selection.comparison if bool(differences.given.any()) else None,
        )
        kinds = self.kinds(selection, logits)
        return LookOutput(logits, score, map_logit, selection.score_logit, kinds, selection, tokens)

    def _trained_score(self, selector_logit: Tensor, map_logit: Tensor, differences: Residuals) -> Tensor:
        """[B] the image logit as it was trained, without any gain."""
        own = own_summary(differences)  # what no training can overfit: it ranks some unseen products best of all
        layer = self.fusion(torch.stack([selector_logit, map_logit, *own], dim=1)).squeeze(1)
        return map_logit + self.config.fusion_share * (layer - map_logit)


def _of_new(differences: Residuals) -> Tensor | None:
    """`Residuals.misplaced` as far as the product is new: a known one is judged best by what was trained."""
    if differences.misplaced is None:
        return None
    return (1 - differences.known_share).view(-1, 1, 1, 1) * differences.misplaced


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


def dimmed(output: LookOutput, logits: float, cells: tuple[int, int]) -> LookOutput:
    """A look whose map, and what the tokens say of it, is darker by some logits, >= 0; score and kinds stay."""
    dark = output.heatmap_logits - logits
    if not isinstance(output.tokens, LookTokens):  # of a checkpoint whose tokens say nothing of the map
        return replace(output, heatmap_logits=dark)
    tokens = replace(output.tokens, map=restated(output.tokens.map, dark, cells))
    return replace(output, heatmap_logits=dark, tokens=tokens)


AutoModel.register(LookTwiceConfig, LookModel)
