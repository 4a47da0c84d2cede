"""The chat page: wiring and limits. The model loads in a thread of its own, so the page is there at once."""

from __future__ import annotations

import atexit
import logging
import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NoReturn

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # read while gradio is imported

import gradio as gr  # noqa: E402
import typer  # noqa: E402
from gradio.utils import get_upload_folder  # noqa: E402

from assistant import load, render  # noqa: E402
from assistant.chart import STYLE as CHART_STYLE  # noqa: E402
from assistant.command import run  # noqa: E402
from assistant.desk import MAX_WAITING, Desk, Talk  # noqa: E402
from assistant.errors import LookTwiceError  # noqa: E402
from assistant.prompts import MAX_QUESTION  # noqa: E402
from assistant.session import Decided, Done, Looked, Part, Stage  # noqa: E402
from assistant.tiling import checked_tiles  # noqa: E402
from assistant.types import ClipFile, Media  # noqa: E402
from data.examples import examples  # noqa: E402
from folder_tab import build_tab  # noqa: E402
from page import NO_EVIDENCE, Parts, forget, shown, thumbnail, worded  # noqa: E402
from panels.address import checked_address  # noqa: E402
from panels.auth import VARIABLE, read_auth  # noqa: E402
from panels.blocks import Page  # noqa: E402
from panels.clip import make_ready  # noqa: E402
from panels.endpoint import add_inspect  # noqa: E402
from panels.several import read_message  # noqa: E402
from panels.sweep import start_sweeping  # noqa: E402
from panels.uploads import REFUSED, is_upload, read_file, read_uploads  # noqa: E402, F401
from panels.views import SHOWS  # noqa: E402

AT_ONCE = 2 * MAX_WAITING
"""Questions that are let in, so that those whom the desk refuses are told why."""
LOCAL = ("127.0.0.1", "localhost", "::1")
BUSY = "One answer at a time: wait for the running one, or stop it."
BROKEN = "Something went wrong inside; the server's log says what. The conversation can go on."
log = logging.getLogger("looktwice.app")
Changes = Iterator[dict[Any, Any]]
Given = Callable[[], Media | ClipFile | None]
"""Reads what a message comes with, in its turn: a file that cannot be used is a sentence in the chat."""


