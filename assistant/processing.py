"""LookTwiceProcessor: pictures and conversations to tensors; the only place that counts placeholder tokens."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from transformers import AddedToken, PreTrainedTokenizerBase

from assistant.clip_words import clip_head, frame_head, key_line
from assistant.configuration import LookTwiceConfig, LookTwiceVisionConfig
from assistant.prompts import look_text, neutralise
from assistant.types import Look, Region


def fit_size(width: int, height: int, config: LookTwiceVisionConfig, side: int | None = None) -> tuple[int, int]:
    """Size at which the tower looks at a picture.

    Keeps the picture's aspect (up to `max_aspect`) and the pixel budget of `image_side` squared, in whole cells of
    the coarsest stride.

    Args:
        width, height: pixels of the picture, >= 1.
        config: of the tower.
        side: square root of the pixel budget, `image_side` when left out.

    Returns:
        (width, height) in pixels, multiples of the coarsest stride.
    """
    stride, side = config.strides[-1], side or config.image_side
    aspect = min(max(width / height, 1 / config.max_aspect), config.max_aspect)
    rows = max(1, round(side / math.sqrt(aspect) / stride))
    columns = max(1, round(side * math.sqrt(aspect) / stride))
    return columns * stride, rows * stride


def resize(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """[H, W, 3] uint8 -> [h, w, 3] uint8 at `size` = (w, h), antialiased."""
    if (pixels.shape[1], pixels.shape[0]) == size:
        return pixels
    image = Image.fromarray(pixels)
    # box reduction first: many times faster on big pictures and of the same quality at a gap of 2
    return np.asarray(image.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0))


def normalise(pixels: np.ndarray, config: LookTwiceVisionConfig) -> Tensor:
    """[H, W, 3] uint8 -> [3, H, W] float32, normalised as the tower was trained."""
    mean = torch.tensor(config.image_mean).view(3, 1, 1)
    std = torch.tensor(config.image_std).view(3, 1, 1)
    return (torch.tensor(pixels).permute(2, 0, 1).float() / 255 - mean) / std


class LookTwiceProcessor:
    """Pictures to pixels and conversations to ids, for one model.

    Args:
        tokenizer: of the language model; the three placeholders are added to it.
        config: of the model; its `placeholder_ids` must be what the tokenizer gives.

    Raises:
        ValueError: the tokenizer gives the placeholders other ids.
    """

    tells_verdict = True
    """The prompt has the look's verdict, as the language model was taught; see `prompts.verdict_text`."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, config: LookTwiceConfig) -> None:
        self.tokenizer, self.config = tokenizer, config
        self.placeholders = {
            "visual": config.image_token,
            "suspicious": config.suspicious_token,
            "map": config.map_token,
            "comparison": config.comparison_token,
        }
        tokenizer.add_tokens([AddedToken(text, special=True) for text in self.placeholders.values()])
        ids = tokenizer.convert_tokens_to_ids(list(self.placeholders.values()))
        if ids != list(config.placeholder_ids):
            raise ValueError(f"The tokenizer gives the placeholders the ids {ids}, not {list(config.placeholder_ids)}.")
        self.specials = tuple(token.content for token in tokenizer.added_tokens_decoder.values())

    def pixels(self, picture: np.ndarray, size: tuple[int, int] | None = None) -> Tensor:
        """[H, W, 3] uint8 of any size -> [1, 3, h, w] float32 at `size` = (w, h), the tower's own size when None."""
        config = self.config.vision_config
        size = size or fit_size(picture.shape[1], picture.shape[0], config)
        return normalise(resize(picture, size), config).unsqueeze(0)

    def fit_size(self, width: int, height: int, side: int | None = None) -> tuple[int, int]:
        """(width, height) at which a picture of so many pixels is looked at, see `fit_size`."""
        return fit_size(width, height, self.config.vision_config, side)

    @property
    def tile_side(self) -> int:
        """Pixels of a tile's side at which small things are still seen: hardly more than the model's own."""
        return self.config.vision_config.image_side * 4 // 3

    def shown(self, look: Look) -> tuple[Look, ...]:
        """The looks whose tokens enter the prompt: of a clip its most suspicious frame, then the other key frames.

        Of several views it is the most suspicious one: a small model has learnt to speak of one thing.
        """
        others = () if look.clip is None else tuple(key for key in look.clip.keys if key.time != look.time)
        return (look, *others)

    def head(self, look: Look) -> str:
        """The head of the first question about a look; of a clip the most suspicious frame, then the other ones."""
        text = self.part(look)
        if look.clip is None:
            return text
        tokens = self.placeholders["suspicious"] * self.counts()["suspicious"]
        others = [key_line(key, tokens) for key in self.shown(look)[1:]]
        return "".join([neutralise(clip_head(look.clip), self.specials), frame_head(look), text, *others])

    def part(self, look: Look, *, alone: bool = True) -> str:
        """What a prompt says of one look; `alone` when it is the prompt's only one."""
        facts = (look.relative, look.regions, look.kinds, look.picture, look.references)
        return self.look_text(*facts, look.size, alone=alone)

    def counts(self, size: tuple[int, int] | None = None, *, alone: bool = True) -> dict[str, int]:
        """How many placeholders of each kind a look takes at a picture of `size` = (width, height).

        Args:
            size: of the picture as given, pixels.
            alone: whether it is the only picture of the prompt.
        """
        return self.config.counts

    def look_text(
        self,
        score: float,
        regions: Sequence[Region],
        kinds: Sequence[tuple[str, float]] = (),
        picture: str = "",
        references: int = 0,
        size: tuple[int, int] | None = None,
        *,
        alone: bool = True,
    ) -> str:
        """The head of the first question, see `prompts.look_text`, with this model's `counts` of placeholders."""
        return look_text(
            score, regions, self.counts(size, alone=alone), self.placeholders,
            kinds=kinds, picture=picture, references=references,
        )  # fmt: skip

    def ids(self, messages: list[dict[str, str]], *, answer_follows: bool = True) -> Tensor:
        """Messages through the tokenizer's own chat template -> [1, T] int64.

        Args:
            messages: of `prompts.conversation`, with neutralised user text.
            answer_follows: end with the opening of an assistant's turn.
        """
        return self.tokenizer(
            self._text(messages, answer_follows), return_tensors="pt", add_special_tokens=False
        ).input_ids

    def supervised(self, messages: list[dict[str, str]], given: Collection[int] = ()) -> tuple[Tensor, Tensor]:
        """A whole conversation for training.

        Args:
            messages: ending with an assistant's message.
            given: indexes of assistant's messages that are read and not learned.

        Returns:
            (ids [T], labels [T]) int64; labels are -100 everywhere but on the assistant's words and their end token,
            where they are learned.
        """
        ids: list[int] = []
        labels: list[int] = []
        done = ""
        for index, message in enumerate(messages):
            if message["role"] != "assistant":
                continue
            prompt = self._text(messages[:index], True)
            whole = self._text(messages[: index + 1], False)
            # segments meet at special tokens, so that tokens of the parts are the tokens of the whole
            for text, learned in ((prompt[len(done) :], False), (whole[len(prompt) :], index not in given)):
                part = self.tokenizer(text, add_special_tokens=False).input_ids
                ids += part
                labels += part if learned else [-100] * len(part)
            done = whole
        return torch.tensor(ids), torch.tensor(labels)

    def _text(self, messages: list[dict[str, str]], answer_follows: bool) -> str:
        return self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=answer_follows)
