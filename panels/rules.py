"""Rules of normality in clips: drafted from a normal clip, or in the visitor's own words."""

from __future__ import annotations

from typing import Any

import gradio as gr

from assistant.clip_words import MAX_RULES
from assistant.desk import Talk
from assistant.errors import LookTwiceError
from assistant.types import Look


class Rules:
    """A text box, one rule a line."""

    def __init__(self) -> None:
        self.box = gr.Textbox(
            label="Rules of normality, for clips", lines=3, max_lines=8, max_length=MAX_RULES, elem_id="rules",
            placeholder="Only pedestrians here; nobody runs.",
            info="One a line; left empty, those that a normal clip gives. They enter the words, never the score.",
        )  # fmt: skip

    def show(self, talk: Talk, look: Look | None = None) -> dict[Any, Any]:
        """The visitor's own rules, else those that were drafted for the look, to be edited."""
        drafted = "\n".join(look.clip.rules) if look is not None and look.clip is not None else ""
        return {self.box: talk.rules or drafted}

    def take(self, talk: Talk, text: str | None) -> None:
        """What the box holds when a question is asked; None, from a program that does not send it, changes nothing."""
        look = talk.shown.look if talk.shown is not None else None
        if text is None or not (talk.rules or text.strip() != self.show(talk, look)[self.box].strip()):
            return
        try:
            talk.rule(text)
        except LookTwiceError as error:
            raise gr.Error(str(error), print_exception=False) from None

    def wire(self, talk: gr.State, quiet: dict[str, Any]) -> None:
        """What is written holds from the next question on; drafted rules that stay as they are do not count as own."""

        def rule(text: str, here: Talk) -> Talk:
            """Hold clips against these rules of normality from now on."""
            self.take(here, text)
            return here

        typed = [self.box.input, self.box.blur]
        gr.on(typed, rule, [self.box, talk], [talk], api_name="rules", trigger_mode="always_last", **quiet)