def build(desk: Desk, learning: bool = True) -> Page:
    """The page for one model; with `learning` its visitors may keep corrections and choose the model."""
    with Page(title="LookTwice", analytics_enabled=False, delete_cache=(600, 3600)) as page:
        with gr.Tab("Chat"):
            parts = Parts(desk, learning)
        with gr.Tab("Folder"):
            build_tab(desk, is_upload, BROKEN)
        # The library sends a generator's last step once more when it ends. Were there something in that step, it would
        # undo what the visitor has done meanwhile: followed a link, begun to write.
        nothing = {parts.status: gr.skip()}

        def refused() -> dict[Any, Any]:
            """Say that an answer is running; it and what is written stay as they are."""
            gr.Warning(BUSY)
            return nothing

        def chat(message: dict[str, Any] | None, talk: Talk, rules: str | None = None) -> Changes:
            """Answer a message of text and an upload, or several views of one object; first comes the conversation."""
            files = list((message or {}).get("files") or [])
            text = str((message or {}).get("text") or "").strip()
            if files and talk.lent and not talk.busy:
                talk.clear_references()  # an example's say nothing about what the visitor has brought
                yield parts.show_references(talk)
            yield from turn(talk, text, lambda: read_message(files, talk.views), rules)

        def example(talk: Talk, event: gr.SelectData) -> Changes:
            """Look at the example that was clicked, under its own references, and ask its questions."""
            chosen = examples()[event.index]
            if talk.busy:
                yield refused()
                return
            if talk.references or chosen.references:
                talk.clear_references()
                talk.add_references([read_file(file) for file in chosen.references], lent=bool(chosen.references))
                yield parts.show_references(talk)
            for number, question in enumerate(chosen.questions):
                media = None if number else read_file(chosen.file, chosen.caption)
                yield from turn(talk, question, lambda media=media: media)
                if talk.stop.is_set() or talk.closed:
                    return

        def suggested(question: str, talk: Talk, rules: str | None = None) -> Changes:
            """Ask a suggested question."""
            yield from turn(talk, question, lambda: None, rules)

        def again(talk: Talk, rules: str | None = None) -> Changes:
            """Ask the last question again."""
            yield from ask_anew(talk, None, rules)

        def edit(talk: Talk, event: gr.EditData, rules: str | None = None) -> Changes:
            """Ask the last question in other words; an older one stays as it is."""
            if talk.busy or not talk.exchanges or talk.exchange_of(int(event.index)) is not talk.exchanges[-1]:
                gr.Info("Only the last question can be changed.")
                yield {parts.chatbot: talk.messages}
            else:
                yield from ask_anew(talk, str(event.value).strip(), rules)

        def ask_anew(talk: Talk, text: str | None, rules: str | None) -> Changes:
            if talk.busy:
                yield refused()
                return
            last = talk.take_back()
            if last is not None:
                yield from turn(talk, last.question if text is None else text, lambda: last.media, rules)

        def choose(talk: Talk, event: gr.SelectData) -> dict[Any, Any]:
            """Show the evidence of the exchange that a message belongs to."""
            index = event.index[0] if isinstance(event.index, list | tuple) else event.index
            exchange = talk.exchange_of(int(index))
            if exchange is None or exchange.look is None:
                return {parts.verdict: gr.skip()}
            talk.show(exchange)
            return parts.show_exchange(talk, exchange)

        def turn(talk: Talk, text: str, given: Given, rules: str | None = None) -> Changes:
            """One question: what changes on the page, step by step, and whatever happens an end.

            The rules come with the question: an event of their box may be on its way still.
            """
            if not talk.take_turn():
                yield refused()
                return
            try:
                parts.rules.take(talk, rules)
                yield {parts.box: None}  # taken; what is written from here on is the visitor's next question
                yield from answer(talk, text, given)
            except gr.Error:  # of the rules: nothing was asked
                raise
            except Exception as error:
                if not isinstance(error, LookTwiceError):
                    log.exception("a turn failed")
                talk.say("assistant", render.escape(str(error) if isinstance(error, LookTwiceError) else BROKEN))
            finally:
                talk.end_turn()
            if not talk.closed:
                end = {parts.chatbot: talk.messages, parts.talk: talk, parts.status: render.status_html("")}
                yield {**end, **parts.chips.show(talk)}
                yield nothing

        def answer(talk: Talk, text: str, given: Given) -> Changes:
            exchange = talk.begin(text)
            try:
                exchange.media = media = given()
                for picture in shown(media):
                    talk.say("user", picture)
            finally:  # the question stands in the chat before the sentence about a broken picture
                if text:
                    talk.say("user", render.escape(text[:MAX_QUESTION]))
            talk.stop = threading.Event()
            state = render.status_html("waiting" if desk.loaded.done() else "loading")
            begun = {parts.chatbot: talk.messages, parts.talk: talk, parts.status: state}
            yield {**begun, **parts.chips.show(None)}
            reply: dict[str, Any] | None = None
            cut, before = False, talk.shown
            copying = threading.Thread(target=make_ready, args=(talk, exchange), daemon=True)
            for event in desk.answer(talk.session, text, media, talk.stop, parts=True):
                if talk.closed:
                    return
                if isinstance(event, Stage):
                    counted = {"frame": event.frame, "frames": event.frames}
                    yield {parts.status: render.status_html(event.name, ahead=event.ahead, **counted)}
                    if event.name == "watching" and copying.ident is None:
                        copying.start()  # beside the look, whose frames are counted meanwhile
                elif isinstance(event, Looked):
                    if copying.ident is not None:
                        copying.join()
                    exchange.look, before = event.look, exchange
                    talk.show(exchange)
                    yield parts.show_exchange(talk, exchange)
                elif isinstance(event, Decided):
                    exchange.finding = event.finding
                    if talk.shown is exchange:
                        yield parts.show_finding(talk, event.finding)
                elif isinstance(event, Part):
                    exchange.said[event.name] = event.text
                else:
                    exchange.answer = event.text
                    cut = isinstance(event, Done) and event.stopped
                if not isinstance(event, Stage | Looked):
                    reply = reply or talk.say("assistant", "")
                    reply["content"] = (worded(talk, exchange) + ("\n\n*(stopped)*" if cut else "")).strip()
                    yield {parts.chatbot: talk.messages}
                if isinstance(event, Done):
                    stopped_before = media is not None and exchange.look is None
                    talk.end(None if stopped_before else talk.session().look, event.text, event.finding)
                    # where the visitor has gone to other evidence meanwhile, that stays
                    if event.finding is not None and talk.shown is before:
                        known = before is not None and before.look is exchange.look
                        talk.shown = exchange
                        yield parts.show_finding(talk, event.finding) if known else parts.show_exchange(talk, exchange)

        def add(files: list[Any] | None, talk: Talk) -> dict[Any, Any]:
            """Hold the conversation's looks against these normal pictures too, at most eight in all."""
            try:
                talk.add_references(read_uploads(files or []))
            except LookTwiceError as error:
                gr.Warning(render.plain(str(error)))
            return parts.show_references(talk)

        def clear(talk: Talk) -> dict[Any, Any]:
            """Hold the conversation's looks against nothing any more."""
            talk.clear_references()
            return parts.show_references(talk)

        def allow(percent: float | None, talk: Talk) -> Talk:
            """Set the threshold by a false-alarm rate in percent; 0 leaves it to the assistant."""
            try:
                talk.ask_for(percent / 100 if percent else None)
            except LookTwiceError as error:
                raise gr.Error(str(error), print_exception=False) from None
            return talk

        def stop(talk: Talk) -> None:
            """End the running answer at its next word."""
            talk.stop.set()

        def new(talk: Talk) -> dict[Any, Any]:
            """Forget everything and begin again."""
            forget(talk)
            fresh = Talk(desk)
            fresh.opacity, fresh.views = talk.opacity, talk.views  # slider and check box stay where they are
            return {
                **parts.show_references(fresh),
                **parts.views.show(None),
                **parts.clip.show(fresh, None),
                **parts.rules.show(fresh),
                **parts.chips.show(fresh),
                parts.rate: 0,
                parts.report.files: gr.File(None, visible=False),
                parts.chatbot: [],
                parts.meter: "",
                parts.overlay: None,
                parts.original: None,
                parts.details: "",
                parts.verdict: NO_EVIDENCE,
                parts.status: render.status_html(""),
            }

        def watch() -> Changes:
            """Say that the model is loading until it is there, then show the examples."""
            if not desk.loaded.done():
                yield {parts.status: render.status_html("loading")}
            desk.loaded.result()
            pictures = [] if desk.failure else [thumbnail(entry) for entry in examples()]
            gallery = gr.Gallery(pictures, visible=bool(pictures))
            yield {parts.status: render.status_html("", desk.failure), parts.gallery: gallery}
            yield nothing

        quiet: dict[str, Any] = {"show_progress": "hidden", "concurrency_limit": AT_ONCE}
        hidden: dict[str, Any] = {"api_visibility": "undocumented"}  # programs are offered one endpoint
        asked = [parts.talk, parts.rules.box]
        # The library drops without a word what comes while the same event is being answered, unless it is told not to.
        each: dict[str, Any] = {"trigger_mode": "multiple", **quiet}
        parts.box.submit(chat, [parts.box, *asked], parts.changing, api_name="chat", **hidden, **each)
        parts.gallery.select(example, [parts.talk], parts.changing, api_visibility="private", **quiet)
        parts.stop.click(stop, [parts.talk], None, queue=False, api_name="stop", **hidden)
        for chip in parts.chips.buttons:
            chip.click(suggested, [chip, *asked], parts.changing, api_visibility="private", **quiet)
        parts.chatbot.retry(again, asked, parts.changing, api_visibility="private", **quiet)
        parts.chatbot.edit(edit, asked, parts.changing, api_visibility="private", **quiet)
        parts.chatbot.select(choose, [parts.talk], parts.panel, trigger_mode="multiple", **SHOWS)
        parts.views.wire(parts.talk, parts.overlay, parts.show_exchange, parts.panel)
        parts.clip.wire(parts.talk, parts.show_exchange, parts.panel, parts.still)
        for drawer in (parts.rules, parts.settings.several):
            drawer.wire(parts.talk, hidden | quiet)
        panel = [*parts.panel, *parts.chips.buttons]
        strip = [parts.talk, parts.drop, parts.strip, parts.held]
        parts.report.wire(desk, parts.talk)
        if parts.correct is not None:
            parts.correct.wire(parts.talk)
            parts.settings.wire(desk)
        fresh = [*strip, parts.rate, parts.report.files, parts.chatbot, parts.status, *panel]
        parts.new.click(new, [parts.talk], fresh, queue=False, api_name="new", **hidden)
        parts.chatbot.clear(new, [parts.talk], fresh, queue=False, api_visibility="private")
        parts.drop.upload(add, [parts.drop, parts.talk], strip, api_name="references", **hidden, **quiet)
        parts.clear.click(clear, [parts.talk], strip, api_name="clear_references", **hidden, **quiet)
        parts.rate.change(allow, [parts.rate, parts.talk], [parts.talk], api_name="rate", **hidden, **quiet)
        page.load(watch, None, [parts.status, parts.gallery], api_visibility="private", **quiet)
        add_inspect(desk, BROKEN)
    return page


