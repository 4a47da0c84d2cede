"""Scores to probabilities and verdicts. The numbers are part of the weights, never of the code."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Any

from assistant.errors import WeightsError
from assistant.threshold import DEFAULT_RATE, LIT_RATE, PRIOR_WEIGHT, Normals, gaussian_cut
from assistant.types import Verdict

FIRM = 30.0
"""Logits that settle a first word whatever the language model leans to."""
DOUBTED = 0.5
"""Share of a look's evidence that counts where the words say otherwise."""


@dataclass(frozen=True)
class Calibration:
    """Stored beside the weights as `calibration.json`.

    Attributes:
        score_scale, score_bias: Platt scaling (Platt 1999) of the fused image logit: p = sigmoid(scale * logit + bias).
        threshold: calibrated score from which the selector calls a picture anomalous, 0..1.
        pixel_bias: added to every map logit, so that `types.SUSPICIOUS` is the tipping point on every picture.
        word_bias: added to the language model's "Yes" logit minus "No" logit before the verdict.
        word_scale: multiplies that difference, so that the stated confidence is honest.
        unsure: a verdict needs at least 0.5 + unsure of probability on its side; 0..0.5.
        source: a sentence saying on which pictures these numbers were set, shown beside the threshold.
        look_scale: multiplies a look's evidence in the verdict's probability; 0 leaves the verdict to the words.
        normal_mean, normal_between, normal_within: calibrated logits of unseen normals without references, see
            `threshold.Normals`; a `within` of 0 means that they have not been measured.
        held_mean, held_between, held_within: the same of normals held against two references or more.
        lone_mean, lone_between, lone_within: the same of normals held against a single reference.
        held_scale, lone_scale: multiply the calibrated logit of a picture held against references, over 0: where scores
            of normals scatter more, the same distance from the threshold says less.
        held_trust: how many pictures the spread within a new product counts for beside several references, over 0: the
            less, the more its own normal pictures decide.
        peak_mean, peak_between, peak_within: the same of the highest map logit of new products' normals held against
            two references or more; a `within` of 0 means that it has not been measured.
        held_weight, lone_weight: how much more than without references the same distance from the threshold says of a
            known product's picture held against several or a single one, over 0.
        kind_scale: multiplies the logits of kinds of defects of a new product, 0..1: a head is as sure of what it has
            never seen as of what it knows (temperature scaling, Guo et al., ICML 2017, section 4.2).
        match_cut: cosine distance 0..2 of pooled features from which a picture and its references show different
            products; 0 means that it has not been measured.
    """

    score_scale: float = 1.0
    score_bias: float = 0.0
    threshold: float = 0.5
    pixel_bias: float = 0.0
    word_bias: float = 0.0
    word_scale: float = 1.0
    unsure: float = 0.05
    source: str = "uncalibrated"
    look_scale: float = 0.0
    normal_mean: float = 0.0
    normal_between: float = 0.0
    normal_within: float = 0.0
    held_mean: float = 0.0
    held_between: float = 0.0
    held_within: float = 0.0
    lone_mean: float = 0.0
    lone_between: float = 0.0
    lone_within: float = 0.0
    match_cut: float = 0.0
    held_scale: float = 1.0
    lone_scale: float = 1.0
    held_weight: float = 1.0
    lone_weight: float = 1.0
    held_trust: float = PRIOR_WEIGHT
    peak_mean: float = 0.0
    peak_between: float = 0.0
    peak_within: float = 0.0
    kind_scale: float = 1.0

    def score(self, logit: float, normals: Sequence[float] | None = None) -> float:
        """Fused image logit -> calibrated score 0..1; `normals` as of `threshold_at`."""
        return sigmoid(self.logit(logit, normals))

    def logit(self, value: float, normals: Sequence[float] | None = None) -> float:
        """Fused image logit -> calibrated logit; `score` is its sigmoid."""
        scale = 1.0 if normals is None else self.held_scale if len(normals) else self.lone_scale
        return scale * (self.score_scale * value + self.score_bias)

    def weight(self, normals: Sequence[float] | None, known: float) -> float:
        """`Look.weight` of a picture of a product that is known so far, 0..1; `normals` as of `threshold_at`."""
        if normals is None:
            return 1.0
        return 1 + known * ((self.held_weight if len(normals) else self.lone_weight) - 1)

    def kind_trust(self, known: float) -> float:
        """What kinds' logits are multiplied by for a product that is known so far, 0..1."""
        return known + (1 - known) * self.kind_scale

    def threshold_at(
        self,
        rate: float,
        normals: Sequence[float] | None = None,
        prior: Normals | None = None,
        weight: float = PRIOR_WEIGHT,
    ) -> float:
        """The score from which a picture is called anomalous at a false-alarm rate, 0..1.

        Args:
            rate: share of the normal pictures that may be called anomalous, over 0 and under 1.
            normals: fused logits of normal pictures held against the references, none of a single reference; None
                without references.
            prior: what normals of this very product score, None where that is not known.
            weight: how many pictures that was measured on.
        """
        held = [] if normals is None else [self.logit(value, normals) for value in normals]
        trust = self.held_trust if held and prior is None else max(weight, PRIOR_WEIGHT)
        return sigmoid(gaussian_cut(held, rate, prior or self._normals(normals), trust))

    def dimming(self, peaks: Sequence[float], known: float) -> float:
        """Logits, >= 0, by which maps are darkened, less where a called picture would go dark: half stays lit.

        Where a new product's own normal pictures light up, a place lit no brighter says nothing: of normals no more
        than LIT_RATE stay lit. Of a known product the stored tipping point holds, and with a single reference as well.

        Args:
            peaks: highest map logits of the references, each held against the others.
            known: how far the product is one that was trained on, 0..1.
        """
        if not peaks or self.peak_within <= 0 or self.peak_between <= 0:
            return 0.0
        lit = [peak + self.pixel_bias for peak in peaks]
        prior = Normals(self.peak_mean, self.peak_between, self.peak_within)
        return (1 - known) * max(0.0, gaussian_cut(lit, LIT_RATE, prior, self.held_trust))

    def threshold_of_most(self, threshold: float, count: int) -> float:
        """The threshold 0..1 for the highest of `count` scores that keeps the false-alarm rate of one at `threshold`.

        Sidak's correction (1967) on the Gaussian of unseen normals: 1 - (1 - rate)^(1 / count) each.
        """
        normals = self._normals(None)
        spread = NormalDist(normals.mean, math.hypot(normals.between, normals.within))
        rate = 1 - spread.cdf(logit(threshold))
        each = -math.expm1(math.log1p(-min(rate, 1 - 1e-9)) / count)
        return sigmoid(spread.inv_cdf(min(max(1 - each, 1e-12), 1 - 1e-12)))

    def _normals(self, held: Sequence[float] | None) -> Normals:
        """The prior of normals without references (None), with a single one (none held) and with several."""
        if held is None:
            mean, between, within = self.normal_mean, self.normal_between, self.normal_within
        elif not held:
            mean, between, within = self.lone_mean, self.lone_between, self.lone_within
        else:
            mean, between, within = self.held_mean, self.held_between, self.held_within
        if within > 0 and between > 0:
            return Normals(mean, between, within)
        # not measured: the unit spread of a calibrated logit, placed so that the balanced point has the default rate
        centre = logit(self.threshold) - gaussian_cut((), DEFAULT_RATE, Normals(0.0, 1.0, 1.0))
        return Normals(centre, 1.0, 1.0)

    def yes_probability(self, difference: float, evidence: float = 0.0) -> float:
        """Probability that something is wrong, from words and look together, 0..1; 0.5 is the tipping point.

        The score decides on which side it lies, so that a verdict never stands on the other side of the threshold and
        a false-alarm rate that was asked for is that of the verdicts too; the words say how sure it is. Where they
        outvote the score, only the score counts, and DOUBTED of it.

        Args:
            difference: logit of "Yes" minus logit of "No" as first word.
            evidence: `Look.evidence`, how far the score lies over its threshold.
        """
        if self.contradicts(difference, evidence):
            return sigmoid(DOUBTED * self.look_scale * evidence)
        return sigmoid(self.combined(difference, evidence))

    def combined(self, difference: float, evidence: float) -> float:
        """Words and look added up, a logit; arguments as of `yes_probability`."""
        return self.word_scale * (difference + self.word_bias) + self.look_scale * evidence

    def contradicts(self, difference: float, evidence: float) -> bool:
        """Whether the words outvote the score."""
        return self.combined(difference, evidence) * evidence < 0

    def first_word_bias(self, evidence: float = 0.0) -> float:
        """What is added to the logits of the first words that say yes, so that the spoken answer is the verdict's."""
        return self.word_bias if evidence == 0 else math.copysign(FIRM, evidence)

    def verdict(self, yes: float) -> tuple[Verdict, float]:
        """Probability of `yes_probability` -> (verdict, confidence 0..1).

        The confidence of "unsure" is that of the likelier side.
        """
        confidence = max(yes, 1 - yes)
        if confidence < 0.5 + self.unsure:
            return "unsure", confidence
        return ("anomalous" if yes >= 0.5 else "normal"), confidence

    def undecided(self, yes: float) -> float:
        """The probability of `yes_probability` brought into the band in which nothing is decided, order kept.

        For a picture that the scores say nothing about: how far they lie from their threshold is no confidence.
        """
        return 0.5 + 2 * self.unsure * (yes - 0.5)

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
        for kind in ("scale", "weight"):
            if min(getattr(calibration, f"{way}_{kind}") for way in ("held", "lone")) <= 0:
                raise WeightsError(
                    f"The calibration {file.name} turns scores round: held_{kind} or lone_{kind} is too low."
                )
        if calibration.held_trust <= 0:
            raise WeightsError(f"The calibration {file.name} trusts less than nothing: held_trust is too low.")
        if calibration.word_scale <= 0 or calibration.look_scale < 0:
            raise WeightsError(f"The calibration {file.name} turns yes into no: word_scale or look_scale is too low.")
        return calibration


def sigmoid(value: float) -> float:
    """1 / (1 + exp(-value)) without overflow."""
    if value >= 0:
        return 1 / (1 + math.exp(-value))
    return math.exp(value) / (1 + math.exp(value))


def logit(share: float) -> float:
    """log(p / (1 - p)) of a share 0..1; shares nearer than 1e-9 to the ends count as that."""
    share = min(max(share, 1e-9), 1 - 1e-9)
    return math.log(share / (1 - share))
