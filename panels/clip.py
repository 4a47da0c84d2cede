"""The evidence of a clip: a player, its score over time with the spans shaded, and its key frames."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from abc import ABCMeta
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.component_meta import ComponentMeta
from gradio.data_classes import FileData
from gradio.utils import get_upload_folder

from assistant import render
from assistant.chart import SPAN_LINK, chart_html, spans_html
from assistant.clip_preview import OpenedClip, write_preview
from assistant.desk import Talk
from assistant.errors import LookTwiceError
from assistant.exchange import Exchange, main_picture, pictures_in
from assistant.types import ClipFacts, Look
from panels.views import SHOWS

SCRIPT = Path(__file__).with_name("clip.js")
NOT_PLAYED = "The browser cannot play this clip; its key frames and its score over time are shown all the same."
KEY_SIDE = 320
"""Longest side of a key frame in the row, pixels."""
log = logging.getLogger("looktwice.clip")


class _Plain(ComponentMeta):
    """Makes a component's class without writing an interface file beside its source, as the library otherwise does."""

    def __new__(cls, name: str, bases: tuple[type, ...], attrs: dict[str, Any]) -> Any:
        return ABCMeta.__new__(cls, name, bases, attrs)


class Player(gr.Video, metaclass=_Plain):
    """A player for files that browsers can play. The library's own would run ffprobe, without limits, on any upload."""

    is_template = True  # the front end knows it as a video

    def postprocess(self, value: Any) -> FileData | None:
        """The file as it is, None where it is gone: uploads are kept for an hour."""
        if not value or not Path(str(value)).is_file():
            return None
        return FileData(path=str(value), orig_name=Path(str(value)).name)


class ClipPanel:
    """The components; all of them are hidden while a picture's evidence is shown."""

    def __init__(self) -> None:
        script = SCRIPT.read_text(encoding="utf-8").replace("LINK", SPAN_LINK)
        self.jumps = gr.HTML("", js_on_load=script, elem_id="jumps", padding=False)

    def build(self) -> None:
        """Lays out player, chart and key frames."""
        self.player = Player(
            label="The clip", show_label=False, interactive=False, height=260, visible=False, elem_id="clip", buttons=[]
        )
        self.timeline = gr.HTML("", elem_id="timeline", padding=False, visible=False)
        self.keys = gr.Gallery(
            label="Key frames", show_label=False, elem_id="keys", columns=4, height="auto", interactive=False,
            allow_preview=False, buttons=[], visible=False,
        )  # fmt: skip

    @property
    def changing(self) -> list[Any]:
        """What an exchange changes."""
        return [self.player, self.timeline, self.keys]

    def show(self, talk: Talk, exchange: Exchange | None) -> dict[Any, Any]:
        """The clip of an exchange, or the views of its object; nothing where it is about a picture, or None."""
        look = exchange.look if exchange is not None else None
        if look is None or len(pictures_in(look)) < 2 and look.clip is None:
            return {
                self.player: Player(None, visible=False), self.timeline: gr.HTML("", visible=False),
                self.keys: gr.Gallery([], visible=False),
            }  # fmt: skip
        facts, first = look.clip, talk.first_about(look) or exchange
        plays = facts is not None and first.player is not None and first.player.is_file()
        frames = [(render.overlay(one), caption(one, n, facts)) for n, one in enumerate(pictures_in(look))]
        chosen = main_picture(look) if talk.frame is None else talk.frame
        return {
            self.player: Player(str(first.player) if plays else None, visible=plays),
            self.timeline: gr.HTML(timeline(look, first.number, plays) if facts else "", visible=facts is not None),
            self.keys: gr.Gallery(frames, visible=True, selected_index=chosen, columns=min(4, len(frames))),
        }

    def wire(
        self, talk: gr.State, shows: Callable[[Talk, Exchange], dict[Any, Any]], panel: list[Any], still: list[Any]
    ) -> None:
        """A link to a moment shows its exchange and the key frame at its peak, a key frame is shown large.

        Args:
            talk: the conversation.
            shows: a conversation, one of its exchanges -> what the page shows of it.
            panel: every component of that.
            still: those of them that change with the key frame alone.
        """

        def jump(here: Talk, event: gr.SelectData) -> dict[Any, Any]:
            number, span = (int(one) for one in event.index)
            exchange = here.exchange(number)
            if exchange is None or exchange.look is None or exchange.look.clip is None:
                raise gr.Error("This clip is no longer kept: show it again.", print_exception=False)
            known = here.shown is not None and here.shown.look is exchange.look
            here.show(exchange, key_of(exchange.look.clip, span))
            found = shows(here, exchange)
            if not known:
                return found
            # the player is left as it is: given anew it would begin at the beginning
            return {part: value for part, value in found.items() if part in still or part is self.keys}

        def choose(here: Talk, event: gr.SelectData) -> dict[Any, Any]:
            if here.shown is None or here.shown.look is None:
                return {self.keys: gr.skip()}
            here.show(here.shown, int(event.index))
            found = shows(here, here.shown)
            return {part: found[part] for part in still}

        # not "always_last": what a click was on is lost when the library puts it off
        self.jumps.select(jump, [talk], panel, trigger_mode="multiple", **SHOWS)
        self.keys.select(choose, [talk], [*still, self.keys], trigger_mode="multiple", **SHOWS)


def make_ready(talk: Talk, exchange: Exchange) -> None:
    """Gives the exchange that is being answered the file that the player plays of the newest clip, where there is one.

    Takes a second or two where it must be copied; called in a thread of its own, while the model looks.
    """
    latest = talk.latest()
    if latest is not None and isinstance(latest.media, OpenedClip):
        exchange.player = latest.player or played(latest.media)


def played(clip: OpenedClip) -> Path | None:
    """A file of the clip that browsers play, under a name of our own; None where there can be none."""
    file = Path(tempfile.mkdtemp(prefix="clip-", dir=get_upload_folder())) / "clip.mp4"
    try:
        if not clip.plays:
            return write_preview(clip, file)
        file = file.with_suffix(Path(clip.source).suffix.lower())
        try:
            os.link(clip.source, file)  # the same bytes under another name
        except OSError:
            shutil.copyfile(clip.source, file)
        return file
    except LookTwiceError as error:
        log.info("a clip is not played: %s", error)
    except OSError:
        log.exception("a clip could not be made ready for the player")
    return None


def key_of(facts: ClipFacts, span: int) -> int | None:
    """Index of the key frame at the peak of a span, 1 is the first one; None where none lies in it."""
    if not 1 <= span <= len(facts.spans):
        return None
    wanted = facts.spans[span - 1]
    inside = [n for n, key in enumerate(facts.keys) if wanted.start <= key.time <= wanted.end]
    return min(inside, key=lambda n: abs(facts.keys[n].time - wanted.peak), default=None)


def timeline(look: Look, number: int, plays: bool) -> str:
    """Chart and spans of a clip as HTML."""
    facts = look.clip
    keys = " ".join(f"{key.time:.3f}" for key in facts.keys)
    unplayed = "" if plays else f'<p class="unplayed">{NOT_PLAYED}</p>'
    return (
        f'<div data-exchange="{number}" data-seconds="{facts.duration:.3f}" data-keys="{keys}">{unplayed}'
        f"{chart_html(facts, look.threshold, number)}{spans_html(facts, number)}</div>"
    )


def caption(picture: Look, index: int, facts: ClipFacts | None) -> str:
    """Under a key frame: "2.4 s, score 0.81"; under a view: "View 1, score 0.81"."""
    return f"{f'{picture.time:.1f} s' if facts else f'View {index + 1}'}, score {picture.score:.2f}"
