"""More ways to see a look: the heatmap as strong as wanted, its regions by name, and beside the original."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradio as gr
import numpy as np

from assistant import render
from assistant.desk import Talk
from assistant.exchange import LINK, Exchange
from assistant.types import Look

_FOLLOW = """
if (!window.looktwiceLinks) {
  window.looktwiceLinks = true;
  document.addEventListener('click', (event) => {
    const link = event.target.closest('a[href*="LINK"]');
    if (!link) return;
    event.preventDefault();
    event.stopPropagation();
    const [number, spot] = link.getAttribute('href').split('LINK')[1].split('-').map(Number);
    window.looktwiceShow(number, spot);
  }, true);
  // a message opens its own evidence on Enter, which would come after the link's and hide the region again
  document.addEventListener('keydown', (event) => {
    if (event.target.closest('a[href*="LINK"]') && event.key === 'Enter') event.stopPropagation();
  }, true);
  const texts = {chat: 'Picture in the conversation', named: 'The picture with its regions marked',
    compared: 'The picture, original and with its heatmap'};
  const describe = () => Object.entries(texts).forEach(([part, text]) =>
    document.querySelectorAll('#' + part + ' img').forEach((image) => { if (!image.alt) image.alt = text; }));
  new MutationObserver(describe).observe(document.body, {childList: true, subtree: true, attributeFilter: ['alt']});
}
window.looktwiceShow = (number, spot) => trigger('select', {index: [number, spot], value: ''});
""".replace("LINK", LINK)
"""Place words in answers are links: a click, or Enter on them, shows their region. Pictures that the
library leaves without a text for screen readers get one."""
SHOWS: dict[str, Any] = {
    "show_progress": "hidden", "api_visibility": "private", "concurrency_limit": 1, "concurrency_id": "shows",
}  # fmt: skip
"""How events are wired that change which evidence is shown: one after the other, for of several in a row the last one
counts, and side by side the picture of an earlier one may reach the page last.
"""


class Views:
    """The components; `slider` stands under the heatmap, `named` and `compared` have tabs of their own."""

    def __init__(self) -> None:
        self.links = gr.HTML("", js_on_load=_FOLLOW, elem_id="links", padding=False)

    def build_slider(self) -> None:
        """How strongly the heatmap covers the picture."""
        self.slider = gr.Slider(
            0, 100, round(100 * render.OPACITY), step=5, label="Heatmap's opacity, %", elem_id="opacity"
        )

    def build_tabs(self, height: int) -> None:
        """Regions by name, and original and heatmap behind a curtain."""
        with gr.Tab("Regions"):
            self.named = gr.AnnotatedImage(
                label="Regions", show_label=False, height=height, elem_id="named", buttons=["fullscreen"]
            )
        with gr.Tab("Compare"):
            self.compared = gr.ImageSlider(
                label="Original and heatmap", show_label=False, interactive=False, height=height, max_height=height,
                elem_id="compared", buttons=["fullscreen"],
            )  # fmt: skip

    @property
    def changing(self) -> list[Any]:
        """What a look changes."""
        return [self.named, self.compared]

    def show(self, look: Look | None) -> dict[Any, Any]:
        """The look in these views, None for none."""
        if look is None:
            return {self.named: None, self.compared: None}
        return {
            self.named: (look.thumbnail, boxes(look)),
            self.compared: (look.thumbnail, render.overlay(look, boxes=False)),
        }

    def wire(
        self,
        talk: gr.State,
        overlay: gr.Image,
        shows: Callable[[Talk, Exchange], dict[Any, Any]],
        out: list[Any],
    ) -> None:
        """What happens: the slider draws the shown look again, a link shows its exchange and region.

        Args:
            talk: the conversation; its `shown` is the exchange whose evidence stands on the page.
            overlay: the heatmap's picture.
            shows: a conversation, one of its exchanges -> what the page shows of it.
            out: every component of that.
        """

        def fade(percent: float, here: Talk) -> dict[Any, Any]:
            here.opacity = min(100.0, max(0.0, float(percent))) / 100
            look = here.picture
            return {talk: here} if look is None else {talk: here, overlay: drawn(here, look)}

        def follow(here: Talk, event: gr.SelectData) -> dict[Any, Any]:
            number, spot = event.index
            exchange = here.exchange(int(number))
            if exchange is None or exchange.look is None:
                raise gr.Error("This picture is no longer kept: show it again.", print_exception=False)
            here.show(exchange, focus=int(spot))
            return shows(here, exchange)

        self.slider.change(fade, [self.slider, talk], [talk, overlay], trigger_mode="always_last", **SHOWS)
        # not "always_last": what a click was on is lost when the library puts it off
        self.links.select(follow, [talk], out, trigger_mode="multiple", **SHOWS)


def drawn(talk: Talk, look: Look) -> np.ndarray:
    """The look with its heatmap as the conversation's page shows it, see `render.overlay`."""
    return render.overlay(look, talk.opacity, focus=talk.focus)


def boxes(look: Look) -> list[tuple[tuple[int, int, int, int], str]]:
    """The regions as boxes in pixels of the thumbnail, each at least two pixels wide and high, with their names."""
    height, width = look.thumbnail.shape[:2]
    scale = np.array([width, height, width, height]) / np.array([*look.size, *look.size])
    found = []
    for number, region in enumerate(look.regions, start=1):
        x1, y1, x2, y2 = (int(side) for side in np.rint(np.array(region.box) * scale))
        x1, y1 = max(0, min(x1, width - 2)), max(0, min(y1, height - 2))
        box = (x1, y1, min(width, max(x2, x1 + 2)), min(height, max(y2, y1 + 2)))
        found.append((box, f"{number} {region.place}"))
    return found
