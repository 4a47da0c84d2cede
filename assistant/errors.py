"""Typed errors: each carries one sentence for the user and, where there is one, what to do about it."""

from __future__ import annotations


class LookTwiceError(Exception):
    """A failure with a sentence a user can act on.

    Args:
        sentence: what is wrong, one sentence, no stack and no internal names.
        remedy: what to do about it, one sentence, or empty.
    """

    def __init__(self, sentence: str, remedy: str = "") -> None:
        super().__init__(f"{sentence} {remedy}".strip())
        self.sentence = sentence
        self.remedy = remedy


class MediaError(LookTwiceError):
    """A picture or clip that cannot be used."""


class ProfileError(LookTwiceError):
    """A profile that does not exist or whose packages are not installed."""


class WeightsError(LookTwiceError):
    """Weights that are missing, damaged or of another shape."""


class QuestionError(LookTwiceError):
    """A question that cannot be answered as asked (too long, empty)."""


class RecordError(LookTwiceError):
    """A dataset row that cannot be used; names its file and line."""


class MemoryFileError(LookTwiceError):
    """A file of kept references that cannot be read or written, or that another model made."""


class RateError(LookTwiceError):
    """A false-alarm rate that cannot be asked for."""


class RecipeError(LookTwiceError):
    """A training recipe that cannot be read, or whose settings cannot work."""


class CorrectionError(LookTwiceError):
    """A correction that cannot be kept or read."""


class SettingError(LookTwiceError):
    """A setting of the page that cannot be used."""


class QueueFullError(LookTwiceError):
    """More questions are waiting than the model will answer soon."""
