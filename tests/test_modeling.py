"""The model on tiny random weights: shapes, placeholders, save and load, generation."""

from __future__ import annotations

import pytest
import torch
from timm.layers import Conv2dSame
from transformers import AutoConfig, AutoModelForImageTextToText
from transformers.utils import logging

from assistant.configuration import LookTwiceConfig
from assistant.modeling import LookTwiceForConditionalGeneration
from assistant.prompts import conversation
from assistant.vision import TimmTower
from tests.tiny import tiny_config, tiny_model

logging.disable_progress_bar()


@pytest.fixture(scope="module")
def tiny():
    return tiny_model()


@pytest.fixture(scope="module")
def pixels() -> torch.Tensor:
    return torch.randn(2, 3, 96, 160, generator=torch.Generator().manual_seed(1))


def ids_for(processor, question="Is it bad?", copies=1) -> torch.Tensor:
    ids = processor.ids(conversation(question, (), processor.look_text(0.5, ())))
    return ids.repeat(copies, 1)


def test_shapes_of_a_look(tiny, pixels):
    model, _ = tiny
    output = model.look(pixels)
    counts = model.config.counts
    assert output.heatmap_logits.shape == (2, 1, 24, 40)  # finest stride is 4
    assert output.score_logit.shape == output.map_logit.shape == output.selector_logit.shape == (2,)
    assert output.selection.significance.shape == (2, 1, 24, 40)
    assert 0 <= output.selection.significance.min() <= output.selection.significance.max() <= 1
    assert output.tokens.visual.shape == (2, counts["visual"], 320)
    assert output.tokens.suspicious.shape == (2, counts["suspicious"], 320)
    assert output.tokens.map.shape == (2, 9, 8 + 2)  # 8 channels of the fine head
    assert output.tokens.comparison is None and output.kind_logits.shape == (2, 3)
    assert counts == {"visual": 9, "suspicious": 5, "map": 11, "comparison": 4}


def test_references_change_the_look_and_their_order_does_not(tiny, pixels):
    model, _ = tiny
    look_model = model.look_model
    torch.nn.init.constant_(look_model.selector.residual[0].weight, 1.0)
    known = torch.randn(3, 3, 96, 160, generator=torch.Generator().manual_seed(5))
    with torch.inference_mode():
        alone = model.look(pixels)
        held = model.look(pixels, look_model.remember(known))
        turned = model.look(pixels, look_model.remember(known.flip(0)))
    assert held.tokens.comparison.shape == (2, 4, 320)
    assert not torch.allclose(alone.heatmap_logits, held.heatmap_logits)
    assert torch.allclose(held.heatmap_logits, turned.heatmap_logits, atol=1e-5)
    torch.nn.init.zeros_(look_model.selector.residual[0].weight)


def test_a_batch_may_hold_looks_with_and_without_references(tiny, pixels):
    model, processor = tiny
    with torch.no_grad():
        tokens = model.look(pixels, model.look_model.remember(pixels[:1])).tokens
    with_reference, without = (
        processor.ids(conversation("Is it bad?", (), processor.look_text(0.5, (), references=n)))[0] for n in (1, 0)
    )
    length = max(len(with_reference), len(without))
    ids = torch.stack([torch.nn.functional.pad(x, (0, length - len(x))) for x in (with_reference, without)])
    with torch.no_grad():
        embedded = model.embed(ids, tokens)
    assert embedded.shape[:2] == ids.shape
    assert int((ids == model.config.placeholder_ids[3]).sum()) == 4


def test_a_batch_gives_what_single_pictures_give(tiny, pixels):
    model, _ = tiny
    together, alone = model.look(pixels), model.look(pixels[1:])
    assert torch.allclose(together.heatmap_logits[1:], alone.heatmap_logits, atol=1e-4)
    assert torch.allclose(together.score_logit[1:], alone.score_logit, atol=1e-4)


def test_the_tower_stays_frozen(tiny):
    model, _ = tiny
    tower = model.look_model.tower
    model.train()
    assert not tower.training and not tower.backbone.training
    assert not any(parameter.requires_grad for parameter in tower.parameters())
    model.eval()


