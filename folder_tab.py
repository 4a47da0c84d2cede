"""The page's second tab: many pictures or a zip, listed by suspicion. Wiring only, as app.py."""

from __future__ import annotations

import html
import logging
import queue
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.utils import get_upload_folder

from assistant import render
from assistant.desk import Desk
from assistant.entries import SUFFIXES, list_files
from assistant.errors import LookTwiceError, MediaError

HEADERS = ["#", "Picture", "File", "Verdict", "Suspicion", "Score", "Where"]
TYPES = ["str", "html", "str", "str", "str", "str", "str"]
WIDTHS = ["44px", "84px", "150px", "100px", "104px", "70px", "220px"]
MAX_UPLOADED = 500
"""Pictures of one run on the page: it takes about a second for each."""
THUMBNAIL = 64
POLL = 0.3
"""Seconds between two looks at how far a run is."""
HINT = "Drop the pictures of one product, or a zip of them: they are held against each other and listed by suspicion."
WORDS = {"looking": "Looking at the pictures", "comparing": "Comparing them with each other", "": "Writing the list"}
log = logging.getLogger("looktwice.folder")
Changes = Iterator[dict[Any, Any]]


class Visit:
    """What one visitor's tab holds: the last batch, its folder of its own, and the stop signal of the running one."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="folder-", dir=get_upload_folder()))
        self.batch: Any = None
        self.stop = threading.Event()
        self.busy = False

    def close(self) -> None:
        """Ends what runs and removes the folder."""
        self.stop.set()
        shutil.rmtree(self.folder, ignore_errors=True)


def forget(visit: Visit | None) -> None:
    """Called when a visitor has gone."""
    if visit is not None:
        visit.close()


def line(text: str, share: float | None = None) -> str:
    """The line that says what is done, with a bar when a share 0..1 is known; screen readers announce the words."""
    bar = ""
    if share is not None:
        bar = f'<progress max="1" value="{share:.3f}" style="width:100%" aria-label="progress"></progress>'
    return f'<div role="status" aria-live="polite">{html.escape(text)}</div>{bar}'


def table(batch: Any) -> list[list[str]]:
    """Rows of the list, foreign text escaped where the cell is HTML."""
    from assistant.batch_report import data_uri, where

    rows = []
    for row in batch.rows:
        picture = ""
        if row.key:
            source = data_uri(batch.look(row).thumbnail, THUMBNAIL)
            size = f"max-width:{THUMBNAIL}px;max-height:{THUMBNAIL}px"
            picture = f'<img src="{source}" alt="{html.escape(row.name)}" style="{size}">'
        numbers = ["" if value is None else f"{value:.2f}" for value in (row.suspicion, row.score)]
        rows.append([str(row.rank or ""), picture, row.name, row.verdict, *numbers, row.problem or where(row)])
    return rows


def build_tab(desk: Desk, is_upload: Callable[[Any], bool], broken: str) -> None:
    """The tab's components and what they do.

    Args:
        desk: the model; each picture is one piece of its work, so conversations are answered in between.
        is_upload: whether a path is an upload of the page.
        broken: what is said when something went wrong inside.
    """
    visit = gr.State(None, time_to_live=6 * 3600, delete_callback=forget)
    with gr.Row(elem_id="folder-row"):
        with gr.Column(scale=6, min_width=300):
            files = gr.File(
                label="Pictures or zips", file_count="multiple", file_types=[*SUFFIXES, ".zip"], height=150,
                elem_id="folder-files",
            )  # fmt: skip
            with gr.Row():
                start = gr.Button("Look at all", variant="primary", size="md", min_width=100, elem_id="folder-start")
                stop = gr.Button("Stop", size="md", min_width=100)
            status = gr.HTML(line(HINT), elem_id="folder-status", padding=False)
            rows = gr.Dataframe(
                headers=HEADERS, datatype=TYPES, column_widths=WIDTHS, interactive=False, wrap=True, max_height=560,
                show_label=False, elem_id="folder-list", visible=False,
            )  # fmt: skip
        with gr.Column(scale=4, min_width=300):
            title = gr.Markdown(elem_id="folder-title", sanitize_html=True)
            overlay = gr.Image(
                alt_text="The chosen picture with suspicious places coloured and numbered",
                show_label=False, interactive=False, height=380, buttons=["download", "fullscreen"], visible=False,
                elem_id="folder-overlay", label="Heatmap",
            )  # fmt: skip
            details = gr.Markdown(sanitize_html=True)
            reports = gr.File(label="The whole list as files", interactive=False, visible=False)
    shown = [title, overlay, details]

    def run(uploads: list[str] | None, here: Visit | None) -> Changes:
        """Look at all uploads; what changes on the page, step by step, and whatever happens an end."""
        here = here or Visit()
        if here.busy:
            raise gr.Error("One run at a time: stop the running one first.", print_exception=False)
        here.busy, here.stop = True, threading.Event()
        try:
            yield {visit: here, status: line(WORDS["looking"] + " …", 0.0)}
            yield from work(uploads, here)
        except LookTwiceError as error:
            yield {status: line(str(error))}
        except Exception:
            log.exception("a folder run failed")
            yield {status: line(broken)}
        finally:
            here.stop.set()
            here.busy = False

    def work(uploads: list[str] | None, here: Visit) -> Changes:
        from assistant.batch import PlainEngine, run_batch
        from assistant.batch_report import summary, write_reports

        if not uploads or not all(is_upload(path) for path in uploads):
            raise MediaError("There is no picture yet.", "Drop pictures or a zip first.")
        entries, notes = list_files([Path(path) for path in uploads])
        if len(entries) > MAX_UPLOADED:
            raise MediaError(
                f"{len(entries)} pictures are too many for the page; {MAX_UPLOADED} are allowed.",
                "Use the command line for more.",
            )
        told: queue.SimpleQueue[tuple[str, int, int]] = queue.SimpleQueue()
        outcome: list[Any] = []
        halt = here.stop

        def job() -> None:
            try:
                desk.loaded.result()
                engine = PlainEngine(desk.inspector, lambda piece: desk.submit(piece).result())
                batch = run_batch(
                    entries, here.folder, desk.inspector.profile, engine, notes=notes, stop=halt,
                    progress=lambda *step: told.put(step),
                )  # fmt: skip
                told.put(("", 1, 1))
                outcome.append((batch, write_reports(batch, here.folder), table(batch)))
            except Exception as error:  # raised again by the page's own thread below
                outcome.append(error)

        worker = threading.Thread(target=job, daemon=True, name="looktwice-folder")
        worker.start()
        while worker.is_alive():
            worker.join(POLL)
            step = None
            while not told.empty():
                step = told.get()
            if step is not None:
                words = f"{WORDS[step[0]]} … " + (f"{step[1]} of {step[2]}" if step[0] else "")
                yield {status: line(words, step[1] / max(1, step[2]))}
        (result,) = outcome
        if isinstance(result, Exception):
            raise result
        here.batch, made, cells = result
        notes_shown = " ".join((summary(here.batch), *here.batch.notes))
        yield {
            visit: here, status: line(notes_shown), rows: gr.Dataframe(cells, visible=True),
            reports: gr.File([str(file) for file in made], visible=True), **picture(here, 0),
        }  # fmt: skip

    def picture(here: Visit, number: int) -> dict[Any, Any]:
        """The heatmap and the facts of one row."""
        row = here.batch.rows[number]
        if not row.key:
            return {
                title: f"### {render.escape(row.name)}", overlay: gr.Image(None, visible=False),
                details: render.escape(row.problem),
            }  # fmt: skip
        look = here.batch.look(row)
        facts = f"Suspicion {row.suspicion:.2f}, score {row.score:.2f} (threshold {row.threshold:.2f})"
        evidence = render.evidence_markdown(row.regions, row.warnings, row.kinds)
        return {
            title: f"### {row.rank}. {render.escape(row.name)}", details: f"{facts}\n\n{evidence}",
            overlay: gr.Image(render.overlay(look), visible=True),
        }  # fmt: skip

    def select(here: Visit | None, event: gr.SelectData) -> dict[Any, Any]:
        """Show the row that was clicked; the list may be sorted otherwise, so the row is found by its file."""
        name = event.row_value[HEADERS.index("File")]
        names = [row.name for row in here.batch.rows] if here is not None and here.batch is not None else []
        if name not in names:
            raise gr.Error("This list has gone: look at the pictures again.", print_exception=False)
        return picture(here, names.index(name))

    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    changing = [visit, status, rows, reports, *shown]
    start.click(
        run,
        [files, visit],
        changing,
        concurrency_limit=4,
        show_progress="hidden",
        api_name="folder",
        api_visibility="undocumented",
    )
    stop.click(lambda here: here and here.stop.set(), [visit], None, queue=False, **quiet)
    rows.select(select, [visit], shown, trigger_mode="always_last", **quiet)
