"""Stage 1 as the trainer sees it: cached batches in, losses out, an average of the weights beside them."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import Dataset
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from assistant.batch_store import write_whole
from assistant.configuration import LookTwiceConfig
from assistant.knowledge import canonical
from assistant.look_model import LookModel, LookOutput
from assistant.packaged import fill_tower
from assistant.profiles import Profile
from assistant.reference import Residuals
from assistant.vision import VisionFeatures
from assistant.weights import LOOK_PARTS, read_config
from finetune.features import Batch, choose, read_batch
from finetune.losses import dice_loss, focal_loss

MAP_WEIGHT, DICE_WEIGHT, LEVEL_WEIGHT, SCORE_WEIGHT, KIND_WEIGHT = 20.0, 0.5, 5.0, 0.5, 0.3
"""Focal terms are means over mostly empty pictures, hence small; these bring all terms to the same order."""
HOLD_WEIGHT = 1.0
"""Of the mean square by which logits of kept pictures move."""
FORGET = 0.3
"""Share of the referenced samples that are shown without their references, anew in each epoch."""
AVERAGE_DECAY = 0.995
"""Decay a step of the exponential moving average of the weights: the last 200 steps count."""
STYLE_SHARE = 0.5
"""Share of the training steps in which pictures lend each other their style."""
STYLE_BETA = 0.2
"""How much they lend: Beta(0.2, 0.2), mostly nearly nothing or nearly all of a random share."""
AVERAGE_FILE = "average.safetensors"


def new_model(profile: Profile) -> LookModel:
    """A LookModel of the profile's configuration, with its packaged tower and untrained parts of our own."""
    config = read_config(profile.weights, LookTwiceConfig)
    model = LookModel(config)
    fill_tower(model.tower.backbone, config.vision_config.backbone, profile.tower_package)
    model.tower.fold()
    return model.eval()  # a trainer turns dropout on by itself; whoever judges must not


def rewrite_config(profile: Profile, values: Mapping[str, float]) -> Path:
    """Puts numbers that were chosen into the profile's config.json, aside first; returns the file."""
    file = profile.weights / "config.json"
    whole = json.loads(file.read_text(encoding="utf-8")) | values
    write_whole(file, (json.dumps(whole, indent=1) + "\n").encode())
    return file


class BatchDataset(Dataset):
    """Cached batches for `steps` steps: every file once an epoch, in an order that follows from the seed.

    Args:
        files: of `features.make_features`.
        steps: number of batches.
        kinds: names of the model's kinds, in order.
        without: sets whose samples are left out.
        seed: order of the files, and which samples lose their references.
        hide_own: without the residual of each picture against itself, to see what it is worth.
        changing: sets that are learnt from, samples of others are marked as kept; () for all and no such mark.
    """

    def __init__(
        self,
        files: list[Path],
        steps: int,
        kinds: Iterable[str],
        without: Iterable[str] = (),
        seed: int = 0,
        hide_own: bool = False,
        changing: Iterable[str] = (),
    ) -> None:
        self.hide_own, self.changing = hide_own, frozenset(changing)
        self.files, self.steps, self.without, self.seed = files, steps, frozenset(without), seed
        self.kinds = {name: number for number, name in enumerate(kinds)}

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: int) -> dict[str, Tensor]:
        epoch, place = divmod(step, len(self.files))
        order = np.random.default_rng([self.seed, epoch, 2]).permutation(len(self.files))
        batch = read_batch(self.files[order[place]])
        rng = np.random.default_rng([self.seed, step, 3])
        rows = [row for row, origin in enumerate(batch.origins) if origin.dataset not in self.without]
        forget = [row for row in rows if rng.random() < FORGET]
        chosen = choose(batch, rows or [0], forget)
        tensors = as_tensors(chosen, self.kinds)
        if self.changing:
            tensors["kept"] = torch.tensor([float(one.dataset not in self.changing) for one in chosen.origins])
        if self.hide_own:
            hide_own_residual(tensors)
        return tensors


def as_tensors(batch: Batch, kinds: dict[str, int]) -> dict[str, Tensor]:
    """A batch as the keyword arguments of `LookStage.forward`; the kind is -1 where none is known."""
    names = [canonical(origin.defect) if origin.label else None for origin in batch.origins]
    return {
        **{f"level{number}": level for number, level in enumerate(batch.features.levels)},
        **{f"residual{number}": level for number, level in enumerate(batch.residuals.maps)},
        "difference": batch.residuals.difference,
        "given": batch.residuals.given,
        "target": batch.target,
        "weight": batch.weight,
        "labels": torch.tensor([float(origin.label) for origin in batch.origins]),
        "kinds": torch.tensor([kinds.get(name, -1) for name in names]),
    }


def hide_own_residual(tensors: dict[str, Tensor]) -> None:
    """Sets the residual of each picture against itself to 0, in place."""
    for name, tensor in tensors.items():
        if name.startswith("residual"):
            tensor[:, 0] = 0


