"""How much memory a stage will take, before anything is loaded: sizes from the configuration, no weight is made.

Model states after Rajbhandari et al. (ZeRO, SC 2020, section 3.1): 4 bytes a trained weight for itself, 4 for its
gradient, 8 for AdamW's moments. Activations of a transformer layer after Korthikanti et al. (MLSys 2023, equation 1)
without the part of attention scores, which fused kernels do not keep.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import LlavaOnevisionConfig, LlavaOnevisionForConditionalGeneration

from assistant.errors import RecipeError
from finetune.recipe import ChatRecipe, in_pieces, processes, sharding

GIB = 2**30
HALF, WHOLE = 2, 4
STATES = 16
"""Bytes of a trained weight in float32 with gradient and AdamW's two moments."""
FOUR_BITS = 0.5 + 4 / 64 / 4
"""Bytes of a weight in NF4 with doubly quantised scales, about."""
LAYER_BYTES = 34
"""Bytes a token and channel that one layer keeps for the backward pass in half precision."""
SPARE = 0.06
"""Share of the memory that allocator and libraries keep for themselves."""


@dataclass(frozen=True)
class Estimate:
    """Bytes a device needs.

    Attributes:
        weights: frozen ones.
        trained: trained ones with gradients and moments.
        activations: of the largest batch.
    """

    weights: float
    trained: float
    activations: float

    @property
    def total(self) -> float:
        """All of them."""
        return self.weights + self.trained + self.activations

    def sentence(self, there: float) -> str:
        """In words, with what there is."""
        parts = {"frozen weights": self.weights, "trained weights": self.trained, "activations": self.activations}
        listed = ", ".join(f"{name} {_size(value)}" for name, value in parts.items())
        return f"needs about {_size(self.total)} a device ({listed}); {_size(there)} are free"


def _size(value: float) -> str:
    return f"{value / GIB:.1f} GiB" if value >= 0.1 * GIB else f"{value / 2**20:.0f} MiB"


def sizes(config: LlavaOnevisionConfig) -> dict[str, int]:
    """Weights of a checkpoint by part: {"tower", "projector", "language", "linear"}; linear ones can go in 4 bits."""
    with torch.device("meta"):
        model = LlavaOnevisionForConditionalGeneration(config)
    counts = {"tower": 0, "projector": 0, "language": 0, "linear": 0}
    for name, parameter in model.named_parameters():
        part = (
            "tower" if "vision_tower" in name else "language" if "language_model" in name or "lm_head" in name else ""
        )
        counts[part or "projector"] += parameter.numel()
        if ".layers." in name and name.endswith("_proj.weight") and part == "language":
            counts["linear"] += parameter.numel()
    return counts


def lora_size(config: LlavaOnevisionConfig, rank: int) -> int:
    """Weights of a LoRA of this rank on every linear layer of the language model."""
    text = config.text_config
    wide = text.hidden_size
    heads = getattr(text, "head_dim", None) or wide // text.num_attention_heads
    keys = heads * text.num_key_value_heads
    layer = 2 * (wide + heads * text.num_attention_heads) + 2 * (wide + keys) + 3 * (wide + text.intermediate_size)
    return rank * layer * text.num_hidden_layers


def chat_estimate(config: LlavaOnevisionConfig, recipe: ChatRecipe, half: bool) -> Estimate:
    """What stage 2 takes on each device.

    Args:
        config: of the checkpoint.
        recipe: of the stage.
        half: whether frozen weights and activations are in half precision.
    """
    count, text = sizes(config), config.text_config
    width = HALF if half else WHOLE
    trained = count["projector"] + (count["language"] if recipe.method == "full" else lora_size(config, recipe.rank))
    frozen = count["tower"] * width
    if recipe.method == "lora":
        frozen += count["language"] * width
    elif recipe.method == "qlora":
        frozen += (count["language"] - count["linear"]) * width + count["linear"] * FOUR_BITS
    states: float = trained * STATES
    if in_pieces():
        states, frozen = states / processes(), frozen / processes()
    elif sharding() == "zero2":
        states = trained * (WHOLE + (STATES - WHOLE) / processes())
    tokens = recipe.batch * recipe.longest
    layer = tokens * text.hidden_size * LAYER_BYTES * width / HALF
    kept = layer * text.num_hidden_layers
    if recipe.checkpointing:  # the input of each layer, and one layer at a time
        kept = tokens * text.hidden_size * width * text.num_hidden_layers + layer
    logits = tokens / 4 * text.vocab_size * (width + 2 * WHOLE)  # about a quarter of a conversation is answers
    return Estimate(frozen, states, kept + logits)


def look_estimate(config: LlavaOnevisionConfig, views: int, batch: int, heads: int, half: bool) -> Estimate:
    """What stage 1 takes: the tower without gradients, `heads` trained weights, features of every view.

    Args:
        config: of the checkpoint; its language model is loaded as well, and stays in the machine's own memory.
        views: of one picture, the base view included.
        batch: pictures a device sees at once.
        heads: trained weights.
        half: as in `chat_estimate`.
    """
    count, width = sizes(config), HALF if half else WHOLE
    vision = config.vision_config
    positions = (vision.image_size // vision.patch_size) ** 2
    seen = batch * views * positions * vision.hidden_size
    # levels and tokens in float32, twice for references; the tower's own hidden states of the views of one go
    features = seen * WHOLE * 5 * 2 + seen * width * (vision.num_hidden_layers + 1)
    beside = 0 if torch.cuda.is_available() else count["language"] + count["projector"]
    return Estimate((count["tower"] + beside) * width, heads * STATES, 2 * features)


def free_memory() -> float:
    """Bytes that are free where the training will run: the smallest GPU, or the machine."""
    if torch.cuda.is_available():
        return min(torch.cuda.mem_get_info(index)[0] for index in range(torch.cuda.device_count()))
    for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
        if line.startswith("MemAvailable:"):
            return float(line.split()[1]) * 1024
    return float("inf")


def refuse_what_will_not_fit(estimate: Estimate, hint: str) -> str:
    """The estimate in words.

    Raises:
        RecipeError: it is more than there is.
    """
    there = free_memory()
    sentence = estimate.sentence(there)
    if estimate.total > there * (1 - SPARE):
        raise RecipeError(f"The training will not fit: it {sentence}.", hint)
    return sentence
