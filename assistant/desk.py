"""One model for many conversations: one thread does all its work, first come, first served. Knows no page."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from assistant import load
from assistant.clip_words import checked_rules
from assistant.errors import LookTwiceError, MediaError, QueueFullError
from assistant.exchange import Exchange, main_picture, pictures_in, small_look
from assistant.render import OPACITY
from assistant.session import Event, Session, Stage, Tell, Words
from assistant.threshold import checked_rate
from assistant.types import ClipFile, Finding, Look, Media
from assistant.versions import SHIPPED, joined, resolved, split_name, use

if TYPE_CHECKING:
    from assistant.inspector import Inspector
    from assistant.tiling import Tiles

POLL = 0.2
"""Seconds between two looks at the stop signal while other conversations have the model."""
MAX_WAITING = 16
"""Questions that wait for the model or are being answered; another one is refused with a sentence."""
MAX_MESSAGES = 40
"""Messages that one chat shows; older ones leave it."""
MAX_HELD = 8
"""References of one conversation."""
log = logging.getLogger(__name__)


class Desk:
    """Loads a profile and then answers, all in one thread of its own.

    Readers only ever wait for a queue, so one that goes away in the middle cannot keep the model from the others.

    Attributes:
        profile: name of the profile.
        tiles: how every picture is looked at, see `Inspector.look`.
        loaded: done when loading has succeeded or failed.
        failure: why the model could not be loaded, empty while loading and when it is there.
    """

    def __init__(self, profile: str, loader: Callable[[str], Inspector] = load, tiles: Tiles = None) -> None:
        self.profile, self.tiles, self._loader = profile, tiles, loader
        self._worker = ThreadPoolExecutor(1, "looktwice-model")
        self._inspector: Inspector | None = None
        self.failure = ""
        self._line: list[object] = []
        self._line_lock = threading.Lock()
        self.loaded = self._worker.submit(self._load, profile, loader)

    def _load(self, profile: str, loader: Callable[[str], Inspector]) -> None:
        try:
            self._inspector = loader(profile)
        except LookTwiceError as error:
            self.failure = str(error)
        except Exception:
            log.exception("the model could not be loaded")
            self.failure = "The model could not be loaded; the server's log says why."

    @property
    def inspector(self) -> Inspector:
        """The loaded model; raises LookTwiceError when there is none."""
        if self._inspector is None:
            raise LookTwiceError(self.failure or "The model is still loading.")
        return self._inspector

    @property
    def model(self) -> str:
        """Name of the model that answers, with the version of its weights; of the profile while there is none."""
        return self._inspector.profile if self._inspector is not None else resolved(self.profile)

    def switch(self, model: str) -> Future[None]:
        """Let another model answer, and from the next start on too; conversations look again with it.

        The result raises LookTwiceError when it cannot be loaded; the old one then goes on answering.

        Args:
            model: a profile's name, with a version of its weights unless they are the shipped ones.
        """

        def work() -> None:
            profile, version = split_name(model)
            inspector = self._loader(joined(profile, version) if version != SHIPPED else f"{profile}@{SHIPPED}")
            use(profile, version)
            self._inspector, self.profile, self.failure = inspector, profile, ""

        return self._worker.submit(work)

    def submit(self, work: Callable[[], Any]) -> Future[Any]:
        """Queue work for the model's thread."""
        return self._worker.submit(work)

    def run(self, work: Callable[[], Any]) -> Any:
        """The result of work in the model's thread, in turn with questions.

        Raises QueueFullError, or what the work raises.
        """
        with self._in_line() as ticket:
            return self.submit(lambda: self._served(ticket, work)).result()

    @contextmanager
    def _in_line(self) -> Iterator[object]:
        """A place in the line of questions until it has been served; raises QueueFullError when there is none."""
        ticket = object()
        with self._line_lock:
            if len(self._line) >= MAX_WAITING:
                raise QueueFullError(
                    f"The queue is full: {MAX_WAITING} questions are ahead, yours would have been number "
                    f"{MAX_WAITING + 1}.", "Please ask again in a minute.",
                )  # fmt: skip
            self._line.append(ticket)
        try:
            yield ticket
        finally:
            self._leave(ticket)

    def _leave(self, ticket: object) -> None:
        with self._line_lock:
            if ticket in self._line:
                self._line.remove(ticket)

    def _served(self, ticket: object, work: Callable[[], Any]) -> Any:
        try:
            return work()
        finally:
            self._leave(ticket)

    def _ahead(self, ticket: object) -> int:
        """How many questions are answered before the one with this ticket, 0 when it has been served."""
        with self._line_lock:
            return self._line.index(ticket) if ticket in self._line else 0

    def session(self) -> Session:
        """A new conversation; raises LookTwiceError when there is no model."""
        return Session(self.inspector, self.tiles)

    def answer(
        self,
        session: Callable[[], Session],
        question: str,
        media: Media | ClipFile | None,
        stop: threading.Event,
        *,
        parts: bool = False,
    ) -> Iterator[Event]:
        """The events of `Session.ask` as the model's thread makes them; words that piled up come as one event.

        While others are ahead there is a Stage "waiting" whenever their number changes.

        Args:
            session: gives the conversation, called in the model's thread when it is this one's turn.
            question: the words of the user.
            media: a new picture or clip, or None.
            stop: ends the answer, or takes it out of the queue. Closing the iterator sets it.
            parts: as `Session.ask` takes it.

        Raises QueueFullError, and what `session` and `Session.ask` raise.
        """
        with self._in_line() as ticket:
            yield from self._answer(
                ticket, lambda tell: session().ask(question, media, stop=stop, parts=parts, tell=tell), stop
            )

    def _answer(self, ticket: object, ask: Callable[[Tell], Iterator[Event]], stop: threading.Event) -> Iterator[Event]:
        events: queue.SimpleQueue[Event | Exception | None] = queue.SimpleQueue()

        def work() -> None:
            try:
                for event in ask(events.put):
                    events.put(event)
                events.put(None)
            except Exception as error:  # raised again by the reader below
                events.put(error)

        job = self.submit(lambda: self._served(ticket, work))
        told = 0
        try:
            while True:
                if (ahead := self._ahead(ticket)) not in (0, told):
                    told = ahead
                    yield Stage("waiting", ahead)
                try:
                    event = events.get(timeout=POLL)
                except queue.Empty:
                    if stop.is_set() and job.cancel():
                        return
                    continue
                if event is None:
                    return
                if isinstance(event, Exception):
                    raise event
                passing = isinstance(event, Words) or isinstance(event, Stage) and event.frames > 0
                if passing and not events.empty():
                    continue  # the event that follows holds these words too, or is about a later frame
                yield event
        finally:
            stop.set()
            job.cancel()


