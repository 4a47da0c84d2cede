"""A tiny random LookTwice of the real classes, and a small tokenizer made on the spot."""

from __future__ import annotations

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from assistant.calibration import Calibration
from assistant.configuration import LookTwiceConfig
from assistant.familiar import Familiar
from assistant.inspector import Inspector
from assistant.loading import Loaded
from assistant.modeling import LookTwiceForConditionalGeneration
from assistant.processing import LookTwiceProcessor

TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """Characters as tokens, with the chat tokens of the real one; 100 tokens."""
    words = ["<unk>", "<|im_start|>", "<|im_end|>", "\n", "Yes", "No"]
    words += [chr(code) for code in range(32, 126)]
    tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", eos_token="<|im_end|>")
    fast.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    fast.chat_template = TEMPLATE
    return fast


def tiny_config(**changes: object) -> LookTwiceConfig:
    """Real classes, tiny sizes; the smallest of the real towers' family."""
    values = {
        "vision_config": {
            "backbone": "tf_efficientnet_lite0", "channels": [24, 40, 112, 320], "image_side": 128,
        },
        "selector_config": {"size": 16},
        "heatmap_config": {"size": 16, "fine_size": 8, "free_tokens": 2, "kinds": ["crack", "hole", "scratch"]},
        "visual_grid": [3, 3],
        "text_config": {
            "model_type": "llama", "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
            "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 100, "tie_word_embeddings": True,
            "bos_token_id": 1, "eos_token_id": 2,
        },
        "placeholder_ids": [100, 101, 102, 103],
        "mirrors": 2,
        "oddness": 3.0,
    }  # fmt: skip
    return LookTwiceConfig(**(values | changes))


def tiny_model() -> tuple[LookTwiceForConditionalGeneration, LookTwiceProcessor]:
    """Model in evaluation mode with seeded random weights, and its processor."""
    torch.manual_seed(0)
    config = tiny_config()
    return LookTwiceForConditionalGeneration(config).eval(), LookTwiceProcessor(tiny_tokenizer(), config)


def tiny_inspector(**calibration: object) -> Inspector:
    """The public API over the tiny model, with a calibration of these numbers."""
    model, processor = tiny_model()
    return Inspector("tiny", Loaded(model, processor, Calibration(**calibration)))


def one_product(centres: torch.Tensor, cut: float, new: float, near: float, far: float) -> Familiar:
    """What a model knows whose pictures are all of one product."""
    edges = torch.tensor([near], dtype=torch.float64), torch.tensor([far], dtype=torch.float64)
    return Familiar(centres, cut, new, torch.zeros(len(centres), dtype=torch.int64), *edges)
