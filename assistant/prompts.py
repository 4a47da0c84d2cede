"""What the language model reads and how its words are read back. Pure text: no tensors, no pictures."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from assistant.types import PLACES, Region

DEFAULT_QUESTION = "Is there anything wrong?"
SYSTEM = "You are LookTwice, a visual inspection assistant. Answer from the look, briefly."
BASE_SYSTEM = "You are LookTwice, a helpful assistant for visual inspection. No picture has been given."
BANDS = ((0.3, "slightly suspicious"), (0.7, "moderately suspicious"), (1.01, "highly suspicious"))
"""Score bands of Anomaly-OneVision: upper edge (exclusive) and the words that enter the prompt."""
MAX_QUESTION = 2000
"""Characters of one question."""
SIZES = ((0.001, "tiny"), (0.01, "small"), (0.05, "medium-sized"), (1.01, "large"))
"""Upper edge of the share of the picture, and the word."""
SPOKEN_REGIONS = 3
"""Regions that enter the prompt."""
LIKELY = 0.5
"""Probability from which a kind of defect is named though it is not sure that there is one."""
POSSIBLE = 0.1
"""Probability from which a kind is told at all, with its number: under it, of some twenty, it says nothing."""


def band(score: float) -> str:
    """The score band of a score in 0..1."""
    return next(words for edge, words in BANDS if score < edge)


def size_word(area: float) -> str:
    """The word for a share of the picture in 0..1."""
    return next(word for edge, word in SIZES if area < edge)


def percent(share: float) -> str:
    """A share in 0..1 as words: "2.1 %", "less than 0.1 %"."""
    value = 100 * share
    if value < 0.1:
        return "less than 0.1 %"
    return f"{value:.1f} %" if value < 9.95 else f"{value:.0f} %"


def in_place(place: str) -> str:
    """A place as words: "top left" -> "in the top left"; "centre left" -> "at the centre left"."""
    return f"{'at' if place.startswith('centre ') else 'in'} the {place}"


def region_facts(regions: Sequence[Region]) -> str:
    """Measured facts of the map in one line; the language model never has to guess them."""
    if not regions:
        return "Nothing stands out on the map."
    spoken = "; ".join(
        f"{region.place}, {size_word(region.area)}, {percent(region.area)}, {region.tone}, {region.shape}"
        for region in regions[:SPOKEN_REGIONS]
    )
    more = len(regions) - SPOKEN_REGIONS
    return f"On the map: {spoken}{f'; and {more} more' if more > 0 else ''}."


def kind_words(kinds: Sequence[tuple[str, float]]) -> str:
    """At most two kinds of defect that are POSSIBLE: "crack 78 %, scratch 12 %"; "" for none."""
    return ", ".join(f"{name} {percent(share)}" for name, share in kinds[:2] if share >= POSSIBLE)


def is_likely(kinds: Sequence[tuple[str, float]]) -> bool:
    """Whether the likeliest kind, the first, is LIKELY."""
    return bool(kinds) and kinds[0][1] >= LIKELY


def kind_facts(kinds: Sequence[tuple[str, float]]) -> str:
    """The likeliest kinds of defect in one line: "Kind: crack 78 %, scratch 12 %."; "" when the first is not LIKELY.

    What the language model reads here it names, however low the number beside it.
    """
    return f"Kind: {kind_words(kinds)}." if is_likely(kinds) else ""


def look_text(
    score: float,
    regions: Sequence[Region],
    counts: dict[str, int],
    placeholders: dict[str, str],
    *,
    kinds: Sequence[tuple[str, float]] = (),
    picture: str = "",
    references: int = 0,
) -> str:
    """The look as it stands at the head of the first question: placeholders, score band, facts.

    Args:
        score: 0..1.
        regions: of the look.
        counts: tokens of each kind, {"visual", "suspicious", "map", "comparison"}.
        placeholders: placeholder string of each kind.
        kinds: (name, probability 0..1) of the likeliest kinds of defect, likeliest first.
        picture: what the whole picture is like, in words; "" leaves the line out.
        references: how many normal references the picture was held against; comparison tokens stand only then.
    """
    tokens = {kind: placeholders[kind] * counts[kind] for kind in counts}
    lines = [
        tokens["visual"],
        f"Picture: {picture}." if picture else "",
        f"First look: {band(score)}. {tokens['suspicious']}",
        f"{tokens['map']} {region_facts(regions)} {kind_facts(kinds)}".strip(),
    ]
    if references:
        noun = "reference" if references == 1 else "references"
        lines.append(f"Compared with {references} normal {noun}. {tokens['comparison']}")
    return "".join(f"{line}\n" for line in lines if line)


def verdict_text(anomalous: bool) -> str:
    """The look's verdict as it stands after its facts, for every question but the one that asks for the verdict.

    There the model's own word is heard, see `Inspector.yes_probability`; any other answer must follow the verdict.
    """
    return f"Verdict: {'anomalous' if anomalous else 'normal'}.\n"


def neutralise(text: str, specials: Iterable[str]) -> str:
    """Text of a user with every special token made harmless.

    `<|im_start|>` becomes `‹|im_start|›`: it reads the same and is no longer a token. Placeholder strings likewise.
    """
    for special in sorted(specials, key=len, reverse=True):
        text = text.replace(special, special.replace("<", "‹").replace(">", "›"))
    return text


def conversation(
    question: str, history: Sequence[tuple[str, str]], look: str | None, specials: Iterable[str] = ()
) -> list[dict[str, str]]:
    """Messages for the tokenizer's chat template.

    Args:
        question: the newest question.
        history: earlier (question, answer) pairs of the same look, oldest first.
        look: `look_text`, put at the head of the first user message; None without a picture.
        specials: special tokens that text of users and of earlier answers may not contain.
    """
    specials = list(specials)
    messages = [{"role": "system", "content": SYSTEM if look is not None else BASE_SYSTEM}]
    for asked, answered in history:
        messages.append({"role": "user", "content": neutralise(asked, specials)})
        messages.append({"role": "assistant", "content": neutralise(answered, specials)})
    messages.append({"role": "user", "content": neutralise(question, specials)})
    if look is not None:
        messages[1] = {"role": "user", "content": look + messages[1]["content"]}
    return messages


_PLACE = re.compile(
    r"\b(?:(top|upper|bottom|lower|centre|center|middle)(?:[ -]+(left|right|centre|center|middle))?"
    r"|the (left|right)(?:[ -]+side)?)\b",
    re.IGNORECASE,
)


def places_in(text: str) -> tuple[str, ...]:
    """Words of PLACES named in a text, in order, each once; "upper", "lower", "middle", "center" are understood."""
    return tuple(dict.fromkeys(place for _, _, place in place_words(text)))


def place_words(text: str) -> Iterator[tuple[int, int, str]]:
    """(start, end, word of PLACES) of each place named in a text, in order; "the" before it is left out."""
    rows = {"top": "top", "upper": "top", "bottom": "bottom", "lower": "bottom"}
    for match in _PLACE.finditer(text):
        first, second, side = (part.lower() if part else "" for part in match.groups())
        if side:
            place = f"centre {side}"
        else:
            row = rows.get(first, "centre")
            column = second if second in ("left", "right") else "centre"
            place = "centre" if row == "centre" and column == "centre" else f"{row} {column}"
        yield match.start(3 if side else 0), match.end(), place


def says_yes(text: str) -> bool | None:
    """Whether an answer begins with "yes" or "not normal", or with "no" or "normal"; None for any other."""
    match = re.match(r"\W*(yes|not normal|no|normal)\b", text, re.IGNORECASE)
    return None if match is None else match[1].lower() in ("yes", "not normal")


_FAULT = (
    r"(?:wrong|off|odd|unusual|abnormal|suspicious|not right|defects?|flaws?|faults?|problems?|issues?|damages?"
    r"|anomal(?:y|ies))\b"
)
_STATE = (
    r"(?:defective|damaged|faulty|broken|anomalous|abnormal|normal|ok|okay|fine|all right|right|in order)\b"
    r"(?! enough| or coarse)"
)
_THIS = r"(?:it|this|that|the(?! other)|my)(?: \w+){0,2}?"
_ASKS_VERDICT = re.compile(
    r"\W*(?:(?:please )?(?:check|inspect|have a look at) [^.?!:]{1,40}[.:] |[\w ]{0,20}quick check: "
    r"|(?:hello|hi|so|well)\W+)?"
    rf"(?:(?:is|are) there (?:anything|something|any|an?) {_FAULT}"
    rf"|(?:is|are) (?:anything|something) {_FAULT}|is (?:everything|all) {_STATE}"
    rf"|any(?:thing)? (?:{_FAULT}|to worry about)"
    rf"|(?:do you see|can you (?:see|find)|have you found) (?:anything|something|any|an?) {_FAULT}"
    rf"|is {_THIS} {_STATE}(?:\W|$)|does {_THIS} have (?:an? |any )?{_FAULT}"
    rf"|does (?:anything|something) (?:stand out|look {_FAULT})|does {_THIS} look {_STATE}|normal or )",
    re.IGNORECASE,
)


_ASKS_AGAIN = re.compile(
    r"\W*(?:(?:and|so|ok|okay|now)\W+)*(?:(?:what|how) about )?"
    r"(?:it|this|that|here|now|again|same(?: question)?(?: again)?"
    r"|(?:this|that|the (?:next|other|last))(?: one| picture| image| photo| part| piece| sample| clip| video)?)\W*",
    re.IGNORECASE,
)


def asks_again(question: str) -> bool:
    """Whether a question is no more than "And this?", as it is put with another picture: DEFAULT_QUESTION is meant."""
    return _ASKS_AGAIN.fullmatch(question) is not None


def asks_verdict(question: str) -> bool:
    """Whether a question asks if anything is wrong, or all is normal, with the picture as a whole.

    The answers to such questions begin with the verdict.
    """
    return asks_again(question) or (_ASKS_VERDICT.match(question) is not None and not places_in(question))


def words_match_map(text: str, regions: Sequence[Region]) -> bool | None:
    """Whether every place the words name is a region's; None when no place is named."""
    named = places_in(text)
    if not named:
        return None
    return set(named) <= {region.place for region in regions}


assert all(places_in(place) == (place,) for place in PLACES)
