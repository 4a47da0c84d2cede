"""Several pictures in one message: views of one object, where the visitor has said so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gradio as gr

from assistant.desk import Talk
from assistant.errors import MediaError
from assistant.types import ClipFile, Media
from assistant.views import MAX_VIEWS, as_views
from panels.uploads import read_upload

ONE_AT_A_TIME = (
    "One picture or clip at a time, please. Several pictures can be views of one object: say so under Settings."
)


class Several:
    """A check box."""

    def __init__(self) -> None:
        self.box = gr.Checkbox(
            False, label=f"Several pictures in one message are views of one object, at most {MAX_VIEWS}",
            elem_id="several",
        )  # fmt: skip

    def wire(self, talk: gr.State, quiet: dict[str, Any]) -> None:
        """What is chosen holds from the next message on."""

        def choose(views: bool, here: Talk) -> Talk:
            """Take several pictures in one message for views of one object, or refuse them."""
            here.views = bool(views)
            return here

        self.box.change(choose, [self.box, talk], [talk], api_name="several", **quiet)


def read_message(files: Sequence[Any], views: bool) -> Media | ClipFile | None:
    """What a message comes with: nothing, a picture, a clip, or with `views` several pictures as one object.

    Raises MediaError when something cannot be used, or is too much.
    """
    if len(files) > 1 and not views:
        raise MediaError(ONE_AT_A_TIME)
    if len(files) > MAX_VIEWS:
        raise MediaError(f"There are {len(files)} views; {MAX_VIEWS} are allowed.")
    read = [read_upload(file) for file in files]
    if len(read) < 2:
        return read[0] if read else None
    for number, one in enumerate(read, start=1):
        if isinstance(one, ClipFile):
            raise MediaError(f"View {number} is no picture.", "Views are single pictures.")
    return as_views(read)
