"""Several views of one object in a turn, on both profiles: a look a view, one finding that names the view."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from assistant import load
from assistant.__main__ import app
from assistant.errors import MediaError
from assistant.media import media_from_array
from assistant.prompts import DEFAULT_QUESTION
from assistant.render import score_line, verdict_line
from assistant.views import as_views, one_of
from tests.tiny import tiny_inspector
from tests.tiny_onevision import tiny_checkpoint, tiny_look


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    checkpoint = tiny_checkpoint(tmp_path_factory.mktemp("checkpoint"))
    return tiny_look(checkpoint, tmp_path_factory.mktemp("weights"))


@pytest.fixture(scope="module")
def onevision(weights):
    return load(str(weights))


@pytest.fixture(scope="module")
def tiny():
    return tiny_inspector(look_scale=1.0)


def picture(seed: int, size: tuple[int, int] = (90, 60)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)


@pytest.mark.parametrize("profile", ["tiny", "onevision"])
def test_every_view_is_looked_at_and_the_most_suspicious_speaks(profile, request, short_answers):
    inspector = request.getfixturevalue(profile)
    pictures = [picture(seed, (60 + 20 * seed, 60)) for seed in range(9)]
    alone = [inspector.look(one) for one in pictures]
    look = inspector.look_views(pictures)
    assert [one.score for one in look.views] == [one.score for one in alone]
    worst = max(range(9), key=lambda n: alone[n].score)
    assert look.view == worst + 1 and look.score == alone[worst].score and look.size == alone[worst].size
    assert look.threshold > alone[worst].threshold and look.threshold_source.endswith("for the highest of 9 views")
    answer = "".join(inspector.ask(look, DEFAULT_QUESTION))
    finding = inspector.finding(look, answer)
    assert answer and finding.view == look.view and finding.to_dict()["view"] == look.view
    assert f"of view {look.view}," in score_line(finding)
    assert verdict_line(replace(finding, verdict="anomalous")).endswith(f": view {look.view}")
    assert "view" not in inspector.finding(alone[0], "").to_dict()


def test_prompts_stay_within_the_budget(tiny, onevision):
    pictures = [picture(seed, (144, 144)) for seed in range(9)]
    look = tiny.look_views(pictures)
    one, _ = tiny.prompt(look.views[look.view - 1], "Where?", ())
    ids, _ = tiny.prompt(look, "Where?", ())
    assert abs(ids.shape[1] - one.shape[1]) < 40  # one look, whatever the number of views
    look = onevision.look_views(pictures)
    ids, tokens = onevision.prompt(look, "Where?", ())
    placeholders = int((ids == 6).sum())
    assert len(tokens) == 9 and placeholders == 9 * (36 + 1 + 1 + 10 * 4)  # base, line end, global, four a view
    assert ids.shape[1] < onevision.model.llava.config.text_config.max_position_embeddings
    head = onevision.processor.head(look)
    assert "View 9 of 9.\n" in head and head.endswith(f"The most suspicious is view {look.view}.\n")


def test_several_pictures_are_laid_out_as_the_library_does(onevision):
    """With more than one picture in a prompt the library takes the base view and one line end; so do we, exactly."""
    pictures = [picture(1, (144, 96)), picture(2, (48, 130))]
    model = onevision.model
    views = [onevision.processor.pixels(one) for one in pictures]
    looks = [model.look(one).tokens for one in views]
    ours = [model.visual_features(tokens)[:37] for tokens in model.joined(looks)]
    most = max(len(one.pixels) for one in views)
    padded = [torch.cat([v.pixels, torch.zeros(most - len(v.pixels), *v.pixels.shape[1:])]) for v in views]
    sizes = torch.tensor([[96, 144], [130, 48]])
    with torch.inference_mode():
        whole = model.llava.model.get_image_features(
            torch.stack(padded), sizes, batch_num_images=torch.tensor([2])
        ).pooler_output
    for mine, theirs in zip(ours, whole, strict=True):
        assert torch.equal(mine, theirs)


def test_references_hold_for_every_view_and_their_notes_are_said_once(tiny):
    normal = picture(7)
    memory = tiny.remember([normal, normal])
    look = tiny.look_views([picture(1), picture(2), picture(3)], memory)
    assert look.references == 1 and all(view.references == 1 for view in look.views)
    (note,) = [warning for warning in look.warnings if "same picture" in warning]
    assert not note.startswith("View")


def test_what_only_one_view_has_is_said_with_its_number(tiny):
    looks = [tiny.look(picture(seed)) for seed in range(2)]
    looks[1] = replace(looks[1], warnings=("It is dark.",))
    media = as_views([media_from_array(picture(seed)) for seed in range(2)])
    assert one_of(looks, media, lambda threshold, count: threshold).warnings == ("View 2: It is dark.",)


def test_no_view_ten_views_and_one_view(tiny):
    with pytest.raises(MediaError, match="No view was given"):
        tiny.look_views([])
    with pytest.raises(MediaError, match="There are 10 views; 9 are allowed"):
        tiny.look_views([picture(0)] * 10)
    alone = tiny.look_views([picture(0)])
    assert alone.view == 0 and alone.views == ()


def test_the_command_line_takes_views_tiles_and_weights(weights, tmp_path, short_answers):
    files = []
    for seed in range(3):
        files.append(tmp_path / f"{seed}.png")
        Image.fromarray(picture(seed)).save(files[-1])
    more = [word for file in files[1:] for word in ("--view", str(file))]
    base = json.loads((weights / "config.json").read_text())["base"]
    options = ["--adapter", str(weights), "--device-map", "cpu", "--tiles", "auto", "--json"]
    done = CliRunner().invoke(app, [str(files[0]), *more, "--profile", base, *options])
    assert done.exit_code == 0, done.output
    assert 1 <= json.loads(done.stdout)["view"] <= 3
    for words, sentence in {
        ("--tiles", "12"): "at least 64 pixels",
        ("--quantization", "3bit", "--profile", str(weights)): "no quantization '3bit'",
        ("--adapter", str(weights)): "The profile embedded takes no adapter",
        ("--batch", "--tiles", "12"): "at least 64 pixels",
        ("--batch", "--view", str(files[1])): "--view is for one picture",
        ("--batch", "--references-dir", str(tmp_path)): "--references-dir is for one picture",
        ("--view", str(tmp_path / "none.png")): "none.png",
    }.items():
        done = CliRunner().invoke(app, [str(files[0]), *words])
        assert done.exit_code == 2 and sentence in done.stderr, done.output
