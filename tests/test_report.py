"""The report of a conversation: everything inside, foreign text as text, boxes and masks where the regions are."""

from __future__ import annotations

import io
import json
import zipfile
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from assistant.errors import LookTwiceError
from assistant.exchange import RECORD_SIDE, Exchange, small_look
from assistant.regions import find_regions, region_masks
from assistant.report import report_of, to_html, write_report
from assistant.report_data import coco_json, findings_json, masks_zip
from assistant.types import Finding, Look

HOSTILE = "</title></p><script>window.ran=1</script><img src=x onerror=ran=1> {{ 7*7 }} 'x' \u202e https://evil.example"
SIZE = (1200, 800)


def two_spots() -> Look:
    """A 1200 x 800 picture whose map, at half the size, has a large spot with a hole and a small one."""
    heat = np.zeros((400, 600), np.float32)
    heat[40:120, 60:160], heat[70:90, 90:120] = 0.9, 0.1
    heat[300:310, 500:530] = 0.7
    pixels = np.full((400, 600, 3), 120, np.uint8)
    regions = find_regions(heat, pixels, 0.5, SIZE)
    return Look(
        SIZE, 0.9, heat, regions, pixels, {"map": np.zeros((2, 3), np.float32)},
        kinds=(("foreign object", 0.8),), name=HOSTILE,
    )  # fmt: skip


def finding(look: Look, **changes: object) -> Finding:
    values = dict(
        verdict="anomalous", confidence=0.93, verdict_probability=0.93, score=look.score, threshold=0.5,
        threshold_source="balanced point", regions=look.regions, explanation=f"Yes. {HOSTILE}", warnings=(HOSTILE,),
        kinds=look.kinds,
    )  # fmt: skip
    return Finding(**{**values, **changes})  # type: ignore[arg-type]


def conversation() -> list[Exchange]:
    look = two_spots()
    first = Exchange(1, HOSTILE, answer=f"Yes. {HOSTILE}", look=look, finding=finding(look))
    second = Exchange(2, "Where is it?", answer="In the top left.", look=look, finding=finding(look))
    fine = Look(SIZE, 0.1, np.zeros((400, 600), np.float32), (), two_spots().thumbnail, {}, name="fine.png")
    third = Exchange(3, "", answer="No.", record=fine, finding=finding(fine, verdict="normal", warnings=()))
    return [first, second, third, Exchange(4, "never answered")]