def test_folding_the_batch_statistics_changes_nothing_but_the_time(pixels):
    tower = TimmTower(tiny_config().vision_config)
    generator = torch.Generator().manual_seed(3)
    for layer in tower.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):  # as trained ones: neither 0 nor 1
            layer.running_mean.normal_(0, 0.1, generator=generator)
            layer.running_var.uniform_(0.5, 1.5, generator=generator)
    before = tower(pixels)
    after = tower.fold()(pixels)
    assert not any(isinstance(layer, torch.nn.BatchNorm2d | Conv2dSame) for layer in tower.modules())
    assert all(torch.allclose(a, b, atol=1e-3) for a, b in zip(before.levels, after.levels, strict=True))


def test_pixels_and_ready_tokens_give_the_same_logits(tiny, pixels):
    model, processor = tiny
    ids = ids_for(processor, copies=2)
    tokens = model.look(pixels).tokens
    with torch.inference_mode():
        first = model(ids, pixel_values=pixels).logits
        second = model(ids, visual=tokens.visual, suspicious=tokens.suspicious, map=tokens.map).logits
    assert torch.equal(first, second)


def test_the_picture_reaches_the_words(tiny, pixels):
    model, processor = tiny
    with torch.inference_mode():
        logits = model(ids_for(processor, copies=2), pixel_values=pixels).logits
    assert not torch.allclose(logits[0, -1], logits[1, -1])


def test_missing_placeholders_are_named_with_both_counts(tiny, pixels):
    model, processor = tiny
    ids = ids_for(processor)
    fewer = ids[:, (ids[0] != model.config.placeholder_ids[0]).nonzero().squeeze(1)]
    with pytest.raises(ValueError, match="0 visual placeholders and the look gives 9"):
        model(fewer, pixel_values=pixels[:1])
    with pytest.raises(ValueError, match="9 visual placeholders and the look gives 0"):
        model(ids)


def test_labels_give_a_loss_that_moves_projector_and_map_tokens(tiny, pixels):
    model, processor = tiny
    said = [*conversation("Bad?", (), processor.look_text(0.9, ())), {"role": "assistant", "content": "Yes"}]
    ids, labels = processor.supervised(said)
    output = model(ids[None], pixel_values=pixels[:1], labels=labels[None])
    output.loss.backward()
    assert model.projector.layers[1].weight.grad.abs().sum() > 0
    assert model.map_tokens.mlp[0].weight.grad.abs().sum() > 0
    model.zero_grad()


def test_saved_and_loaded_weights_are_bit_equal(tiny, pixels, tmp_path):
    model, _ = tiny
    model.save_pretrained(tmp_path)
    loaded = AutoModelForImageTextToText.from_pretrained(tmp_path).eval()
    assert isinstance(loaded, LookTwiceForConditionalGeneration)
    before, after = model.state_dict(), loaded.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    # weights that lie otherwise in memory, as a mapped file's do, are multiplied in another order
    assert torch.allclose(model.look(pixels).heatmap_logits, loaded.look(pixels).heatmap_logits, atol=1e-5)


def test_configuration_survives_the_disk(tmp_path):
    config = tiny_config()
    config.save_pretrained(tmp_path)
    again = AutoConfig.from_pretrained(tmp_path)
    assert isinstance(again, LookTwiceConfig)
    before, after = config.to_dict(), again.to_dict()
    assert after.pop("_name_or_path") == str(tmp_path) and before.pop("_name_or_path") == ""
    assert after == before
    assert again.selector_config.size == 16 and again.text_config.hidden_size == 32


def test_generation_is_deterministic_and_bounded(tiny, pixels):
    model, processor = tiny
    tokens = model.look(pixels[:1]).tokens
    settings = {"max_new_tokens": 5, "do_sample": False, "pad_token_id": 2}
    first = model.generate(ids_for(processor), tokens, **settings)
    assert first.shape[1] <= 5
    assert torch.equal(first, model.generate(ids_for(processor), tokens, **settings))