def only(batches: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Collator of ready batches: there is one."""
    (batch,) = batches
    return batch


def mix_styles(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Each picture's channel means and spreads of a level, mixed with those of another picture of the batch.

    MixStyle (Zhou et al., ICLR 2021, arXiv 2104.02008, equations 3 to 5): what stays is where a picture differs from
    itself, what changes is what product and light it shows. Residuals stay as they are.
    """
    count = tensors["given"].shape[0]
    order = torch.randperm(count)
    share = torch.distributions.Beta(STYLE_BETA, STYLE_BETA).sample((count, 1, 1, 1))
    mixed = dict(tensors)
    for name, level in tensors.items():
        if name.startswith("level"):
            mean, spread = level.mean((2, 3), keepdim=True), level.std((2, 3), keepdim=True) + 1e-5
            other_mean = share * mean + (1 - share) * mean[order]
            other_spread = share * spread + (1 - share) * spread[order]
            mixed[name] = (level - mean) / spread * other_spread + other_mean
    return mixed


class LookStage(nn.Module):
    """LookModel's trained parts with the losses of stage 1; the tower's features come from files.

    Args:
        model: is trained.
        mix_style: see `mix_styles`.
        holding: samples come with a mark, and of those that are kept it learns to say what it says now, not what is
            true (Li and Hoiem, "Learning without Forgetting", ECCV 2016, arXiv 1606.09282): what is known already keeps
            the scores that its thresholds stand for.
    """

    def __init__(self, model: LookModel, mix_style: bool = True, holding: bool = False) -> None:
        super().__init__()
        self.model, self.mix_style = model, mix_style
        self.model.tower = nn.Identity()  # frozen and not called: checkpoints and averages go without it
        self._before = (copy.deepcopy(model).eval(),) if holding else ()  # no part of what is trained and saved

    def forward(
        self, target: Tensor, weight: Tensor, labels: Tensor, kinds: Tensor, kept: Tensor | None = None,
        **tensors: Tensor,
    ) -> dict[str, Tensor]:  # fmt: skip
        """Target and weight [B, 1, H, W], labels, kinds and kept [B], features and residuals -> {"loss": mean}."""
        if self._before:
            self.model.eval()  # dropout alone would move what is kept
        if self.training and self.mix_style and float(torch.rand(())) < STYLE_SHARE:
            tensors = mix_styles(tensors)
        output = self.judge(tensors)
        logits = output.heatmap_logits.float()
        wanted = (target * 4).clamp(max=1)  # a cell a quarter full counts as full: cracks are thin
        loss = MAP_WEIGHT * focal_loss(logits, wanted, weight) + DICE_WEIGHT * dice_loss(logits, wanted, weight)
        for level in output.selection.level_logits:
            size = level.shape[-2:]
            wanted = (F.adaptive_avg_pool2d(target, size) * 4).clamp(max=1)
            loss = loss + LEVEL_WEIGHT / 4 * focal_loss(level.float(), wanted, F.adaptive_avg_pool2d(weight, size))
        for logit in (output.map_logit, output.selector_logit, output.score_logit):
            loss = loss + SCORE_WEIGHT * F.binary_cross_entropy_with_logits(logit.float(), labels, reduction="none")
        if kept is not None:
            loss = (1 - kept) * loss + kept * self._moved(output, tensors)
            kinds = kinds.masked_fill(kept > 0, -1)
        loss = loss.mean()
        if (kinds >= 0).any():
            loss = loss + KIND_WEIGHT * F.cross_entropy(
                output.kind_logits.float(), kinds, ignore_index=-1, label_smoothing=0.05
            )
        return {"loss": loss}

    def _moved(self, output: LookOutput, tensors: dict[str, Tensor]) -> Tensor:
        """[B] how far map, image logits and kinds have moved from what the model said at first."""
        (before,) = self._before
        with torch.no_grad():
            first = self.judge(tensors, before)
        moved = (output.heatmap_logits - first.heatmap_logits).square().mean(dim=(1, 2, 3))
        for name in ("map_logit", "selector_logit"):
            moved = moved + (getattr(output, name) - getattr(first, name)).square()
        kinds = F.kl_div(output.kind_logits.log_softmax(1), first.kind_logits.softmax(1), reduction="none").sum(dim=1)
        return HOLD_WEIGHT * (moved + kinds)

    def judge(self, tensors: dict[str, Tensor], model: LookModel | None = None) -> LookOutput:
        """Cached tensors of a batch -> LookOutput of the model that is trained, or of another."""
        count = sum(name.startswith("level") for name in tensors)
        levels = tuple(  # channels last: a fifth faster on a CPU
            tensors[f"level{number}"].contiguous(memory_format=torch.channels_last) for number in range(count)
        )
        maps = tuple(tensors[f"residual{number}"] for number in range(count - 1))
        last = levels[-1]
        features = VisionFeatures(levels, last.flatten(2).transpose(1, 2), (last.shape[2], last.shape[3]))
        return (model or self.model).judge(features, Residuals(maps, tensors["difference"], tensors["given"]))


class Average(TrainerCallback):
    """Keeps an exponential moving average of the trained weights, in the checkpoints too.

    At the end of the training it takes their place.
    """

    def __init__(self, stage: LookStage, decay: float = AVERAGE_DECAY) -> None:
        self.stage = stage
        self.average = AveragedModel(stage, multi_avg_fn=get_ema_multi_avg_fn(decay))

    def resume(self, checkpoint: Path) -> None:
        """Takes the average of a checkpoint.

        Raises:
            FileNotFoundError: it has none.
        """
        self.average.load_state_dict(load_file(checkpoint / AVERAGE_FILE))

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        """One more step."""
        self.average.update_parameters(self.stage)

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object) -> None:
        """Beside the trainer's own files; runs before the checkpoint is marked as complete."""
        folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        tensors = {name: value.contiguous() for name, value in self.average.state_dict().items()}
        save_file(tensors, folder / AVERAGE_FILE)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        """The average replaces the last weights."""
        averaged = self.average.module.state_dict()
        with torch.no_grad():
            for name, value in self.stage.state_dict().items():
                if name.removeprefix("model.").startswith(LOOK_PARTS):
                    value.copy_(averaged[name])
