"""Answers that are worded from the finding: what may be done, and how sure it is, is not left to how words come out.

Pure text: no tensors, no pictures.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from assistant.prompts import percent
from assistant.types import Finding, Region, Verdict

_THING = r"(?:it|them|(?:this|that|the|these|those|my)(?: (?!reference)[\w-]+){0,2})"
_USE = r"(?:use|ship|deliver|sell|accept|pass|release|keep|reject|scrap|install|mount|approve)"
_ASKS_USE = re.compile(
    r"\W*(?:so |and |then |ok(?:ay)?,? )?(?:"
    rf"(?:can|could|may|should|shall|do) (?:i|we) (?:\w+ )?{_USE} {_THING}"
    rf"|would you (?:still )?{_USE} {_THING}"
    rf"|(?:can|could|may|should|must) {_THING} (?:\w+ )?be (?:{_USE}(?:p?ed|d|t)?|sold|kept)"
    rf"|is {_THING} (?:still )?(?:usable|acceptable|good enough|fit for use|safe to use)|does {_THING} pass"
    r")(?: anyway| now| as it is| like this| like that)?\W*$",
    re.IGNORECASE,
)


def asks_use(question: str) -> bool:
    """Whether a question asks if the thing in the picture may be used, shipped, accepted and the like."""
    return _ASKS_USE.match(question) is not None


def use_words(
    verdict: Verdict,
    confidence: float,
    regions: Sequence[Region],
    kinds: Sequence[tuple[str, float]],
    thing: str = "picture",
) -> str:
    """The answer to `asks_use`, from the verdict and what was measured: a decision is not left to how words come out.

    Args:
        verdict, confidence: of the finding.
        regions, kinds: of the look, the most suspicious region and the likeliest kind first.
        thing: "picture" or "clip", what was looked at.
    """
    where = f"the {regions[0].place}" if regions else ""
    if verdict == "normal":
        return f"From this {thing} nothing speaks against it: it looks normal, {100 * confidence:.0f} % sure."
    if verdict == "unsure":
        return f"This {thing} cannot decide it: have a person check it{f', {where} first' if where else ''}."
    if not regions:
        return "Not before a person has checked it: it looks anomalous, though the map shows no single place."
    kind = kinds[0][0] if kinds else "something is wrong"
    return f"Not before a person has checked it: {kind} at {where}, {percent(regions[0].area)} of the picture."


_ASKS_SURE = re.compile(
    r"\W*(?:so |and |but |ok(?:ay)?,? )?(?:how (?:sure|certain|confident) (?:are you|is (?:it|this|that))"
    r"|are you (?:really |quite |very )?(?:sure|certain|confident)|is (?:it|this|that) (?:certain|for sure))"
    r"(?: (?:of|about) (?:it|this|that))?\W*$",
    re.IGNORECASE,
)


def asks_sure(question: str) -> bool:
    """Whether a question asks how sure the verdict is."""
    return _ASKS_SURE.match(question) is not None


def sure_words(finding: Finding, thing: str = "picture") -> str:
    """The answer to `asks_sure`: the verdict's confidence, and the score beside its threshold.

    Args:
        finding: of the look.
        thing: "picture" or "clip", what was looked at.
    """
    score = f"the score is {finding.score:.2f}, and from {finding.threshold:.2f} on it would count as anomalous"
    if finding.verdict == "unsure":
        return f"Not sure either way: {score}. Have a person check this {thing}."
    if finding.verdict == "anomalous":
        score = f"the score is {finding.score:.2f}, and from {finding.threshold:.2f} on it counts as anomalous"
    return f"{100 * finding.confidence:.0f} % sure that this {thing} is {finding.verdict}: {score}."


def worded(question: str, finding: Finding) -> str:
    """The answer to a question that is answered from the finding, "" for every other one."""
    thing = "picture" if finding.clip is None else "clip"
    if asks_use(question):
        return use_words(finding.verdict, finding.confidence, finding.regions, finding.kinds, thing)
    return sure_words(finding, thing) if asks_sure(question) else ""


def is_worded(question: str) -> bool:
    """Whether `worded` answers a question."""
    return asks_use(question) or asks_sure(question)
