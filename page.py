"""The chat page's components, laid out, and what they show of looks and findings. What happens is in app.py."""

from __future__ import annotations

from typing import Any

import gradio as gr
import numpy as np
from gradio.utils import get_upload_folder

from assistant import render
from assistant.answer import in_parts
from assistant.clip_answer import clip_in_parts
from assistant.clip_preview import OpenedClip
from assistant.desk import MAX_HELD, Desk, Talk
from assistant.exchange import Exchange, linked
from assistant.gauge import gauge_html
from assistant.prompts import DEFAULT_QUESTION, MAX_QUESTION
from assistant.types import ClipFile, Finding, Frame, Media
from assistant.views import views_of
from data.examples import Example
from panels.chips import Chips
from panels.clip import ClipPanel
from panels.correct import Correct
from panels.report import ReportPanel
from panels.settings import Settings
from panels.sweep import KEPT_S
from panels.uploads import FILE_TYPES
from panels.views import Views, drawn

SHOWN_SIDE, STRIP_SIDE = 480, 160
"""Longest side of a picture in the chat and in the strip of references, pixels."""
NO_EVIDENCE = "### Evidence\nThe heatmap, the score and the places stand here once there is a picture."


def small(media: Media | ClipFile, side: int = SHOWN_SIDE) -> str:
    """The path of a small copy of the picture, or of a clip's first frame, that any browser can show."""
    if isinstance(media, OpenedClip):
        media = Media((render.with_play_mark(media.poster),), "clip", media.label)
    return str(render.small_copy(media, get_upload_folder(), side))


def shown(media: Media | ClipFile | None) -> list[dict[str, Any]]:
    """A picture, a clip or each view of an object as content of a chat message of its own."""
    if media is None:
        return []
    if isinstance(media, OpenedClip):
        return [{"path": small(media), "alt_text": f"Your clip {render.plain(media.label)}"}]
    return [
        {"path": small(one), "alt_text": f"Your {'picture ' if one is media else ''}{render.plain(one.name)}"}
        for one in (views_of(media) if media.kind == "views" else [media])
    ]


def thumbnail(example: Example) -> tuple[Any, str]:
    """An example as the gallery shows it: a picture, with a mark of play on a clip's, and its caption."""
    pixels = np.asarray(example.thumbnail())
    return (render.with_play_mark(Frame(pixels)).pixels if example.poster else pixels), example.caption


def worded(talk: Talk, exchange: Exchange) -> str:
    """The answer so far as Markdown: plain words, or in parts once the verdict on a new picture or clip is there."""
    look = talk.session().look
    if exchange.finding is not None and look is not None:
        if look.clip is not None:
            return clip_in_parts(exchange.answer, look, exchange.finding, exchange.number)
        return in_parts(exchange.answer, look, exchange.finding, exchange.said, exchange.number)
    return linked(render.escape(exchange.answer.strip()), look.regions if look is not None else (), exchange.number)


def forget(talk: Talk) -> None:
    """Called when a visitor has gone or begins anew: the running answer ends, and nothing of it is shown any more."""
    talk.closed = True
    talk.stop.set()


