"""How what is unusual in a clip is weighed; fitted numbers lie beside the weights, never in the code."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from assistant.clip_plan import stretches
from assistant.errors import WeightsError

CLIPS_FILE = "clips.json"
LEVEL = 0.15
"""Share of a clip's time that counts as what the clip always has."""


@dataclass(frozen=True)
class Weighing:
    """Evidence of a frame, a logit: bias + sum of gains x what is unusual, channels as `usual.CHANNELS` and the look.

    From each channel the clip's own level is taken off, as far as normal clips have one: light, noise and camera lift
    a whole clip.

    Attributes:
        bias: places the tipping point at 0.
        gains: >= 0, one for each of the channels and one for the model's own evidence.
        zeros: > 0, values of the channels' cells from which they are shown as suspicious.
        levels: >= 0, the most that is taken off of a channel as a clip's own.
    """

    bias: float
    gains: tuple[float, ...]
    zeros: tuple[float, ...]
    levels: tuple[float, ...] = (0.0, 0.0, 0.0)

    def over(self, times: Sequence[float], sums: np.ndarray) -> np.ndarray:
        """Sums [n, 4] of looks at rising times [n] without the clip's own level, see `level`."""
        own = np.append(np.clip(level(times, sums[:, :3]), 0, self.levels), 0)
        return (sums - own).astype(sums.dtype)


def level(times: Sequence[float], sums: np.ndarray, share: float = LEVEL) -> np.ndarray:
    """What a clip has for this share of its time at most, [n, k] at rising times [n] -> [k].

    Times may be spaced unevenly: each look counts for the stretch of time that is nearest to it.
    """
    shares = stretches(times)
    return np.array([np.quantile(one, share, weights=shares, method="inverted_cdf") for one in sums.T])


def median_over(times: Sequence[float], values: Sequence[float]) -> float:
    """What values [n] of looks at rising times [n] reach for half of the time."""
    return float(level(times, np.asarray(values)[:, None], 0.5)[0])


@dataclass(frozen=True)
class ClipGains:
    """Stored as `clips.json`; the defaults are a start that nothing was fitted to.

    Attributes:
        held: with a normal clip.
        alone: without one.
        source: a phrase saying on what these numbers were set; "" for the defaults.
    """

    held: Weighing = Weighing(-2.5, (10.0, 8.0, 3.5, 0.1), (0.2, 0.2, 0.2))
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
    levels = tuple(float(one) for one in values["levels"])
    if (len(gains), len(zeros), len(levels)) != (4, 3, 3) or not all(
        map(math.isfinite, (bias, *gains, *zeros, *levels))
    ):
        raise ValueError("numbers are missing or not finite")
    if min(*gains, *levels) < 0 or min(zeros) <= 0:
        raise ValueError("a gain or level is under 0 or a zero is not over it")
    return Weighing(bias, gains, zeros, levels)
