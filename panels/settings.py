"""The settings drawer: which model and weights answer, how many false alarms are allowed, rules for clips."""

from __future__ import annotations

from typing import Any

import gradio as gr

from assistant.desk import Desk
from assistant.errors import LookTwiceError
from assistant.profiles import profile_names
from assistant.threshold import HIGHEST_RATE
from assistant.versions import SHIPPED, facts, joined, resolved, split_name, versions
from panels.rules import Rules
from panels.several import Several

WAIT_S = 300
"""Seconds that a new model may take to load."""


class Settings:
    """The drawer's components; only whose machine it is may choose another model for everybody."""

    def __init__(self, profile: str, choosing: bool = True) -> None:
        # a sidebar of the library lies over the page on a phone and makes it scroll sideways
        with gr.Accordion("Settings", open=False, elem_id="settings"):
            now = resolved(profile)
            self.profile = gr.Dropdown(
                models(now) if choosing else [(shown_name(now), now)], value=now, label="Model and weights",
                info=described(now), interactive=choosing, elem_id="profile",
            )  # fmt: skip
            self.rate = gr.Number(
                label="False alarms allowed, %", value=0, minimum=0, maximum=100 * HIGHEST_RATE, step=1,
                info="Of pictures; 0: the balanced point, of a new product with references 5 %", min_width=140,
                elem_id="rate",
            )  # fmt: skip
            self.rules = Rules()
            self.several = Several()

    def wire(self, desk: Desk) -> None:
        """Another choice loads that model; when it cannot be loaded the old one goes on answering."""

        def switch(model: str) -> Any:
            try:
                if model not in [name for _, name in models(desk.model)]:
                    raise LookTwiceError("There is no such model.")
                if model != desk.model:
                    desk.switch(model).result(WAIT_S)
                    gr.Info(f"{shown_name(model)} answers from now on.")
            except LookTwiceError as error:
                gr.Warning(str(error))
            except TimeoutError:
                gr.Warning("The model is still loading; it answers as soon as it is there.")
            return gr.Dropdown(models(desk.model), value=desk.model, info=described(desk.model))

        self.profile.input(switch, [self.profile], [self.profile], api_visibility="private", concurrency_limit=2)


def models(now: str) -> list[tuple[str, str]]:
    """(words, name) of every model there is, each profile with its weights; `now` is among them."""
    names = [joined(profile, version) for profile in profile_names() for version in versions(profile)]
    return [(shown_name(name), name) for name in dict.fromkeys([*names, now])]


def shown_name(model: str) -> str:
    """A model's name for people: "embedded, shipped weights"."""
    profile, version = split_name(model)
    return f"{profile}, shipped weights" if version == SHIPPED else f"{profile}, weights {version}"


def described(model: str) -> str:
    """What is known about a model's weights, in a sentence."""
    profile, version = split_name(model)
    known = facts(profile, version) if version != SHIPPED else {}
    learnt = known.get("corrections")
    return f"Trained here with {learnt} corrections." if isinstance(learnt, int) else ""