class Talk:
    """One visitor at the desk: the session, what the chat shows, and the stop signal of the running answer.

    Attributes:
        messages: {"role", "content"} as shown, at most MAX_MESSAGES.
        references: normal pictures and clips that every look of the conversation is held against, at most MAX_HELD.
        lent: whether they came with an example; they leave with it.
        rate: the false-alarm rate that was asked for, None when none was.
        rules: of normality in clips, in the user's words; "" for those that are drafted from a normal clip.
        views: whether several pictures in one message are views of one object.
        shown: the exchange whose evidence the page shows.
        frame: index of the key frame or view of its look that is shown, None for the one that speaks for it.
        opacity: of the heatmap on the page, 0..1.
        focus: number of the region that the page shows among its surroundings darkened, 0 for none.
        exchanges: the questions so far with what came of them, oldest first.
        closed: whether the visitor has begun anew elsewhere, so that nothing of this may be shown any more.
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._session: Session | None = None
        self.messages: list[dict[str, Any]] = []
        self.exchanges: list[Exchange] = []
        self.shown: Exchange | None = None
        self.opacity, self.focus = OPACITY, 0
        self.frame: int | None = None
        self.references: tuple[Media | ClipFile, ...] = ()
        self.lent = False
        self.rate: float | None = None
        self.rules, self.views = "", False
        self._new_terms = False
        self.stop = threading.Event()
        self.closed = False
        self._turn = threading.Lock()

    def __deepcopy__(self, memo: dict[int, Any]) -> Talk:
        """A new conversation: the library gives every visitor a copy of the page's first one."""
        return Talk(self._desk)

    @property
    def busy(self) -> bool:
        """Whether an answer is running."""
        return self._turn.locked()

    def take_turn(self) -> bool:
        """Whether an answer may run now: then no other one may until `end_turn`."""
        return self._turn.acquire(blocking=False)

    def end_turn(self) -> None:
        """The answer has ended."""
        self._turn.release()

    def session(self) -> Session:
        """The session, begun with the first question, under the newest terms.

        Raises LookTwiceError when there is no model.
        """
        self._session = self._session or self._desk.session()
        self._session.use(self._desk.inspector)
        if self._new_terms:
            self._new_terms = False
            self._session.hold(self.references, self.rate)
        self._session.rule(self.rules)
        return self._session

    def show(self, exchange: Exchange | None, frame: int | None = None, focus: int = 0) -> None:
        """Have the evidence of this exchange shown: of its look this key frame or view, and this region of that."""
        self.shown, self.frame, self.focus = exchange, frame, focus

    @property
    def picture(self) -> Look | None:
        """The look at the picture that the page shows large: the whole, one of its key frames or one of its views."""
        look = self.shown.look if self.shown is not None else None
        if look is None:
            return None
        known = pictures_in(look)
        return known[self.frame if self.frame is not None and self.frame < len(known) else main_picture(look)]

    def rule(self, text: str) -> None:
        """Hold clips against these rules of normality from now on; raises QuestionError when they are too long."""
        checked_rules(text)
        self.rules = text.strip()

    def add_references(self, pictures: Sequence[Media | ClipFile], *, lent: bool = False) -> None:
        """Hold every look from now on against these normal pictures too, instead of an example's where there are such.

        Raises MediaError when they are too many.
        """
        if self.lent:
            self.clear_references()
        if len(self.references) + len(pictures) > MAX_HELD:
            raise MediaError(f"A conversation has at most {MAX_HELD} references.", "Clear them first, or add fewer.")
        self.references, self.lent, self._new_terms = (*self.references, *pictures), lent, True

    def clear_references(self) -> None:
        """Hold looks against nothing any more."""
        self.references, self.lent, self._new_terms = (), False, True

    def ask_for(self, rate: float | None) -> None:
        """Set the threshold by this false-alarm rate from now on; raises RateError when it cannot be asked for."""
        self.rate, self._new_terms = checked_rate(rate), True

    def say(self, role: str, content: Any) -> dict[str, Any]:
        """Append one message and return it; its content may still change."""
        self.messages = [*self.messages, {"role": role, "content": content}][-MAX_MESSAGES:]
        if self.exchanges:
            self.exchanges[-1].messages.append(self.messages[-1])
        return self.messages[-1]

    def begin(self, question: str) -> Exchange:
        """A new exchange; what is said from now on belongs to it."""
        number = self.exchanges[-1].number + 1 if self.exchanges else 1
        self.exchanges = [*self.exchanges, Exchange(number, question)][-MAX_MESSAGES:]
        return self.exchanges[-1]

    def end(self, look: Look | None, answer: str, finding: Finding | None) -> None:
        """What came of the newest exchange. What the session has forgotten is let go of in the others too."""
        newest = self.exchanges[-1]
        newest.look, newest.answer, newest.finding, newest.kept = look, answer, finding, bool(answer)
        if look is not None:
            known = (each.record for each in self.exchanges[:-1] if each.look is look and each.record is not None)
            newest.record = next(known, None) or small_look(look)
            newest.player = (self.first_about(look) or newest).player
        held, latest = self._session.looks if self._session else (), self.latest()
        for exchange in self.exchanges:
            if exchange.look not in held:
                exchange.look = None
            if exchange is not latest:
                exchange.media = None

    def latest(self) -> Exchange | None:
        """The exchange with the newest picture or clip, None when there was none."""
        return next((exchange for exchange in reversed(self.exchanges) if exchange.media is not None), None)

    def first_about(self, look: Look) -> Exchange | None:
        """The first exchange that is about this look, None when it has gone."""
        return next((exchange for exchange in self.exchanges if exchange.look is look), None)

    def exchange(self, number: int) -> Exchange | None:
        """The exchange of this number, None when it has gone."""
        return next((exchange for exchange in self.exchanges if exchange.number == number), None)

    def exchange_of(self, message: int) -> Exchange | None:
        """The exchange that the message at this index of `messages` belongs to."""
        if not 0 <= message < len(self.messages):
            return None
        shown = self.messages[message]
        return next((each for each in self.exchanges if any(shown is known for known in each.messages)), None)

    def take_back(self) -> Exchange | None:
        """Remove the newest exchange from the chat and the session, to ask it again; None when there is none."""
        if not self.exchanges:
            return None
        *self.exchanges, last = self.exchanges
        self.messages = [shown for shown in self.messages if not any(shown is known for known in last.messages)]
        if last.kept and self._session is not None:
            self._session.take_back()
        return last
