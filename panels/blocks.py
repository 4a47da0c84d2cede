"""The page's blocks: they refuse every file that is no upload, and say when they are no longer served."""

from __future__ import annotations

import threading
from typing import Any

import gradio as gr
from gradio.components.api_component import Api

from panels.uploads import refuse_foreign_files


class Page(gr.Blocks):
    """Blocks that refuse every file which is not an upload of their own, before anything opens or fetches it.

    Attributes:
        ended: set once the page is no longer served; what runs beside it ends then.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.ended = threading.Event()
        super().__init__(*args, **kwargs)

    def close(self, verbose: bool = True) -> None:
        """As in Blocks; what runs beside the page ends too."""
        self.ended.set()
        super().close(verbose)

    async def preprocess_data(self, block_fn: Any, inputs: list[Any], *args: Any, **kwargs: Any) -> list[Any]:
        """As in Blocks; raises gr.Error for a foreign file in `inputs`.

        A plain HTTP call may leave out the last arguments of an endpoint for programs: they get their defaults.
        """
        refuse_foreign_files(inputs)
        left_out = block_fn.inputs[len(inputs) :]
        if all(isinstance(component, Api) for component in left_out):
            inputs = [*inputs, *(component.value for component in left_out)]
        return await super().preprocess_data(block_fn, inputs, *args, **kwargs)
