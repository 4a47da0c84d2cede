"""The paper-size family on a tiny random checkpoint of the real classes: geometry, look, words, errors."""

from __future__ import annotations

import json
import shutil
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import LlavaOnevisionConfig, LlavaOnevisionForConditionalGeneration
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.utils import logging

from assistant import load
from assistant.anyres import Canvas, anyres_boxes, join_views, stitch
from assistant.errors import ProfileError, WeightsError
from assistant.loading import compose
from assistant.onevision import ViewTokens
from assistant.onevision_config import config_for, taps_of
from assistant.onevision_processing import packed_count
from assistant.profiles import read_profile
from assistant.weights import LOOK_FILE
from tests.tiny_onevision import PINPOINTS, SIDE, tiny_checkpoint, tiny_look

logging.disable_progress_bar()
SIZES = [(48, 48), (200, 130), (130, 200), (48, 150), (500, 40), (97, 96), (33, 640), (144, 144)]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return tiny_checkpoint(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture(scope="module")
def weights(checkpoint, tmp_path_factory):
    return tiny_look(checkpoint, tmp_path_factory.mktemp("weights"))


@pytest.fixture(scope="module")
def onevision(checkpoint, weights):
    return load(str(checkpoint), adapter=weights)


def picture(size: tuple[int, int], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)


def test_boxes_of_hand_cases():
    assert anyres_boxes((48, 48), PINPOINTS, SIDE) == ((0, 0, 1, 1), (0, 0, 1, 1))
    assert anyres_boxes((96, 48), PINPOINTS, SIDE)[1:] == ((0, 0, 0.5, 1), (0.5, 0, 1, 1))
    # 100 x 50 on 144 x 96: 144 wide, 72 high, 12 rows of padding above and below
    boxes = anyres_boxes((100, 50), [[96, 144]], SIDE)
    assert len(boxes) == 7 and boxes[1] == pytest.approx((0, -12 / 72, 48 / 144, 36 / 72))
    assert boxes[6] == pytest.approx((96 / 144, 36 / 72, 1, 84 / 72))


@pytest.mark.parametrize("size", SIZES)
def test_views_and_counts_are_those_of_the_library(onevision, size):
    views = onevision.processor.pixels(picture(size))
    assert views.counts == (len(views.pixels),) == (len(views.boxes),)
    model = onevision.model.llava
    whole = model.model.get_image_features(views.pixels[None], torch.tensor([[size[1], size[0]]])).pooler_output[0]
    assert packed_count(size, model.config) == len(whole)
    output = onevision.model.look(views)
    features = onevision.model.visual_features(output.tokens)
    assert torch.equal(features[: len(whole)], whole)  # to the last bit
    assert len(features) == sum(onevision.processor.counts(size).values())


def test_the_checkpoints_of_the_paper_give_its_sizes():
    config = config_for(LlavaOnevisionConfig())
    assert config.taps == (6, 12, 18, 24) and config.positions == 729 and config.queries == 4
    assert config.vision_config.channels == [1152] * 4 and config.selector_config.size == 512
    assert taps_of(2) == (0, 1) and taps_of(12) == (2, 5, 8, 11) and taps_of(1) == (0,)


def test_maps_of_views_agree_where_they_overlap():
    """Views that see one smooth function give that function back, whatever their boxes."""

    def wave(y, x):
        return torch.sin(3 * y)[:, None] + torch.cos(2 * x)[None]

    canvas = Canvas((120, 160))
    for box in [(0, 0, 0.6, 0.7), (0.4, 0, 1, 0.7), (0, 0.5, 0.6, 1), (0.4, 0.5, 1.1, 1.2)]:
        y, x = (box[n] + (torch.arange(60) + 0.5) / 60 * (box[n + 2] - box[n]) for n in (1, 0))
        canvas.put(wave(y, x), box)
    wanted = wave((torch.arange(120) + 0.5) / 120, (torch.arange(160) + 0.5) / 160)
    assert torch.allclose(canvas.map(float("nan")), wanted, atol=0.02)


def test_what_is_smaller_than_a_patch_of_the_base_view_is_found_by_a_crop():
    boxes = anyres_boxes((144, 144), PINPOINTS, SIDE)
    maps = torch.full((10, 6, 6), -4.0)
    maps[6, 2, 3] = 3.0  # middle row, last column of the crops
    whole = stitch(maps, boxes)
    assert whole.shape == (18, 18)
    assert divmod(int(whole.argmax()), 18) == (6 + 2, 12 + 3)
    assert whole.max() == pytest.approx(3.0, abs=1e-4) and (whole > 0).sum() == 1


def test_a_map_lies_on_the_picture_and_not_on_its_padding():
    boxes = anyres_boxes((100, 50), [[96, 144]], SIDE)
    maps = torch.zeros(7, 6, 6)
    maps[1, 0] = 9.0  # the first two rows of the crops are padding and a bit
    maps[1, 1] = 9.0
    whole = stitch(maps, boxes)
    assert whole[0, 0] < 9 and whole.shape == (round(6 / (48 / 72)), 18)


def test_a_look_has_a_map_of_the_picture_and_words_follow(onevision, short_answers):
    look = onevision.look(picture((200, 130)))
    assert look.heatmap.shape == (130, 200) and 0 <= look.score <= 1
    assert look.tokens["suspicious"].shape == (1 + 7 * 4, 32) and look.tokens["visual"].shape == (7 * 36, 32)
    first = "".join(onevision.ask(look, "What is it?"))
    assert first == "".join(onevision.ask(look, "What is it?")) and first
    assert "".join(onevision.ask(None, "Hello")) != first
    finding = onevision.finding(look, first)
    assert finding.profile == onevision.profile and "<image>" not in first


def test_a_user_cannot_write_a_placeholder(onevision, short_answers):
    look = onevision.look(picture((60, 60)))
    assert "".join(onevision.ask(look, "<image> <|im_end|> what?"))


def test_counts_that_differ_are_both_named(onevision):
    look = onevision.look(picture((60, 60)))
    ids, tokens = onevision.prompt(look, "Where?", ())
    given = sum(onevision.processor.counts((60, 60)).values())
    with pytest.raises(ValueError, match=f"{given - 1} image placeholders and the looks give {given} tokens"):
        onevision.model.next_logits(ids[:, ids[0].ne(6).logical_or(ids[0].eq(6).cumsum(0) > 1)], tokens)


def test_one_at_a_time_and_four_at_once_are_the_same(onevision):
    model, processor = onevision.model.look_model, onevision.processor
    views = [processor.pixels(picture(size, seed)) for seed, size in enumerate(SIZES[:4])]
    with torch.inference_mode():
        together = model(join_views(views))
        for one, expected in zip(views, together, strict=True):
            (alone,) = model(one)
            assert torch.allclose(alone.heatmap_logits, expected.heatmap_logits, atol=1e-5)
            assert torch.allclose(alone.score_logit, expected.score_logit, atol=1e-5)
            assert torch.allclose(alone.tokens.suspicious, expected.tokens.suspicious, atol=1e-5)


def test_frames_of_clips_are_looked_at_on_the_grid_of_a_smaller_picture(onevision):
    assert onevision.processor.fit_size(640, 480) == (144, 108)
    assert onevision.processor.fit_size(640, 480, side=40) == (48, 37)  # 46 x 35: one crop
    assert onevision.processor.fit_size(40, 30, side=100) == (48, 36)  # never enlarged for it


def test_references_are_compared_at_every_scale(onevision, tmp_path):
    normal = [picture((120, 90), seed) for seed in (1, 2)]
    memory = onevision.remember(normal)
    views = 1 + len(anyres_boxes((120, 90), PINPOINTS, SIDE)[1:])
    assert memory.levels[0].shape == (2 * 4 * views, 32, 6, 6) and len(memory.normals) == 2
    same, other = onevision.look(normal[0], memory), onevision.look(picture((120, 90), 9), memory)
    assert same.references == other.references == 2 and same.score != other.score
    onevision.save_references(memory, tmp_path / "good.safetensors")
    again = onevision.look(normal[0], onevision.load_references(tmp_path / "good.safetensors"))
    assert again.score == pytest.approx(same.score, abs=1e-6)


def test_without_a_heatmap_head_the_significance_map_is_the_heatmap(checkpoint, tmp_path):
    changes = {"parts": ["selector"], "heatmap_config": {"kinds": []}}
    plain = load(str(checkpoint), adapter=tiny_look(checkpoint, tmp_path / "w", **changes))
    views = plain.processor.pixels(picture((200, 130)))
    output = plain.model.look(views)
    features = plain.model.look_model.tower(views)
    assert torch.equal(output.score_logit, output.selector_logit)
    wanted = stitch(torch.logit(output.selection.significance, eps=1e-6)[:, 0], views.boxes)
    assert torch.equal(output.heatmap_logits[0, 0], wanted) and features.tokens.shape == (7, 36, 32)
    assert plain.look(picture((200, 130))).kinds == ()


def test_weights_come_back_to_the_last_bit(onevision, checkpoint, weights):
    again = load(str(weights))  # a weights folder names its checkpoint
    assert again.fingerprint != onevision.fingerprint or again.profile == onevision.profile
    for (name, one), other in zip(
        sorted(onevision.model.looking_state().items()),
        (tensor for _, tensor in sorted(again.model.looking_state().items())), strict=True,
    ):  # fmt: skip
        assert torch.equal(one, other), name


def test_the_tower_is_not_counted_twice(onevision):
    names = [name for name, _ in onevision.model.look_model.named_parameters()]
    assert not any("tower" in name for name in names)
    assert sum("vision_tower" in name for name, _ in onevision.model.named_parameters()) > 0


def test_tokens_of_a_look_are_plain_arrays(onevision):
    look = onevision.look(picture((60, 60)))
    _, tokens = onevision.prompt(look, "Where?", ())
    (tokens,) = tokens
    assert isinstance(tokens, ViewTokens) and tokens.size.tolist() == [[60, 60]]


def test_bad_checkpoints_and_weights_are_one_sentence(checkpoint, weights, tmp_path):
    with pytest.raises(WeightsError, match="no look weights"):
        load(str(checkpoint))
    other = tmp_path / "other"
    other.mkdir()
    (other / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(ProfileError, match="no LLaVA-OneVision checkpoint"):
        read_profile(str(other))
    (other / "config.json").write_text("{")
    with pytest.raises(ProfileError, match="cannot be read"):
        read_profile(str(other))
    torn = tmp_path / "torn"
    torn.mkdir()
    for file in checkpoint.iterdir():
        (torn / file.name).write_bytes(file.read_bytes())
    (torn / "model.safetensors").write_bytes((checkpoint / "model.safetensors").read_bytes()[:1000])
    with pytest.raises(WeightsError, match="cannot be loaded"):
        load(str(torn), adapter=weights)
    tensors = load_file(checkpoint / "model.safetensors")
    del tensors["image_newline"]
    save_file(tensors, torn / "model.safetensors", {"format": "pt"})
    with pytest.raises(WeightsError, match="has no tensor model.image_newline"):
        load(str(torn), adapter=weights)
    with pytest.raises(ProfileError, match="takes no quantization"):
        load("embedded", quantization="4bit")
    with pytest.raises(WeightsError, match="no quantization '3bit'"):
        load(str(checkpoint), adapter=weights, quantization="3bit")
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "config.json").write_bytes((weights / "config.json").read_bytes())
    (broken / LOOK_FILE).write_bytes(b"nothing")
    with pytest.raises(WeightsError, match="damaged"):
        load(str(checkpoint), adapter=broken)


def test_a_gpu_is_taken_where_there_is_one_unless_said_otherwise(weights, monkeypatch):
    asked = []
    monkeypatch.setattr(
        "assistant.onevision_loading.compose_onevision", lambda profile, **options: asked.append(options)
    )
    profile = read_profile(str(weights))
    compose(profile)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    compose(profile, stage="look"), compose(profile, device_map="cpu")
    assert [options.get("device_map") for options in asked] == [None, "auto", "cpu"]


def test_profiles_of_the_hub_are_there():
    for size in ("0.5b", "7b"):
        profile = read_profile(f"onevision-{size}")
        assert profile.checkpoint == f"llava-hf/llava-onevision-qwen2-{size}-ov-hf"
    assert read_profile("someone/their-onevision").checkpoint == "someone/their-onevision"


def test_the_library_answers_the_same_from_pixels(onevision):
    """Without suspicious tokens our prompt is the library's own: one word more, from its pixels and from our look."""
    llava: LlavaOnevisionForConditionalGeneration = onevision.model.llava
    views = onevision.processor.pixels(picture((200, 130)))
    tokens = onevision.model.look(views).tokens
    count = packed_count((200, 130), llava.config)
    ids = torch.tensor([[1, *[6] * count, 40, 41]])
    with torch.inference_mode():
        ours = onevision.model.visual_features(tokens)[:count]
        encoded = {"image": BaseModelOutputWithPooling(pooler_output=[ours])}
        given = llava(input_ids=ids, mm_encoder_outputs=encoded).logits
        pixels = llava(input_ids=ids, pixel_values=views.pixels[None], image_sizes=torch.tensor([[130, 200]])).logits
    assert torch.equal(given, pixels)


def test_the_command_line_takes_a_folder(checkpoint, weights, tmp_path, capsys, short_answers):
    from typer.testing import CliRunner

    from assistant.__main__ import app

    Image.fromarray(picture((90, 70))).save(tmp_path / "part.png")
    done = CliRunner().invoke(app, [str(tmp_path / "part.png"), "--json", "--profile", str(weights)])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["profile"] == weights.name


TARGETS = r"model\.language_model\.layers\.\d+\.(self_attn\.[qkvo]_proj|mlp\.(gate|up|down)_proj)"


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing.:FutureWarning")  # peft, while it is put on
def test_an_adapter_in_the_weights_folder_speaks_and_leaves_the_tower_alone(onevision, checkpoint, weights, tmp_path):
    folder = shutil.copytree(weights, tmp_path / "adapted")
    adapted = get_peft_model(
        LlavaOnevisionForConditionalGeneration.from_pretrained(checkpoint),
        LoraConfig(r=4, target_modules=TARGETS, init_lora_weights=False),
    )
    names = [name for name, _ in adapted.named_parameters() if "lora_" in name]
    assert len(names) == 2 * 7 * 2 and not any("vision_tower" in name for name in names)  # 2 layers, 7 each, A and B
    adapted.save_pretrained(folder / "adapter")
    again = load(str(checkpoint), adapter=folder)
    look = onevision.look(picture((60, 60)))
    ids, tokens = onevision.prompt(look, "Where?", ())
    assert again.look(picture((60, 60))).score == pytest.approx(look.score, abs=1e-6)
    with torch.inference_mode():
        plain, tuned = onevision.model.next_logits(ids, tokens), again.model.next_logits(ids, tokens)
        with again.model.language_model.disable_adapter():
            assert torch.allclose(again.model.next_logits(ids, tokens), plain, atol=1e-6)
    assert not torch.allclose(plain, tuned, atol=1e-3)
    (folder / "adapter" / "adapter_model.safetensors").unlink()
    with pytest.raises(WeightsError, match="adapter is missing"):
        load(str(checkpoint), adapter=folder)


def test_four_bits_without_bitsandbytes_are_refused(checkpoint, weights, monkeypatch):
    monkeypatch.setattr("assistant.onevision_loading.importlib.util.find_spec", lambda name: None)
    with pytest.raises(WeightsError, match="4-bit weights need bitsandbytes"):
        load(str(checkpoint), adapter=weights, quantization="4bit")


@pytest.mark.skipif(find_spec("bitsandbytes") is None, reason="bitsandbytes is optional")
def test_four_bits_on_a_cpu_look_the_same_and_still_speak(tmp_path, short_answers):
    """64 wide: a block of 4-bit weights holds 64, and the CPU's kernel wants whole ones."""
    checkpoint = tiny_checkpoint(tmp_path / "checkpoint", width=64)
    weights = tiny_look(checkpoint, tmp_path / "weights")
    whole = load(str(checkpoint), adapter=weights)
    small = load(str(checkpoint), adapter=weights, quantization="4bit")
    text = {type(module).__name__ for module in small.model.llava.model.language_model.layers.modules()}
    others = [small.model.llava.model.vision_tower, small.model.llava.model.multi_modal_projector]
    assert "Linear4bit" in text
    assert "Linear4bit" not in {type(module).__name__ for part in others for module in part.modules()}
    look, wanted = small.look(picture((60, 60))), whole.look(picture((60, 60)))
    # the tower takes the dtype of the profile; only the language model is rounded
    assert look.score == pytest.approx(wanted.score, abs=1e-5)
    assert "".join(small.ask(look, "What is it?"))
