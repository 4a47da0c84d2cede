"""The settings drawer: which model answers, and how many false alarms are allowed."""

from __future__ import annotations

import gradio as gr

from assistant.threshold import HIGHEST_RATE


class Settings:
    """The drawer's components."""

    def __init__(self, profile: str) -> None:
        # a sidebar of the library lies over the page on a phone and makes it scroll sideways
        with gr.Accordion("Settings", open=False, elem_id="settings"):
            self.profile = gr.Textbox(profile, label="Profile", interactive=False, elem_id="profile")
            self.rate = gr.Number(
                label="False alarms allowed, %", value=0, minimum=0, maximum=100 * HIGHEST_RATE, step=1,
                info="0: 5 % with references, else the balanced point", min_width=140, elem_id="rate",
            )  # fmt: skip
