"""What callers of the API give, checked: pictures in any accepted form, and questions."""

from __future__ import annotations

import os

import numpy as np
from PIL import Image

from assistant.errors import QuestionError
from assistant.media import media_from_array, media_from_image, read_media
from assistant.prompts import MAX_QUESTION
from assistant.types import Media

Source = Media | np.ndarray | Image.Image | bytes | os.PathLike


def as_media(source: Source) -> Media:
    """Any accepted source as a Media; see `Inspector.look`."""
    if isinstance(source, Media):
        return source
    if isinstance(source, np.ndarray):
        return media_from_array(source)
    if isinstance(source, Image.Image):
        return media_from_image(source)
    return read_media(source)


def checked_question(question: str) -> str:
    """The question without blanks around it.

    Raises:
        QuestionError: empty, or longer than MAX_QUESTION characters.
    """
    text = question.strip()
    if not text:
        raise QuestionError("The question is empty.")
    if len(text) > MAX_QUESTION:
        raise QuestionError(f"The question has {len(text)} characters; {MAX_QUESTION} are allowed.")
    return text
