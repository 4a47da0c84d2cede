"""A tiny random LLaVA-OneVision checkpoint of the real classes, saved as a folder, and weights of ours for it."""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    LlavaOnevisionConfig,
    LlavaOnevisionForConditionalGeneration,
    LlavaOnevisionImageProcessor,
    PreTrainedTokenizerFast,
)

from assistant.calibration import Calibration
from assistant.expert import ExpertSelector
from assistant.import_expert import EMBEDDINGS, published_names
from assistant.onevision import OneVisionLook
from assistant.onevision_config import OneVisionConfig, config_for
from assistant.siglip import SiglipTower
from assistant.weights import CALIBRATION_FILE, LOOK_FILE, save_parts

SIDE, PATCH = 48, 8
PINPOINTS = [[SIDE * rows, SIDE * columns] for rows in (1, 2, 3) for columns in (1, 2, 3)]


def tiny_words() -> PreTrainedTokenizerFast:
    """Characters as tokens, with Qwen2's chat tokens and the image token."""
    words = ["<unk>", "<|im_start|>", "<|im_end|>", "\n", "Yes", "No", "<image>", "<video>"]
    words += [chr(code) for code in range(32, 126)]
    tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", eos_token="<|im_end|>")
    fast.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>", "<image>", "<video>"]})
    return fast


def tiny_checkpoint(folder: Path, width: int = 32, side: int = SIDE) -> Path:
    """Writes model, tokenizer and image processor: 2 layers, 32 wide, views of 48 x 48 in patches of 8."""
    torch.manual_seed(0)
    pinpoints = [[side // SIDE * extent for extent in grid] for grid in PINPOINTS]
    config = LlavaOnevisionConfig(
        vision_config={
            "model_type": "siglip_vision_model", "hidden_size": width, "intermediate_size": 48, "image_size": side,
            "num_attention_heads": 2, "num_hidden_layers": 2, "patch_size": PATCH, "vision_use_head": False,
        },
        text_config={
            "model_type": "qwen2", "hidden_size": width, "intermediate_size": max(48, width), "num_hidden_layers": 2,
            "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 120, "bos_token_id": 1,
            "eos_token_id": 2, "pad_token_id": 0, "max_position_embeddings": 8192, "tie_word_embeddings": False,
        },
        image_token_index=6, video_token_index=7, image_grid_pinpoints=pinpoints,
    )  # fmt: skip
    LlavaOnevisionForConditionalGeneration(config).save_pretrained(folder)
    tiny_words().save_pretrained(folder)
    size = {"height": side, "width": side}
    LlavaOnevisionImageProcessor(size=size, image_grid_pinpoints=pinpoints).save_pretrained(folder)
    return folder


def tiny_look(checkpoint: Path, folder: Path, **changes: object) -> Path:
    """Writes random weights of ours for a checkpoint and returns their folder."""
    torch.manual_seed(1)
    llava = LlavaOnevisionForConditionalGeneration.from_pretrained(checkpoint)
    values = {
        "selector_config": {"size": 16, "temperature": 0.1, "dropout": 0.0},
        "heatmap_config": {"size": 16, "fine_size": 8, "kinds": ["crack", "hole", "scratch"]},
        "base": str(checkpoint),
    }
    config: OneVisionConfig = config_for(llava.config, **(values | changes))
    tower = SiglipTower(llava.model.vision_tower, config.taps, llava.config.vision_feature_layer)
    look = OneVisionLook(config, tower, llava.config.image_grid_pinpoints)
    folder.mkdir(parents=True, exist_ok=True)
    config.save_pretrained(folder)
    save_parts(look, ("",), folder / LOOK_FILE)
    Calibration(source="random weights").save(folder / CALIBRATION_FILE)
    return folder


def tiny_expert(checkpoint: Path, file: Path) -> Path:
    """Writes an expert of random values under its published names, in the sizes of a checkpoint."""
    torch.manual_seed(2)
    config = config_for(LlavaOnevisionConfig.from_pretrained(checkpoint))
    state = ExpertSelector(config).state_dict()
    names = published_names(len(config.vision_config.channels))
    torch.save(
        {theirs: state[ours][None] if theirs in EMBEDDINGS else state[ours] for theirs, ours in names.items()}, file
    )
    return file
