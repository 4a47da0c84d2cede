"""One conversation: its turns, and which look each of them is about. Knows no page, no terminal and no model code."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from assistant.answer import QUESTIONS, wants_parts
from assistant.clip_words import checked_rules
from assistant.prompts import DEFAULT_QUESTION, asks_verdict
from assistant.threshold import checked_rate
from assistant.types import ClipFile, Finding, Look, Media, Timings

if TYPE_CHECKING:
    from assistant.clip_look import Normality, Progress
    from assistant.reference import References
    from assistant.tiling import Tiles

MAX_TURNS = 8
"""Turns kept of a conversation."""
MAX_LOOKS = 4
"""Pictures whose looks are kept."""
ALONE = "The normal references are clips, which hold for clips only: this picture was looked at by itself."
"""Said of a picture that was looked at while all references are clips."""


class Inspects(Protocol):
    """What a conversation needs of an inspector."""

    load_s: float

    def remember(self, sources: Sequence[Media]) -> References:
        """A memory of normal pictures."""
        ...

    def learn_normal(self, sources: Sequence[Media | ClipFile], *, progress: Progress) -> Normality:
        """What is usual in normal clips or frames."""
        ...

    def look_clip(
        self, source: ClipFile, normal: Normality | Sequence[Media] = (), *, rules: str = "", progress: Progress
    ) -> Look:
        """What the model sees in a clip."""
        ...

    def look(self, source: Media, references: References | Sequence[Media] = (), *, rate: float | None = None) -> Look:
        """What the model sees in a picture, held against references where there are some."""
        ...

    def ask(
        self,
        look: Look | None,
        question: str,
        history: Sequence[tuple[str, str]] = (),
        *,
        stop: threading.Event | None = None,
    ) -> Iterator[str]:
        """Pieces of an answer."""
        ...

    def finding(self, look: Look, explanation: str, timings: Timings | None = None) -> Finding:
        """The verdict on a look, with the words of an answer."""
        ...


@dataclass(frozen=True, eq=False)
class Turn:
    """One question and its answer; `look` is what they are about, None without a picture."""

    question: str
    answer: str
    look: Look | None


@dataclass(frozen=True)
class Stage:
    """What the assistant is doing now: "remembering", "looking", "watching" a clip, "answering" or "deciding".

    While a clip is looked at, `Session.ask` tells of each of its frames as well: "remembering", "watching", "closer" or
    "keys" with its number, `frame`, from 1, out of `frames`. A desk says "waiting" too, with the number of questions
    that are `ahead`.
    """

    name: str
    ahead: int = 0
    frame: int = 0
    frames: int = 0


@dataclass(frozen=True, eq=False)
class Looked:
    """A look at a new picture is there."""

    look: Look


@dataclass(frozen=True)
class Words:
    """More of the answer: the new piece, and the whole text so far."""

    piece: str
    text: str


@dataclass(frozen=True, eq=False)
class Done:
    """The turn is over.

    Attributes:
        finding: the verdict on the look, None without a picture and after a stop.
        text: the whole answer, maybe cut off.
        stopped: whether the user stopped it.
    """

    finding: Finding | None
    text: str
    stopped: bool = False


@dataclass(frozen=True, eq=False)
class Decided:
    """The verdict, before the parts of the answer that follow."""

    finding: Finding


@dataclass(frozen=True)
class Part:
    """One more part of the answer, by its name in `answer.QUESTIONS`."""

    name: str
    text: str


Event = Stage | Looked | Words | Decided | Part | Done
Tell = Callable[[Stage], None]


class _Stopped(Exception):
    """The user has stopped a look at a clip."""


def _nobody(_stage: Stage) -> None:
    """Tells nobody."""


def _uncounted(_what: str, _number: int, _of: int) -> None:
    """Frames that nobody is told of."""


class Session:
    """A conversation with one inspector: MAX_TURNS turns about at most MAX_LOOKS pictures, the oldest forgotten first.

    References and rate hold for every look of it until they are changed, `tiles` (see `Inspector.look`) throughout. Not
    for use by two threads at once.
    """

    def __init__(self, inspector: Inspects, tiles: Tiles = None) -> None:
        self._inspector = inspector
        self._tiles: dict[str, Tiles] = {} if tiles is None else {"tiles": tiles}
        self._turns: list[Turn] = []
        self._looks: list[Look] = []
        self._media: Media | ClipFile | None = None
        self._references: Sequence[Media | ClipFile] = ()
        self._memory: References | None = None
        self._normality: Normality | None = None
        self._rules = ""
        self._rate: float | None = None
        self._outdated = False

    @property
    def turns(self) -> tuple[Turn, ...]:
        """The turns kept, oldest first."""
        return tuple(self._turns)

    @property
    def look(self) -> Look | None:
        """The look that questions are about now: the newest one, None without a picture."""
        return self._looks[-1] if self._looks else None

    @property
    def looks(self) -> tuple[Look, ...]:
        """The looks kept, oldest first."""
        return tuple(self._looks)

    def use(self, inspector: Inspects) -> None:
        """Go on with this model. Looks, turns and references of another one are forgotten: they mean nothing to it.

        The newest picture is looked at again with the next question.
        """
        if inspector is not self._inspector:
            self._inspector, self._memory, self._normality = inspector, None, None
            self._looks, self._turns = [], []
            self._outdated = self._media is not None

    def take_back(self) -> None:
        """Forget the newest turn; its look is kept."""
        self._turns = self._turns[:-1]

    def hold(self, references: References | Sequence[Media | ClipFile], rate: float | None = None) -> None:
        """Hold what follows against these normal pictures, or against none, with this false-alarm rate.

        A question that follows without a new picture makes the newest one be looked at again, under the new terms.

        Args:
            references: pictures, or what the inspector's `remember` kept of them; () for none. Normal clips hold
                for clips only, pictures for both.
            rate: as `Inspector.look` takes it.

        Raises RateError for a rate that cannot be asked for; everything is then as before.
        """
        checked_rate(rate)
        given = references if isinstance(references, Sequence) else ()
        if not isinstance(references, Sequence):
            self._memory = references
        elif list(map(id, given)) != list(map(id, self._references)) or not given:
            self._memory = self._normality = None
        self._references, self._rate, self._outdated = tuple(given), rate, self._media is not None

    def rule(self, text: str) -> None:
        """Hold clips against these rules of normality from now on, "" for those that a normal clip gives.

        Raises QuestionError when they are too long; everything is then as before.
        """
        checked_rules(text)
        if text != self._rules:
            self._rules, self._outdated = text, self._outdated or isinstance(self._media, ClipFile)

    def memory(self) -> References | None:
        """What is kept of the references, made once for each set of them; None without.

        Normal clips among them are left out: they are references for clips. Raises LookTwiceError when a picture cannot
        be used.
        """
        if self._memory is None and self._normal_pictures:
            self._memory = self._inspector.remember(self._normal_pictures)
        return self._memory

    @property
    def _normal_pictures(self) -> list[Media]:
        return [one for one in self._references if not isinstance(one, ClipFile)]

    def normality(self, progress: Progress = _uncounted) -> Normality | None:
        """What is usual in the references as clips are held against it, made once; None without. Errors as `memory`."""
        if self._normality is None and self._references:
            self._normality = self._inspector.learn_normal(self._references, progress=progress)
        return self._normality

    def attach(self, media: Media | ClipFile, progress: Progress = _uncounted) -> Look:
        """Look at a picture or clip, once; the questions that follow are about it.

        Raises LookTwiceError when it or a reference cannot be used; the conversation is then as before.
        """
        if isinstance(media, ClipFile):
            normal = self.normality(progress) or ()
            look = self._inspector.look_clip(media, normal, rules=self._rules, progress=progress)
        else:
            memory = self.memory()
            look = self._inspector.look(media, () if memory is None else memory, rate=self._rate, **self._tiles)
            if self._references and memory is None:
                look = replace(look, warnings=(*look.warnings, ALONE))
        self._looks = [*self._looks, look][-MAX_LOOKS:]
        self._turns = [turn for turn in self._turns if turn.look is None or turn.look in self._looks]
        self._media, self._outdated = media, False
        return look

    def ask(
        self,
        question: str,
        media: Media | ClipFile | None = None,
        *,
        stop: threading.Event | None = None,
        parts: bool = False,
        tell: Tell = _nobody,
    ) -> Iterator[Event]:
        """Answer one question, as events: remembering, looking, Looked, answering, Words..., deciding, Done.

        The first comes only where references are new, the first three where there is something new to look at. With
        `parts` a new picture that is asked about as a whole gives Decided, adding and Part... before Done; a new clip
        gives Decided, whatever is asked.

        Args:
            question: the words of the user; empty with a picture means the default question.
            media: a new picture or clip to attach first; without it the question is about the newest one.
            stop: ends the turn at the next word, or frame of a clip, when it is set; what was said until then stays in
                the conversation.
            parts: whether cause and advice are asked for where something is wrong; they do not enter the history.
            tell: is given a Stage for each frame of a clip, while the iterator is at work on its next event.

        Raises LookTwiceError (a picture or question that cannot be used); the turn is then not kept.
        """
        stop = stop or threading.Event()

        def progress(what: str, number: int, of: int) -> None:
            if stop.is_set():
                raise _Stopped
            tell(Stage(what, frame=number, frames=of))

        if media is not None:
            question = question.strip() or DEFAULT_QUESTION
        elif self._outdated:
            media = self._media
        if media is not None:
            clip = isinstance(media, ClipFile)
            new = self._references if clip else self._normal_pictures
            try:
                if (self._normality if clip else self._memory) is None and new:
                    yield Stage("remembering")
                    self.normality(progress) if clip else self.memory()
                yield Stage("watching" if clip else "looking")
                look = self.attach(media, progress)
            except _Stopped:  # the questions that follow are about it all the same: it is looked at then
                self._media, self._outdated = media, True
                yield Done(None, "", stopped=True)
                return
            yield Looked(look)
        look = self.look
        yield Stage("answering")
        history = [(turn.question, turn.answer) for turn in self._turns if turn.look is look]
        text, first_word_s, begun = "", 0.0, time.perf_counter()
        if not stop.is_set():
            for piece in self._inspector.ask(look, question, history, stop=stop):
                if not text:
                    first_word_s = time.perf_counter() - begun
                text += piece
                yield Words(piece, text)
        text = text.strip()
        if text:
            self._turns = [*self._turns, Turn(question, text, look)][-MAX_TURNS:]
        if stop.is_set():
            yield Done(None, text, stopped=True)
            return
        if look is None:
            yield Done(None, text)
            return
        yield Stage("deciding")
        answer_s = time.perf_counter() - begun
        timings = Timings(self._inspector.load_s, look.look_s, first_word_s, answer_s)
        finding = self._inspector.finding(look, text, timings)
        if parts and media is not None and (look.clip is not None or asks_verdict(question)):
            yield Decided(finding)
            if look.clip is None and wants_parts(finding):
                yield Stage("adding")
                yield from self._parts(look, [(question, text)], stop)
        yield Done(finding, text)

    def _parts(self, look: Look, history: list[tuple[str, str]], stop: threading.Event) -> Iterator[Part]:
        """Cause and advice in the language model's words; a part that was stopped in the middle is left out.

        What the answer has said by itself is not asked for: it would be said twice, or otherwise.
        """
        for name, question in QUESTIONS.items():
            if any(name.lower() in answer.lower() for _, answer in history):
                continue
            text = "".join(self._inspector.ask(look, question, history, stop=stop)).strip()
            if stop.is_set():
                return
            if text:
                yield Part(name, text)
