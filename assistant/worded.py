"""Answers that are worded from the finding: may it be used, how sure is it, what was checked, how is a place, what
caused it and what to do; and where it is and of which kind, where no kind of defect is likely enough to tell.

What was measured, or follows from a rule, is not left to how words come out.

Pure text: no tensors, no pictures.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence

from assistant.knowledge import KINDS, Kind
from assistant.prompts import POSSIBLE, asks_verdict, in_place, is_likely, percent, places_in, says_yes
from assistant.types import Finding, Region, Verdict

_THING = r"(?:it|them|(?:this|that|the|these|those|my)(?: (?!reference)[\w-]+){0,2})"
_USE = r"(?:use|ship|deliver|sell|accept|pass|release|keep|reject|scrap|install|mount|approve)"


def _question(pattern: str) -> re.Pattern[str]:
    """A question that is this and nothing else, whatever it begins with."""
    return re.compile(rf"\W*(?:(?:so|and|but|then|ok(?:ay)?,?|any idea) )?(?:{pattern})\W*$", re.IGNORECASE)


_ASKS_USE = _question(
    rf"(?:(?:can|could|may|should|shall|do) (?:i|we) (?:\w+ )?{_USE} {_THING}"
    rf"|would you (?:still )?{_USE} {_THING}"
    rf"|(?:can|could|may|should|must) {_THING} (?:\w+ )?be (?:{_USE}(?:p?ed|d|t)?|sold|kept)"
    rf"|is {_THING} (?:still )?(?:usable|acceptable|good enough|fit for use|safe to use)|does {_THING} pass)"
    r"(?: anyway| now| as it is| like this| like that)?"
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
    kind = kinds[0][0] if is_likely(kinds) else "something is wrong"
    return f"Not before a person has checked it: {kind} at {where}, {percent(regions[0].area)} of the picture."


_ASKS_SURE = _question(
    r"(?:how (?:sure|certain|confident) (?:are you|is (?:it|this|that))"
    r"|are you (?:really |quite |very )?(?:sure|certain|confident)|is (?:it|this|that) (?:certain|for sure))"
    r"(?: (?:of|about) (?:it|this|that))?"
)


def asks_sure(question: str) -> bool:
    """Whether a question asks how sure the verdict is."""
    return _ASKS_SURE.match(question) is not None


def sure_words(finding: Finding, thing: str = "picture", doubt: str = "") -> str:
    """The answer to `asks_sure`: the verdict's confidence, and the score beside its threshold.

    Args:
        finding: of the look.
        thing: "picture" or "clip", what was looked at.
        doubt: of the look, why the score says nothing; "" where it does.
    """
    if doubt:
        return f"Not sure either way. {doubt}"
    counts = "would count" if finding.score < finding.threshold else "counts"
    score = f"the score is {finding.score:.2f}, and from {finding.threshold:.2f} on it {counts} as anomalous"
    if finding.verdict == "unsure":
        return f"Not sure either way: {score}. Have a person check this {thing}."
    return f"{100 * finding.confidence:.0f} % sure that this {thing} is {finding.verdict}: {score}."


_ASKS_CHECKED = _question(
    r"what (?:exactly )?(?:did|have|do) you (?:actually )?(?:checke?d?|inspect(?:ed)?|examined?"
    r"|look(?:ed)? at)"
)


def asks_checked(question: str) -> bool:
    """Whether a question asks what was looked at."""
    return _ASKS_CHECKED.match(question) is not None


def checked_words(finding: Finding) -> str:
    """The answer to `asks_checked`: what the look does, and what it was held against."""
    if (clip := finding.clip) is not None:
        against = f"held against {clip.normal}" if clip.normal else "held against the rest of the clip"
        return (
            f"{len(clip.frames)} frames of the clip, more of them where something rises: how each place looks and what "
            f"moves there, {against}; {len(clip.keys)} of them closely, as pictures."
        )
    noun = "reference" if finding.references == 1 else f"{finding.references} references"
    against = f" It was held against the {noun}." if finding.references else ""
    return f"First the whole picture, then every patch of it again, knowing the whole; the map sums it up.{against}"


_FINE = r"(?:all right|ok|okay|fine|normal|in order|clean|good|damaged|defective|broken)"
_ASKS_PLACE = _question(
    rf"is the [\w ]{{1,30}} {_FINE}"
    r"|(?:is|are) there (?:(?:any|some)thing|an?y? \w{1,20})(?: wrong| odd| unusual)? (?:in|at|on) the [\w ]{1,30}"
    r"|(?:what|how) about the [\w ]{1,30}"
)


def asks_place(question: str) -> str:
    """The one place that a question asks about as such, "" for any other question."""
    places = places_in(question) if _ASKS_PLACE.match(question) else ()
    return places[0] if len(places) == 1 else ""


def spot_words(place: str, finding: Finding) -> str:
    """The answer to `asks_place`: what the map marks there.

    Args:
        place: one of `types.PLACES`.
        finding: of the look.
    """
    where = in_place(place).capitalize()
    found = next((region for region in finding.regions if region.place == place), None)
    if found is None:
        return f"{where} nothing stands out."
    whole = "" if finding.verdict == "anomalous" else f" The picture as a whole: {finding.verdict}."
    return f"{where} the map marks a spot, {percent(found.area)} of the picture, {found.tone}, {found.shape}.{whole}"


_SEEN = r"(?:it|this|that|the [\w-]{1,20}(?: [\w-]{1,20})?)"
_ASKS_CAUSE = _question(
    rf"what (?:(?:may|could|might|has|can) (?:have )?|probably )?caused? {_SEEN}"
    rf"|what (?:is|was|may be|could be) the (?:likely |probable |root )?(?:cause|reason)(?: of {_SEEN})?"
    r"|(?:likely |root )?cause|where does (?:it|this|that) come from|why did (?:it|this|that) happen|what went wrong"
    r"|how (?:did|does|could) (?:it|this|that) (?:happen|come about)"
)


def asks_cause(question: str) -> bool:
    """Whether a question asks what caused what is seen."""
    return _ASKS_CAUSE.match(question) is not None


def cause_words(finding: Finding) -> str:
    """The answer to `asks_cause`: what is known of a LIKELY kind of defect; "" for one of which nothing is known."""
    if finding.verdict == "normal":
        return "Nothing looks wrong here, so there is no cause to name."
    if finding.verdict == "unsure":
        return "Whether anything is wrong is not sure, so no cause can be named yet."
    if is_likely(finding.kinds):
        kind = KINDS.get(finding.kinds[0][0])
        if kind is None:
            return ""
        *some, last = kind.causes
        causes = ", or from ".join(filter(None, [", from ".join(some), last]))
        return f"{_sentence(kind.noun)} may come from {causes}; the picture alone cannot tell."
    return (
        f"That cannot be told from the picture: {_likeliest(finding.kinds)}. "
        "How the part was made and handled would tell more."
    )


def _sentence(words: str) -> str:
    return words[:1].upper() + words[1:]


def _likeliest(kinds: Sequence[tuple[str, float]]) -> str:
    if kinds and kinds[0][1] >= POSSIBLE:
        return f"{kinds[0][0]} is the likeliest kind of defect, at {percent(kinds[0][1])} only"
    return "no kind of defect is likely"


_FAULT = r"(?:defect|fault|flaw|damage|anomaly|problem|issue)"
_ASKS_KIND = _question(
    rf"(?:what|which) (?:kind|type|sort)(?: of {_FAULT})?(?: (?:is|was|could|might|may) {_SEEN}(?: be)?)?"
    rf"|what {_FAULT} (?:is|could|might|may) {_SEEN}(?: be)?|what is the {_FAULT}"
)


def asks_kind(question: str) -> bool:
    """Whether a question asks what kind of defect there is."""
    return _ASKS_KIND.match(question) is not None


def kind_answer(finding: Finding) -> str:
    """The answer to `asks_kind` where no LIKELY kind is found; "" where one is, and where none is looked for."""
    if finding.verdict == "normal" or not finding.kinds:
        return ""
    if finding.verdict == "anomalous" and is_likely(finding.kinds):
        return ""
    if finding.verdict == "unsure":
        return "Whether anything is wrong is not sure, so no kind of defect can be named yet."
    return f"I cannot tell from the picture: {_likeliest(finding.kinds)}."


_ASKS_ACTION = _question(
    rf"what (?:should|can|must|do|shall) (?:i|we) (?:have to )?do(?: now| next| with {_SEEN}| about {_SEEN})*"
    r"|what (?:now|next)|what would you do|(?:the )?next steps?|what (?:is|are) the next steps?|any advice"
    r"|what (?:do|would) you (?:recommend|suggest|advise)|how should (?:i|we) (?:react|proceed|handle it)"
)


def asks_action(question: str) -> bool:
    """Whether a question asks what to do about what is seen."""
    return _ASKS_ACTION.match(question) is not None


def action_words(finding: Finding) -> str:
    """The answer to `asks_action`: what is known of a LIKELY kind of defect; "" for one of which nothing is known."""
    if finding.verdict == "normal":
        return "Nothing looks wrong here, so nothing has to be done."
    if finding.verdict == "unsure":
        return use_words(finding.verdict, finding.confidence, finding.regions, ())
    if is_likely(finding.kinds):
        kind = KINDS.get(finding.kinds[0][0])
        return f"{_sentence(', then '.join(kind.actions[:2]))}." if kind else ""
    place = f"the {finding.regions[0].place}" if finding.regions else "it"
    return f"Set it aside and have a person check {place}: what to do depends on what kind of defect it is."


_CAUSE = (
    "likely cause", "a likely cause", "a possible cause", "the likely cause", "the most likely cause",
    "it probably comes from", "it most likely comes from", "it likely comes from", "most likely it comes from",
    "it was probably caused", "it may have been caused", "probably caused",
)  # fmt: skip
"""How sentences begin that name a cause."""
_ACTION = ("to do:", "next step:", "best to ", "i would ")
"""How sentences begin that say what to do."""
_UNCLEAR = "What kind of defect it is stays unclear."
_BETWEEN = re.compile(r"(?<=[.!?])(?=\s)")
_NO_PLACE = re.compile(
    r"(?:, but the map shows no single place|, but cannot point to one place on the map|; the map does not show where"
    r"|, though nothing stands out on the map)(?=\.)"
)
"""What an answer says of an anomaly without a place."""


def founded(
    pieces: Iterable[str], question: str, kinds: Sequence[tuple[str, float]], regions: Sequence[Region] = ()
) -> Iterator[str]:
    """Sentences of an answer to whether anything is wrong, with nothing in them that is not known; others as they come.

    Causes and advice are those of the LIKELY kind of defect, see `knowledge`: where another is named, its first one
    stands instead. Where no kind is LIKELY, what names a cause is left out, as `cause_words` says a moment later that
    none can be told, and a whole "Yes" ends by saying that the kind is unclear. What says that there is no single place
    says where the map's first region is.

    Args:
        pieces: text of the language model as it comes.
        question: that it answers.
        kinds: of the look, the likeliest first.
        regions: of the look, the most suspicious one first; () leaves what is said of the map as it is.
    """
    if not asks_verdict(question):
        yield from pieces
        return
    if is_likely(kinds):
        kind, begun = KINDS.get(kinds[0][0]), ""
        for sentence in _sentences(pieces):
            yield _known(sentence, kind) if kind and says_yes(begun) else sentence
            begun = begun or sentence
        return
    where = f" {in_place(regions[0].place)}, {percent(regions[0].area)} of the picture" if regions else ""
    said = ""
    for sentence in _sentences(pieces):
        if sentence.lstrip().lower().startswith(_CAUSE):
            continue
        told = _NO_PLACE.sub(where, sentence) if where else sentence
        said += told
        yield told
    if says_yes(said) and said.endswith((".", "!", "?")):  # not one that was stopped
        yield f" {_UNCLEAR}"


def _known(sentence: str, kind: Kind) -> str:
    """A sentence with its space before it; one that names a cause or advice of another kind names one of this."""
    begins, space = sentence.lstrip().lower(), sentence[: len(sentence) - len(sentence.lstrip())]
    if begins.startswith(_CAUSE) and not any(cause in sentence for cause in kind.causes):
        return f"{space}It may come from {kind.causes[0]}; the picture alone cannot prove it."
    if begins.startswith(_ACTION) and not any(action in sentence for action in kind.actions):
        return f"{space}Next step: {kind.actions[0]}."
    return sentence


def _sentences(pieces: Iterable[str]) -> Iterator[str]:
    """Text in pieces -> its sentences, each with the space before it; the last may have been stopped."""
    text = ""
    for piece in pieces:
        *whole, text = _BETWEEN.split(text + piece)
        yield from whole
    if text:
        yield text


_ASKS_WHERE = _question(
    r"where(?: exactly)?(?: is (?:it|the [\w-]{1,20}(?: [\w-]{1,20})?)| should i look"
    r"| do you see [\w ]{1,30})?|(?:show|tell) me where(?: it is)?|location"
)


def asks_where(question: str) -> bool:
    """Whether a question asks at which place something is."""
    return _ASKS_WHERE.match(question) is not None


def where_words(finding: Finding) -> str:
    """The answer to `asks_where` where no LIKELY kind of defect is found; "" for others, which are in good hands.

    The language model has learned that a look without a kind mostly has no place either.
    """
    if finding.verdict != "anomalous" or not finding.regions or not finding.kinds or is_likely(finding.kinds):
        return ""
    first, *others = finding.regions
    also = list(dict.fromkeys(in_place(region.place) for region in others if region.place != first.place))[:2]
    more = f"; another spot {' and one '.join(also)}" if also else ""
    return f"{_sentence(in_place(first.place))}, about {percent(first.area)} of the picture{more}."


def unsure_place_words(regions: Sequence[Region]) -> str:
    """The answer to `asks_where` where the verdict is "unsure": it says neither that there is a defect nor that not."""
    if not regions:
        return "Nothing stands out on the map, yet the verdict is unsure: there is no place to point to."
    where = f"{in_place(regions[0].place)}, {percent(regions[0].area)} of the picture"
    return f"What stands out most is {where}. The verdict is unsure: it may be usual."


def undecided_words(
    regions: Sequence[Region], leaning: bool, kinds: Sequence[tuple[str, float]] = (), unknown: bool = False
) -> str:
    """The answer to whether something is wrong where the verdict is "unsure": what it leans to, and what would decide.

    Args:
        regions: of the look, the most suspicious one first.
        leaning: whether the score lies on the side of an anomaly.
        kinds: of the look, the likeliest first; named where it is LIKELY.
        unknown: whether the picture is unlike all that the model can judge.
    """
    if leaning and regions:
        where = f"{in_place(regions[0].place)}, {percent(regions[0].area)} of the picture"
        kind = f", {kinds[0][0]} if anything" if is_likely(kinds) else ""
        said = f"Yes, perhaps: what stands out most is {where}{kind}."
    elif leaning:
        said = "Yes, perhaps, though no single place stands out."
    elif regions:
        said = "No, as far as I can tell: what the map marks may be usual."
    else:
        said = "No, as far as I can tell: nothing stands out."
    if unknown:
        return f"{said} I cannot be sure: normal pictures of the same thing would show what is usual."
    return f"{said} I cannot be sure: a person should look at it."


def wording(question: str, clip: bool, doubt: str = "") -> Callable[[Finding], str] | None:
    """How a question is answered from the finding; None for one that is the language model's to answer.

    Args:
        question: the user's.
        clip: whether it is about a clip, of whose places a single map says nothing.
        doubt: of the look, why nothing can be decided, "" where it can.
    """
    thing = "clip" if clip else "picture"
    if asks_use(question):
        return lambda found: use_words(found.verdict, found.confidence, found.regions, found.kinds, thing)
    if asks_sure(question):
        return lambda found: sure_words(found, thing, doubt)
    if asks_checked(question):
        return checked_words
    if asks_cause(question) and not clip:
        return cause_words
    if asks_action(question) and not clip:
        return action_words
    if asks_where(question) and not clip:
        return where_words
    if asks_kind(question) and not clip:
        return kind_answer
    place = "" if clip else asks_place(question)
    return (lambda found: spot_words(place, found)) if place else None