@dataclass(frozen=True)
class Limits:
    """How the page is served.

    Attributes:
        max_file_size: of one upload, as "200mb".
        auth: checks name and password; None lets everybody in.
        root_path: path under which a proxy serves the page, "" for none.
        mcp: whether /inspect is offered to language models as a tool.
    """

    max_file_size: str = "200mb"
    auth: Callable[[str, str], bool] | None = None
    root_path: str = ""
    mcp: bool = False


def serve(page: Page, host: str, port: int | None, limits: Limits | None = None, *, block: bool = True) -> str:
    """Open the page within its limits; the address. `port` None takes a free one; returns at once unless `block`."""
    limits = limits or Limits()
    Path(get_upload_folder()).mkdir(parents=True, exist_ok=True)
    start_sweeping(Path(get_upload_folder()), page.ended)
    page.queue(max_size=2 * AT_ONCE, default_concurrency_limit=1)
    theme = gr.themes.Default(  # fonts of the machine: the page must work without a network
        primary_hue="teal", secondary_hue="teal", neutral_hue="slate",
        font=("system-ui", "sans-serif"), font_mono=("ui-monospace", "monospace"),
    )  # fmt: skip
    try:
        _, url, _ = page.launch(
            server_name=host, server_port=port, max_file_size=limits.max_file_size, auth=limits.auth,
            root_path=limits.root_path or None, mcp_server=limits.mcp, show_error=False, share=False, ssr_mode=False,
            prevent_thread_lock=not block, footer_links=["api"], run_history=False, enable_monitoring=False,
            theme=theme, css_paths=[Path(__file__).with_name("app.css"), CHART_STYLE],
        )  # fmt: skip
    finally:
        if block:
            page.ended.set()
    return url


