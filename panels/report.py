"""The conversation as files to take away: one click makes them all."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.utils import get_upload_folder

from assistant.desk import Desk, Talk
from assistant.errors import LookTwiceError

NOTHING = "There is nothing to report yet: ask something first."


class ReportPanel:
    """A button, and the files that it made."""

    def build_button(self) -> None:
        """The button, to stand in a row with others."""
        self.button = gr.Button("Report", size="md", min_width=100, elem_id="report")

    def build_files(self) -> None:
        """Where the files stand once they are made."""
        self.files = gr.File(
            label="Report: for people (HTML, PDF) and for programs (findings, COCO, masks)", file_count="multiple",
            interactive=False, visible=False, elem_id="report-files",
        )  # fmt: skip

    def wire(self, desk: Desk, talk: gr.State) -> None:
        """What a click does."""

        def make(here: Talk) -> Any:
            """Write the conversation as HTML, PDF, findings.json, coco.json and masks.zip."""
            from assistant.report import report_of, write_report  # imaging libraries that the page can start without

            if not any(each.answer or each.finding for each in here.exchanges):
                raise gr.Error(NOTHING, print_exception=False)
            folder = Path(tempfile.mkdtemp(prefix="report-", dir=get_upload_folder()))
            try:
                made = write_report(report_of(here.exchanges, desk.model), folder)
            except LookTwiceError as error:
                raise gr.Error(str(error), print_exception=False) from None
            return gr.File([str(file) for file in made], visible=True)

        self.button.click(
            make,
            [talk],
            [self.files],
            api_name="report",
            api_visibility="undocumented",
            show_progress="minimal",
            concurrency_limit=4,
        )
