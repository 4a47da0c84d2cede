"""Recipes of the paper-size profile: one YAML a stage, checked before anything is loaded.

The defaults are the published ones (Xu et al., CVPR 2025, arXiv 2502.07601): stage 1 trains the selector with AdamW at
1e-4 for 2 epochs; stage 2 trains projector and language model at 1e-5 with a cosine and 3 % warm-up for 1 epoch. What
LoRA needs besides: a rank and a rate that is higher, for few new weights have to move far (QLoRA, arXiv 2305.14314).
"""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_type_hints

import torch
import typer
import yaml

from assistant.errors import RecipeError
from assistant.profiles import Profile

RECIPES = Path(__file__).parent / "recipes"
Method = Literal["full", "lora", "qlora"]
REPORTERS = {"none": "", "tensorboard": "tensorboard", "trackio": "trackio"}
"""Where figures of a run go, and the package that takes them there."""
LORA_RATE = 2e-4


@dataclass(frozen=True)
class Recipe:
    """What both stages share.

    Attributes:
        epochs: passes over the (first) set.
        steps: updates in place of epochs, 0 for none.
        rate: highest learning rate, 0 for the method's own.
        schedule: of the rate, as transformers names it.
        warmup: share of the updates in which the rate rises.
        batch: samples a device sees at once.
        accumulate: such batches before an update.
        decay: weight decay.
        save_steps: updates between two checkpoints.
        log_steps: updates between two lines of the log.
        report_to: one of REPORTERS.
        workers: processes that read pictures.
    """

    epochs: float = 1.0
    steps: int = 0
    rate: float = 0.0
    schedule: str = "constant"
    warmup: float = 0.0
    batch: int = 1
    accumulate: int = 1
    decay: float = 0.0
    save_steps: int = 200
    log_steps: int = 10
    report_to: str = "none"
    workers: int = 2

    @property
    def learning_rate(self) -> float:
        """The highest learning rate."""
        return self.rate

    def check(self) -> None:
        """Raises RecipeError for settings that cannot work, here or anywhere."""
        for name in ("batch", "accumulate", "save_steps", "log_steps"):
            if getattr(self, name) < 1:
                raise RecipeError(f"The recipe's {name} is {getattr(self, name)}, but must be at least 1.")
        if self.epochs <= 0 and self.steps < 1:
            raise RecipeError("The recipe has neither epochs nor steps.")
        if self.rate < 0 or not 0 <= self.warmup < 1:
            raise RecipeError("The recipe's rate is below 0 or its warmup not in 0..1.")
        if self.report_to not in REPORTERS:
            raise RecipeError(f"There is no report_to {self.report_to!r}.", f"There are {', '.join(REPORTERS)}.")
        package = REPORTERS[self.report_to]
        if package and importlib.util.find_spec(package) is None:
            raise RecipeError(f"The recipe reports to {package}, which is not installed.", f"pip install {package}")


@dataclass(frozen=True)
class LookRecipe(Recipe):
    """Stage 1: selector and heatmap head.

    Attributes:
        parts: "selector" alone, or with "heatmap", which needs masks or boxes to be worth it.
        views: crops along the side of a training picture, besides the base view.
        size, fine_size: channels of the heatmap head.
        references: share of the samples with normal references.
        own_normals: share of the normals that are photographs or drawn products of our own.
    """

    epochs: float = 2.0
    rate: float = 1e-4
    batch: int = 4
    parts: tuple[str, ...] = ("selector", "heatmap")
    views: int = 2
    size: int = 96
    fine_size: int = 32
    references: float = 0.4
    own_normals: float = 0.5

    def check(self) -> None:
        """See `Recipe.check`."""
        super().check()
        if not 1 <= self.views <= 6:
            raise RecipeError(f"The recipe's views are {self.views}, but must be 1 to 6.")
        if "selector" not in self.parts or not set(self.parts) <= {"selector", "heatmap"}:
            raise RecipeError(f"The recipe's parts are {list(self.parts)}.", "They are selector, and maybe heatmap.")


