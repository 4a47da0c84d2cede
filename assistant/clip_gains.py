"""How what is unusual in a clip is weighed; fitted numbers lie beside the weights, never in the code."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path

from assistant.errors import WeightsError

CLIPS_FILE = "clips.json"


@dataclass(frozen=True)
class Weighing:
    """Evidence of a frame, a logit: bias + sum of gains x what is unusual, channels as `usual.CHANNELS` and the look.

    Attributes:
        bias: places the tipping point at 0.
        gains: >= 0, one for each of the channels and one for the model's own evidence.
        zeros: > 0, values of the channels' cells from which they are shown as suspicious.
    """

    bias: float
    gains: tuple[float, ...]
    zeros: tuple[float, ...]


@dataclass(frozen=True)
class ClipGains:
    """Stored as `clips.json`; the defaults are a start that nothing was fitted to.

    Attributes:
        held: with a normal clip.
        alone: without one.
        source: a phrase saying on what these numbers were set; "" for the defaults.
    """

    held: Weighing = Weighing(-4.0, (8.0, 8.0, 10.0, 0.3), (0.25, 0.25, 0.15))
    alone: Weighing = Weighing(-5.5, (4.0, 0.0, 3.0, 0.3), (0.9, 0.9, 0.9))
    source: str = ""

    def save(self, file: Path) -> None:
        """Writes the JSON file."""
        file.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, file: Path) -> ClipGains:
        """Reads the JSON file; the defaults where there is none.

        Raises:
            WeightsError: not JSON, unknown or missing keys, numbers that are not finite or out of range.
        """
        if not file.is_file():
            return cls()
        try:
            values = json.loads(file.read_text(encoding="utf-8"))
            held, alone = (_weighing(values[name]) for name in ("held", "alone"))
            return cls(held, alone, str(values["source"]))
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise WeightsError(f"The gains of clips in {file.name} cannot be read ({error}).") from None


def _weighing(values: dict) -> Weighing:
    bias, gains, zeros = float(values["bias"]), values["gains"], values["zeros"]
    gains, zeros = tuple(float(one) for one in gains), tuple(float(one) for one in zeros)
    if len(gains) != 4 or len(zeros) != 3 or not all(map(math.isfinite, (bias, *gains, *zeros))):
        raise ValueError("numbers are missing or not finite")
    if min(gains) < 0 or min(zeros) <= 0:
        raise ValueError("a gain is under 0 or a zero is not over it")
    return Weighing(bias, gains, zeros)
