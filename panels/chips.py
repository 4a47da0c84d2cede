"""Suggested questions under the chat: one click asks them."""

from __future__ import annotations

from typing import Any

import gradio as gr

from assistant.answer import QUESTIONS
from assistant.desk import Talk
from assistant.suggest import SHOWN, follow_ups


class Chips:
    """A row of buttons, as many as there are suggestions."""

    def __init__(self) -> None:
        with gr.Row(elem_id="chips"):
            self.buttons = [
                gr.Button("", size="sm", min_width=60, visible=False, elem_classes="chip") for _ in range(SHOWN)
            ]

    def show(self, talk: Talk | None) -> dict[Any, Any]:
        """What fits the newest finding and has not been asked about its picture."""
        known = [exchange for exchange in talk.exchanges if exchange.finding is not None] if talk is not None else []
        last = known[-1] if known else None
        about = [exchange for exchange in talk.exchanges if exchange.look is last.look] if last else []
        asked = [exchange.question for exchange in about] + [QUESTIONS[name] for each in about for name in each.said]
        offered = follow_ups(last.finding if last else None, asked)
        texts = [*offered, *[""] * (SHOWN - len(offered))]
        return {button: gr.Button(text, visible=bool(text)) for button, text in zip(self.buttons, texts, strict=True)}
