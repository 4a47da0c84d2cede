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
from assistant.errors import LookTwiceError, QuestionError
from assistant.prompts import DEFAULT_QUESTION
from assistant.render import save_overlay
from assistant.types import ClipFile, Media
from panels.uploads import read_given

log = logging.getLogger("looktwice.endpoint")


def refuse_misfits(media: Media | ClipFile, held: Talk) -> None:
    """Raises QuestionError for terms that mean nothing to a picture, or to a clip."""
    if isinstance(media, ClipFile) and held.rate is not None:
        raise QuestionError("A false-alarm rate is for pictures, not for clips.")
    if not isinstance(media, ClipFile) and held.rules:
        raise QuestionError("Rules are for clips, not for pictures.")


def add_inspect(desk: Desk, broken: str) -> None:
    """Adds /inspect to the page that is being built; `broken` is said when something fails inside."""

    def inspect(
        picture: FileDataDict | str,
        question: str = DEFAULT_QUESTION,
        references: list[FileDataDict | str] | None = None,
        rate: float | None = None,
        rules: str = "",
    ) -> Any:
        """Look at a picture or clip and say whether something is wrong with it, where, when, and why.

        Gives the finding, with the numbers of the command line's --json, and a picture with the heatmap on it: of a
        clip its most suspicious frame.

        Args:
            picture: an uploaded picture or clip, or its bytes as data:image/png;base64,... or data:video/mp4;base64,...
            question: what to ask about it.
            references: up to eight normal pictures of the same product, or normal clips of the same scene, likewise.
            rate: of a picture: the false-alarm rate that sets the threshold, 0.001 to 0.5.
            rules: of a clip: what is normal there, in words.
        """
        try:
            media, words = read_given(picture), str(question or DEFAULT_QUESTION)
            held = Talk(desk)
            held.add_references([read_given(one) for one in references or []])
            held.ask_for(rate)
            held.rule(str(rules or ""))
            refuse_misfits(media, held)

            def job() -> tuple[Any, Any]:
                look = held.session().attach(media)
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
