"""Stage 1 on a LLaVA-OneVision tower: selector and heatmap head learn from views, the tower stays frozen.

Features of ten views of 729 tokens on four levels are 130 MB a picture, so the tower looks anew each time instead of
filling a disk.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
import typer
from torch import Tensor, nn
from torch.utils.data import Dataset

from assistant.anyres import join_views, stitch
from assistant.calibration import Calibration
from assistant.configuration import LookTwiceVisionConfig
from assistant.errors import RecipeError, RecordError, WeightsError
from assistant.knowledge import KINDS, canonical
from assistant.look_model import LookOutput
from assistant.onevision import OneVision, OneVisionLook
from assistant.onevision_config import OneVisionConfig, config_for
from assistant.onevision_loading import checkpoint_config, compose_onevision
from assistant.onevision_processing import OneVisionProcessor
from assistant.packaged import dtype_of
from assistant.profiles import Profile
from assistant.reference import References, residuals
from assistant.weights import CALIBRATION_FILE, LOOK_FILE, LOOK_PARTS, load_parts, read_config, save_parts
from finetune.dataset import LookDataset, Mix, Sample
from finetune.estimate import look_estimate, refuse_what_will_not_fit
from finetune.large import fit, is_main, note_training, updates_of
from finetune.losses import dice_loss, focal_loss
from finetune.recipe import LookRecipe, processes, read_recipe, refuse_others, trained_as
from finetune.records import training_records
from finetune.stage import DICE_WEIGHT, KIND_WEIGHT, LEVEL_WEIGHT, MAP_WEIGHT, SCORE_WEIGHT

RECIPE = "onevision-look.yaml"
CALIBRATION_SOURCE = "the sigmoid of the look's own training, not calibrated"


class SampleDataset(Dataset):
    """Samples of a LookDataset as they are: pictures become views on the model's side."""

    def __init__(self, source: LookDataset) -> None:
        self.source = source

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> Sample:
        return self.source.sample(index)


def collate(samples: Sequence[Sample]) -> dict[str, Any]:
    """Samples as the keyword arguments of `ViewStage.forward`."""
    return {"samples": list(samples), "labels": torch.tensor([float(sample.label) for sample in samples])}


