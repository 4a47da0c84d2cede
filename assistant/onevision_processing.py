"""OneVisionProcessor: pictures to views and conversations to ids; counts the library's image placeholders."""

from __future__ import annotations

import math

import numpy as np
import torch
from transformers import LlavaOnevisionConfig, PreTrainedTokenizerBase
from transformers.image_processing_utils import BaseImageProcessor, select_best_resolution

from assistant.anyres import Views, anyres_boxes, content_size
from assistant.clip_words import clip_head
from assistant.onevision_config import OneVisionConfig
from assistant.processing import LookTwiceProcessor, resize
from assistant.prompts import neutralise
from assistant.types import Look

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
"""Qwen2's form of a conversation, for checkpoints whose tokenizer carries none."""


def packed_count(size: tuple[int, int], checkpoint: LlavaOnevisionConfig) -> int:
    """Ordinary visual tokens of a picture of `size` = (width, height) as the library lays them out.

    The base view's tokens, then the crops' without their padding, each row with a line end; more than `anyres_max_N`
    views' worth are shrunk (LLaVA-OneVision, section 3.2).
    """
    vision = checkpoint.vision_config
    cells = vision.image_size // vision.patch_size
    width, height = size
    best = select_best_resolution((height, width), checkpoint.image_grid_pinpoints)
    rows, columns = (cells * (extent // vision.image_size) for extent in best)
    if width / height > columns / rows:
        rows -= (rows - int(round(height * columns / width, 7))) // 2 * 2
    else:
        columns -= (columns - int(round(width * rows / height, 7))) // 2 * 2
    most = int(checkpoint.vision_aspect_ratio.removeprefix("anyres_max_"))
    ratio = math.sqrt(rows * columns / (most * cells**2))
    if ratio > 1.1:
        rows, columns = int(rows // ratio), int(columns // ratio)
    return cells**2 + rows * (columns + 1)


class OneVisionProcessor(LookTwiceProcessor):
    """Pictures to views and conversations to ids, for one LLaVA-OneVision checkpoint.

    Args:
        tokenizer, images: of the checkpoint.
        config: of our parts.
        checkpoint: its configuration.

    Raises:
        ValueError: the tokenizer has no token with the checkpoint's `image_token_id`.
    """

    tells_verdict = False  # its training data tells none

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        images: BaseImageProcessor,
        config: OneVisionConfig,
        checkpoint: LlavaOnevisionConfig,
    ) -> None:
        self.tokenizer, self.images, self.config, self.checkpoint = tokenizer, images, config, checkpoint
        if not tokenizer.chat_template:
            tokenizer.chat_template = CHATML
        image = tokenizer.convert_ids_to_tokens(checkpoint.image_token_id)
        if image is None or tokenizer.convert_tokens_to_ids(image) != checkpoint.image_token_id:
            raise ValueError(f"The tokenizer has no image token with the id {checkpoint.image_token_id}.")
        self.placeholders = {"visual": image, "suspicious": image, "map": "", "comparison": ""}
        self.specials = tuple(token.content for token in tokenizer.added_tokens_decoder.values())

    def pixels(self, picture: np.ndarray, size: tuple[int, int] | None = None) -> Views:
        """[H, W, 3] uint8 of any size -> its AnyRes views; brought to `size` = (width, height) first where given."""
        if size is not None:
            picture = resize(picture, size)
        given = (picture.shape[1], picture.shape[0])
        # the library takes the grid that loses least; a copy, for it wants an array that may be written to
        values = self.images(np.array(picture), return_tensors="pt", input_data_format="channels_last").pixel_values
        side = self.checkpoint.vision_config.image_size
        boxes = anyres_boxes(given, self.checkpoint.image_grid_pinpoints, side)
        return Views(torch.as_tensor(values[0]), (len(boxes),), (given,), boxes)

    def fit_size(self, width: int, height: int, side: int | None = None) -> tuple[int, int]:
        """(width, height) of the picture on its grid of crops; on that of a smaller one of `side` squared pixels."""
        shrink = min(1.0, side / math.sqrt(width * height)) if side else 1.0
        width, height = max(1, round(width * shrink)), max(1, round(height * shrink))
        best = select_best_resolution((height, width), self.checkpoint.image_grid_pinpoints)
        return content_size((width, height), best)

    @property
    def tile_side(self) -> int:
        """Pixels of a tile's side: three crops each way, pixel for pixel."""
        return 3 * self.checkpoint.vision_config.image_size

    def shown(self, look: Look) -> tuple[Look, ...]:
        """See LookTwiceProcessor; every view enters, the library's way with several, and of a clip one frame."""
        return look.views or (look,)

    def head(self, look: Look) -> str:
        """See LookTwiceProcessor; of several views one after another, and which is the most suspicious.

        Each key frame of a clip would cost the tokens of a whole view, and its training data shows frames otherwise:
        of a clip it is the most suspicious one.
        """
        if not look.views:
            clip = "" if look.clip is None else neutralise(clip_head(look.clip), self.specials)
            return clip + self.part(look)
        lines = []
        for number, view in enumerate(look.views, start=1):
            lines.append(f"View {number} of {len(look.views)}.\n{self.part(view, alone=False)}")
        return "".join([*lines, f"The most suspicious is view {look.view}.\n"])

    def counts(self, size: tuple[int, int] | None = None, *, alone: bool = True) -> dict[str, int]:
        """See LookTwiceProcessor; here they depend on the picture's size, and on whether it stands alone.

        Raises:
            ValueError: the size is not given.
        """
        if size is None:
            raise ValueError("how many tokens a look takes depends on the picture's size")
        views = len(anyres_boxes(size, self.checkpoint.image_grid_pinpoints, self.checkpoint.vision_config.image_size))
        visual = packed_count(size, self.checkpoint) if alone else self.config.positions + 1  # and one line end
        suspicious = 1 + views * self.config.queries
        return {"visual": visual, "suspicious": suspicious, "map": 0, "comparison": 0}