def end_at_once(uploads: Path, *_: object) -> NoReturn:
    """End as containers and services ask for it: uploads go, and nothing is waited for, a loading model neither."""
    for _ in range(100):  # one that is being written at this moment may come back
        shutil.rmtree(uploads, ignore_errors=True)
        if not uploads.exists():
            break
    os._exit(0)


def main(
    profile: Annotated[str, typer.Option(help="The model to use.")] = "embedded",
    host: Annotated[str, typer.Option(help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen at.")] = 7860,
    max_file_size: Annotated[str, typer.Option(help="Largest upload.")] = "200mb",
    tiles: Annotated[str | None, typer.Option(help="Look tile by tile too: auto, or a side in pixels.")] = None,
    adapter: Annotated[str | None, typer.Option(help="Of a OneVision profile: our weights.")] = None,
    quantization: Annotated[str | None, typer.Option(help="Of a OneVision profile: 4bit.")] = None,
    device_map: Annotated[str | None, typer.Option(help="Of a OneVision profile: auto.")] = None,
    share_gpu: Annotated[
        float | None, typer.Option(help="Of a OneVision profile: most of each GPU's memory to take, 0..1.")
    ] = None,
    auth: Annotated[
        Path | None, typer.Option(help=f"File with a name:password a line; one may stand in ${VARIABLE} instead.")
    ] = None,
    root_path: Annotated[str, typer.Option(help="Path under which a proxy serves the page.")] = "",
    mcp: Annotated[bool, typer.Option("--mcp", help="Offer /inspect to language models as a tool (MCP).")] = False,
    learn: Annotated[
        bool | None,
        typer.Option(help="Visitors may keep corrections and choose the model; by default on this machine."),
    ] = None,
) -> None:
    """Serve the chat page."""
    try:
        tiles = checked_tiles(tiles)
    except LookTwiceError as error:
        raise typer.BadParameter(str(error), param_hint="--tiles") from None
    host, port = checked_address(host, port)
    loader = partial(load, adapter=adapter, quantization=quantization, device_map=device_map, share_gpu=share_gpu)
    limits = Limits(max_file_size, read_auth(auth), root_path, mcp)
    uploads = tempfile.mkdtemp(prefix="looktwice-")  # of this run alone, gone with it
    os.environ["GRADIO_TEMP_DIR"] = uploads
    atexit.register(shutil.rmtree, uploads, ignore_errors=True)
    signal.signal(signal.SIGTERM, partial(end_at_once, Path(uploads)))
    if host not in LOCAL and limits.auth is None:
        log.warning("Whoever reaches this address can use the page: --auth asks for a name and a password.")
    serve(build(Desk(profile, loader, tiles), host in LOCAL if learn is None else learn), host, port, limits)


if __name__ == "__main__":
    run(main)
