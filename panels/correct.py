"""Where the model is wrong, its user says so: a record for the next training, kept with consent."""

from __future__ import annotations

from typing import Any

import gradio as gr
import numpy as np
from PIL import Image

from assistant.corrections import CONSENT, MAX_WORDS, Correction, CorrectionStore
from assistant.desk import Talk
from assistant.errors import CorrectionError, LookTwiceError
from assistant.exchange import Exchange
from assistant.render import plain

CHOICES = [("This is normal", "normal"), ("You missed this", "missed"), ("Wrong words", "words")]
BRUSH = "#ff2d2d"
NO_PICTURE = "There is no picture to correct: show one first."
NO_CLIP = "Corrections are kept of pictures only, not of clips."


class Correct:
    """The drawer's components."""

    def __init__(self) -> None:
        self.store = CorrectionStore()

    def build(self) -> None:
        """Lays them out."""
        with gr.Accordion("Correct it", open=False, elem_id="correct"):
            self.kind = gr.Radio(CHOICES, label="What is not right about the picture shown above?", elem_id="wrong")
            self.editor = gr.ImageEditor(
                label="Draw over what was missed", type="numpy", sources=(), transforms=(), layers=False, visible=False,
                brush=gr.Brush(colors=[BRUSH], default_size=16), elem_id="draw", height=380, buttons=[],
            )  # fmt: skip
            self.words = gr.Textbox(
                label="What the answer should have been", lines=3, max_length=MAX_WORDS, visible=False, elem_id="words"
            )
            self.product = gr.Textbox(label="What is it? (optional)", max_length=80, elem_id="product")
            self.agreed = gr.Checkbox(False, label=CONSENT, elem_id="agreed")
            self.save = gr.Button("Keep this correction", size="md", elem_id="keep")
            self.told = gr.Markdown("", elem_id="kept")

    def wire(self, talk: gr.State) -> None:
        """What a choice shows, and what the button keeps."""

        def choose(kind: str | None, here: Talk) -> dict[Any, Any]:
            exchange = _shown(here)
            clip = exchange is not None and exchange.look.clip is not None
            picture = exchange.look.thumbnail if exchange and kind == "missed" and not clip else None
            drawing = None if picture is None else {"background": picture, "layers": [], "composite": picture}
            return {
                self.editor: gr.ImageEditor(drawing, visible=picture is not None),
                self.words: gr.Textbox(exchange.answer if exchange else "", visible=kind == "words" and not clip),
                self.told: "" if kind is None else NO_CLIP if clip else "" if exchange else NO_PICTURE,
            }

        def keep(
            kind: str | None, drawing: dict[str, Any] | None, words: str, product: str, agreed: bool, here: Talk
        ) -> dict[Any, Any]:
            """Keep one correction of the picture whose evidence is shown."""
            try:
                correction = correction_of(_shown(here), kind, drawing, words, product)
                number = self.store.add(correction, consent=bool(agreed))
            except LookTwiceError as error:
                raise gr.Error(plain(str(error)), print_exception=False) from None
            total = self.store.count()
            many = "1 correction is kept" if total == 1 else f"{total} corrections are kept"
            return {
                self.told: f"Kept as number {number}. {many}; `make retrain` learns from them.",
                self.kind: None, self.editor: gr.ImageEditor(None, visible=False),
                self.words: gr.Textbox(visible=False),
            }  # fmt: skip

        quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
        self.kind.input(choose, [self.kind, talk], [self.editor, self.words, self.told], queue=False, **quiet)
        given = [self.kind, self.editor, self.words, self.product, self.agreed, talk]
        self.save.click(keep, given, [self.told, self.kind, self.editor, self.words], concurrency_limit=4, **quiet)


def _shown(here: Talk) -> Exchange | None:
    """The exchange whose evidence stands on the page, None without a look."""
    exchange = here.shown
    return exchange if exchange is not None and exchange.look is not None else None


def correction_of(
    exchange: Exchange | None, kind: str | None, drawing: dict[str, Any] | None, words: str, product: str
) -> Correction:
    """What is to be kept; the picture is the look's own, of the drawing only the marking counts.

    Raises CorrectionError when there is no picture or no choice.
    """
    if exchange is None or exchange.look is None:
        raise CorrectionError(NO_PICTURE)
    if kind not in dict((value, text) for text, value in CHOICES):
        raise CorrectionError("Say first what is not right.")
    look, finding = exchange.look, exchange.finding
    if look.clip is not None:  # what is odd in a clip need not be odd in any picture of it
        raise CorrectionError(NO_CLIP)
    return Correction(
        kind, look.thumbnail, drawn_mask(drawing, look.thumbnail.shape[:2]) if kind == "missed" else None, look.name,
        plain(str(product or ""))[:80], exchange.question, exchange.answer,
        str(words or "").strip() if kind == "words" else "",
        finding.verdict if finding else "", look.score, look.threshold, finding.profile if finding else "",
    )  # fmt: skip


def drawn_mask(drawing: dict[str, Any] | None, shape: tuple[int, int]) -> np.ndarray | None:
    """Where something was drawn, [H, W] bool of `shape`; None when nothing was.

    Args:
        drawing: the editor's value; its layers are [h, w, 4] uint8, opaque where drawn.
        shape: (height, width) of the picture.
    """
    marked = np.zeros(shape, bool)
    for layer in (drawing or {}).get("layers") or ():
        values = np.asarray(layer)
        if values.ndim == 3 and values.shape[2] == 4:
            alpha = Image.fromarray(np.ascontiguousarray(values[..., 3])).resize(shape[::-1], Image.Resampling.NEAREST)
            marked |= np.asarray(alpha) > 0
    return marked if marked.any() else None