class Parts:
    """The page's components, laid out; the order of `changing` is the order of results for API clients."""

    def __init__(self, desk: Desk, learning: bool = True) -> None:
        self.correct = Correct() if learning else None
        self.talk = gr.State(Talk(desk), time_to_live=KEPT_S, delete_callback=forget)
        self.views = Views()
        self.clip = ClipPanel()
        self.report = ReportPanel()
        gr.Markdown(
            "# LookTwice\nShow it a picture or a clip: it says whether something is wrong, where, when, and why.",
            elem_id="title",
        )
        with gr.Row():
            with gr.Column(scale=5, min_width=300):
                self._build_chat()
                self.settings = Settings(desk.profile, learning)
                self.rate, self.rules = self.settings.rate, self.settings.rules
            with gr.Column(scale=5, min_width=300, elem_id="evidence"):
                self._build_evidence()
        self.changing = [
            self.chatbot,
            self.box,
            self.talk,
            self.status,
            self.verdict,
            self.meter,
            self.overlay,
            self.original,
            self.details,
            *self.views.changing,
            *self.chips.buttons,
            self.drop,
            self.strip,
            self.held,
            *self.clip.changing,
            self.rules.box,
        ]

    def _build_chat(self) -> None:
        self.chatbot = gr.Chatbot(
            label="Conversation", elem_id="chat", height=460, sanitize_html=True, allow_tags=False,
            buttons=["copy", "copy_all"], editable="user",
            latex_delimiters=[], feedback_options=None,
            placeholder="**Add a picture or a clip, or take an example below.**<br>"
            "Then ask on: where is it, how sure are you?",
        )  # fmt: skip
        self.status = gr.HTML(render.status_html("loading"), elem_id="status", padding=False)
        self.chips = Chips()
        self.box = gr.MultimodalTextbox(
            label="Your question", show_label=False, sources=["upload"], file_types=FILE_TYPES, file_count="multiple",
            placeholder=DEFAULT_QUESTION, max_plain_text_length=MAX_QUESTION, elem_id="box",
        )  # fmt: skip
        with gr.Row(elem_id="actions"):
            self.stop = gr.Button("Stop", size="md", min_width=100)
            self.new = gr.Button("New conversation", size="md", min_width=100)
            self.report.build_button()
        self.report.build_files()
        self.gallery = gr.Gallery(  # here, not at the end of the page: on a phone the evidence would lie before it
            label="Examples", show_label=False, elem_id="examples", allow_preview=False, columns=6, height="auto",
            interactive=False, buttons=[], visible=False,
        )  # fmt: skip
        with gr.Accordion("Normal references", open=False, elem_id="references"):
            self._build_references()

    def _build_references(self) -> None:
        self.drop = gr.File(
            label="Drop normal pictures of the same product, or a normal clip of the same scene", height=132,
            file_count="multiple", file_types=FILE_TYPES, elem_id="drop",
        )  # fmt: skip
        self.strip = gr.Gallery(
            label="References", show_label=False, elem_id="strip", columns=MAX_HELD, height="auto", interactive=False,
            allow_preview=False, buttons=[], visible=False,
        )  # fmt: skip
        self.held = gr.Markdown(render.references_line(0), elem_id="held")
        with gr.Row():
            self.clear = gr.Button("Clear references", size="md", min_width=100)

    def show_references(self, talk: Talk) -> dict[Any, Any]:
        """The strip as the conversation has it; the drop zone is empty again."""
        thumbs = [(small(media, STRIP_SIDE), str(n)) for n, media in enumerate(talk.references, start=1)]
        clips = sum(isinstance(media, ClipFile) for media in talk.references)
        return {
            self.talk: talk, self.drop: None, self.strip: gr.Gallery(thumbs, visible=bool(thumbs)),
            self.held: render.references_line(len(thumbs), clips),
        }  # fmt: skip

    def _build_evidence(self) -> None:
        view: dict[str, Any] = {"show_label": False, "interactive": False, "height": 380}
        self.verdict = gr.Markdown(NO_EVIDENCE, elem_id="verdict", sanitize_html=True)
        self.meter = gr.HTML(elem_id="meter", padding=False)
        self.clip.build()
        with gr.Tab("Heatmap"):
            self.overlay = gr.Image(
                label="Heatmap",
                buttons=["download", "fullscreen"],
                **view,
                elem_id="overlay",
                alt_text="The picture with suspicious places coloured and numbered",
            )
            self.views.build_slider()
        self.views.build_tabs(view["height"])
        with gr.Tab("Original"):
            self.original = gr.Image(
                label="Original", buttons=["fullscreen"], **view, alt_text="The picture as it was given"
            )
        self.details = gr.Markdown(elem_id="regions", sanitize_html=True)
        if self.correct is not None:
            self.correct.build()

    def show_exchange(self, talk: Talk, exchange: Exchange) -> dict[Any, Any]:
        """The evidence of the exchange that the conversation shows; its look is kept, its verdict may be to come."""
        look, picture = exchange.look, talk.picture
        shown = {
            self.verdict: "### Not decided yet", self.meter: "",
            self.overlay: drawn(talk, picture), self.original: picture.thumbnail,
            self.details: render.evidence_markdown(picture.regions, look.warnings), **self.views.show(picture),
            **self.clip.show(talk, exchange),
        }  # fmt: skip
        if look.clip is not None:
            shown |= self.rules.show(talk, look)
        return {**shown, **self.show_finding(talk, exchange.finding)} if exchange.finding else shown

    @property
    def still(self) -> list[Any]:
        """The components of the evidence that show one picture of it."""
        return [self.overlay, self.original, self.details, *self.views.changing]

    @property
    def panel(self) -> list[Any]:
        """The evidence's components."""
        return [self.verdict, self.meter, *self.still, *self.clip.changing, self.rules.box]

    def show_finding(self, talk: Talk, finding: Finding) -> dict[Any, Any]:
        """The verdict on the look that is shown; places are those of the picture that is shown of it."""
        whole = talk.frame is None
        regions = finding.regions if whole else talk.picture.regions
        kinds = render.shown_kinds(finding) if whole else ()
        return {
            self.verdict: f"### {render.verdict_line(finding)}", self.meter: gauge_html(finding),
            self.details: render.evidence_markdown(regions, finding.warnings, kinds),
        }  # fmt: skip
