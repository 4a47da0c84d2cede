"""The one endpoint for programs: /inspect, for clients, plain HTTP and MCP."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.data_classes import FileData, FileDataDict
from gradio.utils import get_upload_folder

from assistant.desk import MAX_WAITING, Desk, Talk
from assistant.errors import LookTwiceError
from assistant.prompts import DEFAULT_QUESTION
from assistant.render import save_overlay
from panels.uploads import read_given

log = logging.getLogger("looktwice.endpoint")


def add_inspect(desk: Desk, broken: str) -> None:
    """Adds /inspect to the page that is being built; `broken` is said when something fails inside."""

    def inspect(
        picture: FileDataDict | str,
        question: str = DEFAULT_QUESTION,
        references: list[FileDataDict | str] | None = None,
        rate: float | None = None,
    ) -> Any:
        """Look at a picture and say whether something is wrong with it, where, and why.

        Gives the finding, with the numbers of the command line's --json, and a picture with the heatmap on it.

        Args:
            picture: an uploaded file, or the picture itself as data:image/png;base64,...
            question: what to ask about it.
            references: up to eight normal pictures of the same product, given likewise.
            rate: the false-alarm rate that sets the threshold, 0.001 to 0.5.
        """
        try:
            media, words = read_given(picture), str(question or DEFAULT_QUESTION)
            held = Talk(desk)
            held.add_references([read_given(one) for one in references or []])

            def job() -> tuple[Any, Any]:
                look = desk.inspector.look(media, held.references, rate=rate, tiles=desk.tiles)
                return look, desk.inspector.answer(look, words)

            look, finding = desk.run(job)
            file = Path(tempfile.mkdtemp(prefix="overlay-", dir=get_upload_folder())) / "overlay.png"
            save_overlay(look, file)
            return finding.to_dict(), FileData(path=str(file), orig_name="overlay.png").model_dump()
        except LookTwiceError as error:
            raise gr.Error(str(error), print_exception=False) from None
        except Exception:
            log.exception("an inspection failed")
            raise gr.Error(broken, print_exception=False) from None

    # the library reads the number of results from here, and cannot read it from text
    inspect.__annotations__["return"] = tuple[dict[str, Any], FileDataDict]
    gr.api(inspect, api_name="inspect", concurrency_limit=2 * MAX_WAITING)
