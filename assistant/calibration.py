"""Scores to probabilities and verdicts. The numbers are part of the weights, never of the code."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from assistant.errors import WeightsError
from assistant.types import Verdict

PIXEL_THRESHOLD = 0.5
"""Heatmap value from which a pixel is suspicious; the calibration's `pixel_bias` puts the tipping point there."""


@dataclass(frozen=True)
class Calibration:
    """Stored beside the weights as `calibration.json`.

    Attributes:
        score_scale, score_bias: Platt scaling (Platt 1999) of the fused image logit: p = sigmoid(scale * logit + bias).
        threshold: calibrated score from which the selector calls a picture anomalous, 0..1.
        pixel_bias: added to every map logit, so that PIXEL_THRESHOLD is the tipping point on every picture.
        word_bias: added to the language model's "Yes" logit minus "No" logit before the verdict.
        word_scale: multiplies that difference, so that the stated confidence is honest.
        unsure: a verdict needs at least 0.5 + unsure of probability on its side; 0..0.5.
        source: a sentence saying on which pictures these numbers were set, shown beside the threshold.
    """

    score_scale: float = 1.0
    score_bias: float = 0.0
    threshold: float = 0.5
    pixel_bias: float = 0.0
    word_bias: float = 0.0
    word_scale: float = 1.0
    unsure: float = 0.05
    source: str = "uncalibrated"

    def score(self, logit: float) -> float:
        """Fused image logit -> calibrated score 0..1."""
        return sigmoid(self.score_scale * logit + self.score_bias)

    def yes_probability(self, difference: float) -> float:
        """Logit of "Yes" minus logit of "No" as first word -> probability of "Yes", 0..1; 0.5 is the tipping point."""
        return sigmoid(self.word_scale * (difference + self.word_bias))

    def verdict(self, yes: float) -> tuple[Verdict, float]:
        """Probability of "Yes" -> (verdict, confidence 0..1).

        The confidence of "unsure" is that of the likelier side.
        """
        confidence = max(yes, 1 - yes)
        if confidence < 0.5 + self.unsure:
            return "unsure", confidence
        return ("anomalous" if yes >= 0.5 else "normal"), confidence

    def save(self, file: Path) -> None:
        """Writes the JSON file."""
        file.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, file: Path) -> Calibration:
        """Reads the JSON file.

        Raises:
            WeightsError: missing, not JSON, unknown or missing keys, a number that is not finite.
        """
        try:
            values: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
            calibration = cls(**values)
        except FileNotFoundError:
            raise WeightsError(f"The calibration {file.name} is missing from {file.parent.name}.") from None
        except (OSError, ValueError, TypeError) as error:
            raise WeightsError(f"The calibration {file.name} cannot be read ({error}).") from None
        numbers = [value for name, value in asdict(calibration).items() if name != "source"]
        if not all(isinstance(value, (int, float)) and math.isfinite(value) for value in numbers):
            raise WeightsError(f"The calibration {file.name} holds a value that is not a finite number.")
        return calibration


def sigmoid(value: float) -> float:
    """1 / (1 + exp(-value)) without overflow."""
    if value >= 0:
        return 1 / (1 + math.exp(-value))
    return math.exp(value) / (1 + math.exp(value))
