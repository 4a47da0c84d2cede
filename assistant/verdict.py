"""What is made of a look and of the words about it: the verdict, what to be wary of, and the rest of a finding."""

from __future__ import annotations

from assistant.calibration import Calibration
from assistant.familiar import MOSTLY, Familiar
from assistant.memory import strangeness
from assistant.prompts import says_yes, words_match_map
from assistant.types import Finding, Look, Timings, Verdict

FEW = 4
"""References of a new product from which its own normal pictures decide more than those of others."""


def finding_of(
    look: Look,
    explanation: str,
    *,
    yes: float,
    calibration: Calibration,
    difference: float | None,
    familiar: Familiar | None,
    timings: Timings,
    profile: str,
) -> Finding:
    """Verdict, scores, regions and warnings of a look.

    Args:
        look: what was seen.
        explanation: the answer's words, checked against verdict and map.
        yes: probability that something is wrong, from words and look, 0..1.
        calibration, familiar: of the model.
        difference: logit of "Yes" minus "No" as first word; None where words were not asked for the verdict.
        timings, profile: of the finding.
    """
    lit = not look.doubt and calibration.verdict(yes)[0] == "normal" and bool(look.regions)
    # of a new product a place unlike all references is not "normal", whatever the score, nor is one nearly sure
    undecided = bool(look.doubt) or (lit and bool(look.references) and look.known < MOSTLY)
    if undecided:
        yes = calibration.undecided(yes)
    verdict, confidence = calibration.verdict(yes)
    if undecided:
        verdict = "unsure"  # also where the band ends
    contradicted = difference is not None and calibration.contradicts(difference, look.evidence)
    return Finding(
        verdict=verdict,
        confidence=confidence,
        verdict_probability=yes,
        score=look.score,
        threshold=look.threshold,
        threshold_source=look.threshold_source,
        regions=look.regions,
        kinds=look.kinds,
        explanation=explanation,
        warnings=(
            *look.warnings,
            *strangeness(look, familiar),
            *_warnings(look, explanation, verdict, calibration, contradicted=contradicted, lit=lit),
        ),
        timings=timings,
        profile=profile,
        references=look.references,
        clip=look.clip,
        view=look.view,
    )


def _warnings(
    look: Look, explanation: str, verdict: Verdict, calibration: Calibration, *, contradicted: bool, lit: bool
) -> list[str]:
    """Where score, map and words do not say the same."""
    found = []
    if contradicted:
        words, score = ("normal", "anomalous") if look.evidence > 0 else ("anomalous", "normal")
        found.append(
            f"The words say {words}, the look's score {look.score:.2f} says {score} "
            f"(threshold {look.threshold:.2f}): please check."
        )
    if verdict == "anomalous" and not look.regions:
        found.append("The verdict is anomalous, but the map shows no single place.")
    few = 0 < look.references < FEW and look.known < MOSTLY
    if few and calibration.threshold <= look.score < look.threshold:
        found.append(
            f"The score {look.score:.2f} is high, but normal pictures of new products vary much: {FEW} references "
            f"or more would say how much those of this one do (threshold {look.threshold:.2f} so far)."
        )
    elif lit:
        found.append(f"The score says normal, but the map is lit ({look.regions[0].place}): look there.")
    keys = (look,) if look.clip is None else look.clip.keys
    if words_match_map(explanation, [one for key in keys for one in key.regions]) is False:
        found.append("The words name a place that the map does not show: trust the map.")
    spoken = says_yes(explanation)
    if spoken is not None and verdict != "unsure" and spoken != (verdict == "anomalous"):
        found.append(f"The words begin with another answer than the verdict, which is {verdict}.")
    return found