@dataclass(frozen=True)
class ChatRecipe(Recipe):
    """Stage 2: projector and language model.

    Attributes:
        method: "full", "lora", or "qlora", a LoRA on 4-bit weights.
        rank, alpha, dropout: of the LoRA.
        checkpointing: compute activations again instead of keeping them.
        longest: tokens of a conversation; what is longer is cut after its pictures.
        clip_frames: frames of a clip that are looked at.
    """

    schedule: str = "cosine"
    warmup: float = 0.03
    accumulate: int = 16
    method: str = "lora"
    rank: int = 64
    alpha: int = 128
    dropout: float = 0.0
    checkpointing: bool = True
    longest: int = 8192
    clip_frames: int = 8

    @property
    def learning_rate(self) -> float:
        """The paper's for all weights, a higher one for a LoRA."""
        return self.rate or (1e-5 if self.method == "full" else LORA_RATE)

    def check(self) -> None:
        """See `Recipe.check`."""
        super().check()
        if self.method not in get_args(Method):
            raise RecipeError(f"There is no method {self.method!r}.", f"There are {', '.join(get_args(Method))}.")
        if self.rank < 1 or not 0 <= self.dropout < 1 or not 1 <= self.clip_frames <= 32:
            raise RecipeError("The recipe's rank, dropout or clip_frames is out of range.")
        if self.longest < 64:
            raise RecipeError(f"The recipe's longest is {self.longest}, which holds no conversation.")
        if self.method == "qlora" and in_pieces():
            raise RecipeError("Weights in 4 bits cannot be sharded here.", "Use lora, or one GPU or DDP with qlora.")


Kind = TypeVar("Kind", bound=Recipe)


def read_recipe(file: Path | None, kind: type[Kind], default: str) -> Kind:
    """The recipe of a YAML file, or of the one that ships when None; checked.

    Raises:
        RecipeError: no such file, not YAML, an unknown setting, a value of the wrong type, or one that cannot work.
    """
    file = RECIPES / default if file is None else file
    try:
        values = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        raise RecipeError(f"The recipe '{file.name}' cannot be read as YAML.") from None
    if not isinstance(values, dict):
        raise RecipeError(f"The recipe '{file.name}' is no list of settings.")
    known = {field.name for field in fields(kind)}
    for name in values:
        if name not in known:
            raise RecipeError(f"The recipe '{file.name}' has an unknown setting {name!r}.", f"Known: {sorted(known)}.")
    types = get_type_hints(kind)
    recipe = kind(**{name: _value(file, name, value, types[name]) for name, value in values.items()})
    recipe.check()
    return recipe


def _value(file: Path, name: str, value: Any, wanted: Any) -> Any:
    if wanted is float and isinstance(value, int | str) and not isinstance(value, bool):
        try:
            return float(value)  # YAML reads 1e-4 as a word
        except ValueError:
            pass
    if wanted == tuple[str, ...] and isinstance(value, list) and all(isinstance(item, str) for item in value):
        return tuple(value)
    if wanted in (int, float, str, bool) and type(value) is wanted:
        return value
    raise RecipeError(f"The setting {name} of the recipe '{file.name}' is {value!r}, which is of the wrong type.")


def sharding() -> Literal["none", "fsdp", "zero2", "zero3"]:
    """How `accelerate launch` was asked to spread the model over processes."""
    if os.environ.get("ACCELERATE_USE_FSDP", "").lower() == "true":
        return "fsdp"
    if os.environ.get("ACCELERATE_USE_DEEPSPEED", "").lower() == "true":
        return "zero3" if os.environ.get("ACCELERATE_DEEPSPEED_ZERO_STAGE") == "3" else "zero2"
    return "none"


def processes() -> int:
    """Number of processes that train together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def own_device() -> dict[str, int] | None:
    """The `device_map` of weights that cannot be moved once loaded: all on this process' GPU; None on a CPU."""
    return {"": int(os.environ.get("LOCAL_RANK", "0"))} if torch.cuda.is_available() else None


def in_pieces() -> bool:
    """Whether no process has the whole of the weights."""
    return sharding() in ("fsdp", "zero3")


def refuse_others(context: typer.Context | None, *taken: str) -> None:
    """Refuses options of the running command that this profile's training does not read.

    Raises:
        RecipeError: one was given; the sentence names it.
    """
    for name in context.params if context is not None else ():
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE" and name not in taken:
            raise RecipeError(f"--{name.replace('_', '-')} is not for this profile.", "Its settings are in its recipe.")


def refuse_recipe(profile: Profile, given: Path | None) -> None:
    """Raises RecipeError when a recipe, or talks, are given to a profile that has none."""
    if given is not None:
        raise RecipeError(f"The profile {profile.name} takes no '{given.name}'.", "Recipes are for OneVision profiles.")


def trained_as(profile: Profile) -> Profile:
    """The profile as it is trained: frozen weights at its own precision on a GPU, in float32 on a CPU."""
    return profile if torch.cuda.is_available() else replace(profile, dtype="float32")


def precision() -> dict[str, bool]:
    """Arguments of TrainingArguments: bfloat16 on a GPU that has it, float32 on a CPU, where bits are compared."""
    return {
        "bf16": torch.cuda.is_available() and torch.cuda.is_bf16_supported(),
        "use_cpu": not torch.cuda.is_available(),
    }