class Tags(HTMLParser):
    """Names of tags and all attribute values of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]


def test_the_page_holds_everything_and_foreign_text_is_text() -> None:
    text = to_html(report_of(conversation(), "embedded"))
    seen = Tags()
    seen.feed(text)
    assert "script" not in seen.tags and not [name for name, _ in seen.attributes if name.startswith("on")]
    sources = [value for name, value in seen.attributes if name in ("src", "href")]
    assert len(sources) == 4 and all(value.startswith("data:image/jpeg;base64,") for value in sources)
    assert "default-src 'none'" in text and "{{ 7*7 }}" in text
    for words in ("profile embedded, weights shipped", "LookTwice 0.1.0", "threshold 0.50", "foreign object 80 %"):
        assert words in text, words
    assert "never answered" not in text


def test_the_pdf_has_the_pictures_and_nothing_active(tmp_path: Path) -> None:
    files = write_report(report_of(conversation(), "embedded"), tmp_path / "out")
    assert [file.name for file in files] == ["report.html", "report.pdf", "findings.json", "coco.json", "masks.zip"]
    data = files[1].read_bytes()
    assert (
        data.startswith(b"%PDF-") and data.count(b"/Subtype /Image") == 2
    )  # plain and drawn on; the same is kept once
    for active in (b"/JavaScript", b"/JS", b"/URI", b"/Launch", b"/OpenAction /", b"/AcroForm", b"/EmbeddedFile"):
        assert active not in data
    assert b"beginbfchar" in data or b"beginbfrange" in data  # the words can be searched and copied


def test_long_words_and_strange_letters_fit_on_the_pdf(tmp_path: Path) -> None:
    exchanges = conversation()
    exchanges[1].answer = "W" * 2000 + "\n漢字 🙂 \x00\x1b[31m ж λ\n" * 50
    assert write_report(report_of(exchanges, "embedded"), tmp_path)[1].stat().st_size > 10_000


def test_coco_boxes_and_polygons_are_the_regions() -> None:
    look = two_spots()
    values = json.loads(coco_json(report_of(conversation(), "embedded")))
    assert [image["id"] for image in values["images"]] == [1, 2]
    assert values["images"][0] | {"file_name": ""} == {"id": 1, "file_name": "", "width": 1200, "height": 800}
    assert len(values["annotations"]) == 2 and values["categories"][0]["name"] == "foreign_object"
    for annotation, region, mask in zip(values["annotations"], look.regions, region_masks(look), strict=True):
        x, y, width, height = annotation["bbox"]
        assert (x, y, x + width, y + height) == region.box and annotation["image_id"] == 1
        assert annotation["area"] == pytest.approx(region.area * 1200 * 800, abs=1)
        drawn = Image.new("1", SIZE)
        outer = max(annotation["segmentation"], key=len)
        ImageDraw.Draw(drawn).polygon(outer, fill=1)
        wanted = np.asarray(Image.fromarray(mask).resize(SIZE, Image.Resampling.NEAREST))
        missed = wanted & ~np.asarray(drawn)
        assert missed.sum() < 0.02 * wanted.sum() and np.asarray(drawn).sum() < 1.15 * width * height
        assert all(0 <= value <= 1200 for outline in annotation["segmentation"] for value in outline)


def test_masks_have_the_size_of_the_picture_and_the_regions_lit() -> None:
    look = two_spots()
    with zipfile.ZipFile(io.BytesIO(masks_zip(report_of(conversation(), "embedded")))) as archive:
        assert archive.namelist() == ["ground_truth/foreign_object/001_mask.png"]  # normal pictures have none
        mask = np.asarray(Image.open(archive.open(archive.namelist()[0])))
    assert mask.shape == (800, 1200) and set(np.unique(mask)) == {0, 255}
    assert (mask > 0).mean() == pytest.approx(sum(region.area for region in look.regions))
    assert not mask[145:175, 185:235].any() and mask[100, 130] and mask[610, 1030]
    named = json.loads(findings_json(report_of(conversation(), "embedded")))["passages"][0]["picture"]["mask"]
    assert named == "ground_truth/foreign_object/001_mask.png"


def test_findings_carry_questions_figures_and_model() -> None:
    values = json.loads(findings_json(report_of(conversation(), "embedded@2026-01-01")))
    assert (values["profile"], values["weights"]) == ("embedded", "2026-01-01")
    first, second, third = values["passages"]
    assert first["question"] == HOSTILE and first["picture"]["number"] == second["picture"]["number"] == 1
    assert first["finding"] == finding(two_spots()).to_dict() and third["picture"]["mask"] is None


def test_a_look_that_was_let_go_of_is_kept_small_with_its_regions() -> None:
    look = two_spots()
    kept = small_look(look)
    assert max(kept.heatmap.shape) == RECORD_SIDE and kept.tokens == {} and kept.regions == look.regions
    for mask, region in zip(region_masks(kept), look.regions, strict=True):
        assert mask.mean() == pytest.approx(region.area, rel=0.1)


def test_a_folder_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LookTwiceError, match="written"):
        write_report(report_of(conversation(), "embedded"), tmp_path / "file" / "out")


def test_regions_of_no_likely_kind_are_named_an_anomaly_in_what_others_read() -> None:
    exchanges = conversation()
    for one in exchanges[:2]:
        one.finding = finding(one.look, kinds=(("foreign object", 0.36), ("crack", 0.3)))
    report = report_of(exchanges, "embedded")
    assert [category["name"] for category in json.loads(coco_json(report))["categories"]] == ["anomaly"]
    with zipfile.ZipFile(io.BytesIO(masks_zip(report))) as archive:
        assert archive.namelist() == ["ground_truth/anomaly/001_mask.png"]
    assert "foreign object 36 %" in to_html(report)  # what it could be is still told, with its number