class ViewStage(nn.Module):
    """A look at views with the losses of stage 1: the same as the embedded profile's, on the stitched maps.

    Only the look's own parts are in its state; the checkpoint is held.
    """

    accepts_loss_kwargs = False

    def __init__(self, model: OneVision, processor: OneVisionProcessor) -> None:
        super().__init__()
        self.look: OneVisionLook = model.look_model
        self._held = (model, processor)
        names = self.look.config.heatmap_config.kinds if self.look.headed else ()
        self.kinds = {name: number for number, name in enumerate(names)}

    def forward(self, samples: list[Sample], labels: Tensor) -> dict[str, Tensor]:
        """B samples and their labels [B] -> {"loss": mean over them}, in float32 as looks are made."""
        self.follow(labels.device)
        with torch.autocast(labels.device.type, enabled=False):
            return self._judged(samples, labels)

    def follow(self, device: torch.device) -> None:
        """Moves the tower, which is held and not a part of this, to where the trainer has put the rest."""
        tower = self.look.tower.siglip
        if next(tower.parameters()).device != device:
            tower.to(device)

    def _judged(self, samples: list[Sample], labels: Tensor) -> dict[str, Tensor]:
        _, processor = self._held
        views = join_views([processor.pixels(sample.pixels) for sample in samples])
        features = self.look.tower(views)  # without gradients
        owners = [self._memory(sample.references, processor) for sample in samples]
        differences = residuals(features.levels[1:], [owners[owner] for owner in views.owners])
        outputs = self.look.judge_all(features, differences)
        starts = zip(views.bases, views.counts, strict=True)
        losses = [
            self._loss(output, sample, labels[row], slice(start, start + count), views.boxes)
            for row, (output, sample, (start, count)) in enumerate(zip(outputs, samples, starts, strict=True))
        ]
        # every weight belongs to every step: without references some have no gradient, and processes would wait for it
        idle = sum(parameter.sum() for parameter in self.parameters() if parameter.requires_grad)
        return {"loss": torch.stack(losses).mean() + 0.0 * idle}

    def _memory(self, pictures: Sequence[Any], processor: OneVisionProcessor) -> References | None:
        if not len(pictures):
            return None
        parts = [self.look.remember(processor.pixels(picture)) for picture in pictures]
        return References(
            tuple(torch.cat(levels) for levels in zip(*(p.levels for p in parts), strict=True)), len(parts)
        )

    def _loss(self, output: LookOutput, sample: Sample, label: Tensor, mine: slice, boxes: Sequence[Any]) -> Tensor:
        """Loss of one picture; `mine` are its views among those of the batch."""
        device = label.device
        mask = torch.from_numpy(sample.mask).to(device).float()[None, None]
        weight = torch.from_numpy(sample.weight).to(device)[None, None]

        def focal(logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            size = logits.shape[-2:]
            wanted = (F.adaptive_avg_pool2d(mask, size) * 4).clamp(max=1)  # a cell a quarter full counts as full
            counts = F.adaptive_avg_pool2d(weight, size)
            return focal_loss(logits, wanted, counts), wanted, counts

        loss = label.new_zeros(1)
        levels = [level[mine, 0].float() for level in output.selection.level_logits]
        for level in levels:
            stitched = stitch(level, boxes[mine])[None, None]
            loss = loss + LEVEL_WEIGHT / len(levels) * focal(stitched)[0]
        logits = [output.selector_logit]
        if self.look.headed:
            map_loss, wanted, counts = focal(output.heatmap_logits.float())
            loss = loss + MAP_WEIGHT * map_loss
            loss = loss + DICE_WEIGHT * dice_loss(output.heatmap_logits.float(), wanted, counts)
            logits += [output.map_logit, output.score_logit]
            kind = self.kinds.get(canonical(sample.kind) if sample.label else None, -1)
            entropy = F.cross_entropy(output.kind_logits.float(), torch.tensor([max(kind, 0)], device=device))
            loss = loss + KIND_WEIGHT * entropy * float(kind >= 0)
        for logit in logits:
            loss = loss + SCORE_WEIGHT * F.binary_cross_entropy_with_logits(logit.float(), label[None])
        return loss.squeeze()


def sample_size(image_side: int, patch: int, views: int) -> LookTwiceVisionConfig:
    """How training pictures are cut: `views` crops a side, in whole patches."""
    side = image_side * views
    return LookTwiceVisionConfig(image_side=side, strides=[patch], channels=[1])


def known_look(profile: Profile, recipe: LookRecipe) -> OneVisionConfig:
    """The configuration of the weights that a training goes on from: an imported expert, or what was trained before.

    Raises:
        WeightsError: there are none.
        RecipeError: they have a heatmap head, and the recipe trains none.
    """
    if not (profile.weights / LOOK_FILE).is_file():
        raise WeightsError(
            f"The profile {profile.name} has no look weights in {profile.weights.name} to go on from.",
            "Import the published expert with python -m assistant.import_expert, or leave --go-on away.",
        )
    known = read_config(profile.weights, OneVisionConfig)
    if not set(known.parts) <= set(recipe.parts):
        raise RecipeError("The weights to go on from have a heatmap head.", "Name it in the recipe's parts as well.")
    return known


def train_look(
    data: Path,
    out: Path,
    profile: Profile,
    recipe_file: Path | None,
    seed: int,
    context: typer.Context | None = None,
    *,
    go_on: bool = False,
) -> None:
    """Trains the look stage of a OneVision profile and writes configuration and look weights to its folder.

    Args:
        data: a set in any known layout.
        out: run folder; a second start resumes.
        profile: names the checkpoint; its weights folder gets the result.
        recipe_file: YAML of a LookRecipe, None for the one that ships.
        seed: everything random follows from it.
        context: of the command line, for options that are not read.
        go_on: begin with the weights that are in the profile's folder; a head that they lack begins anew.

    Raises:
        RecipeError: a setting that cannot work, or a training that would not fit.
        RecordError: a set that cannot be used.
        WeightsError: there is nothing to go on from.
    """
    refuse_others(context, "data", "out", "profile", "recipe", "seed", "go_on")
    recipe = read_recipe(recipe_file, LookRecipe, RECIPE)
    profile = trained_as(profile)
    known = known_look(profile, recipe) if go_on else None
    records = [record for record in training_records(data, profile) if record.split == "fit"]
    if not records:
        raise RecordError(f"There is nothing to train on in {data}.")
    checkpoint = checkpoint_config(profile.checkpoint)
    vision = checkpoint.vision_config
    kinds = sorted(KINDS) if "heatmap" in recipe.parts else []
    sizes: dict[str, Any] = {"heatmap_config": {"size": recipe.size, "fine_size": recipe.fine_size, "kinds": kinds}}
    if known is not None:
        sizes |= {"taps": known.taps, "selector_config": known.selector_config}
        sizes |= {"heatmap_config": known.heatmap_config} if "heatmap" in known.parts else {}
    config = config_for(checkpoint, parts=list(recipe.parts), base=profile.checkpoint, **sizes)
    updates = updates_of(recipe, len(records))
    count = recipe.views**2 + 1
    heads = 12 * config.selector_config.size * vision.hidden_size
    estimate = look_estimate(checkpoint, count, recipe.batch, heads, dtype_of(profile.dtype) != torch.float32)
    sentence = refuse_what_will_not_fit(estimate, "Lower batch or views.")
    if is_main():
        typer.echo(f"{len(records)} records, {updates} updates of {recipe.batch * recipe.accumulate * processes()}")
        typer.echo(sentence)
    torch.manual_seed(seed)
    loaded = compose_onevision(profile, stage="new", config=config)
    model = loaded.model
    if known is not None:
        parts = LOOK_PARTS if "heatmap" in known.parts else ("selector.",)
        load_parts(model.look_model, parts, profile.weights / LOOK_FILE)
    model.look_model.thaw()
    length = updates * recipe.batch * recipe.accumulate * processes()
    mix = Mix(own_normals=recipe.own_normals, referenced=recipe.references)
    size = sample_size(vision.image_size, vision.patch_size, recipe.views)
    samples = LookDataset(records, size, length, recipe.batch * processes(), seed, mix)
    fit(ViewStage(model, loaded.processor), SampleDataset(samples), collate, recipe, updates, out, seed)
    if is_main():
        profile.weights.mkdir(parents=True, exist_ok=True)
        config.save_pretrained(profile.weights)
        save_parts(model.look_model, LOOK_PARTS, profile.weights / LOOK_FILE)
        Calibration(source=CALIBRATION_SOURCE).save(profile.weights / CALIBRATION_FILE)
        sets: dict[str, tuple[int, set[str]]] = {}
        for record in records:
            count, licences = sets.get(record.dataset, (0, set()))
            sets[record.dataset] = count + 1, licences | ({record.licence} if record.licence else set())
        note_training(profile.weights, "look", recipe, sets)
        typer.echo(f"wrote {profile.weights / LOOK_FILE}")
