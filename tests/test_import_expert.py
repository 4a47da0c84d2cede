"""The published expert: a file of its names and shapes, through the whole look, against the paper's equations."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from transformers import (
    LlavaOnevisionConfig,
    LlavaOnevisionForConditionalGeneration,
    LlavaOnevisionImageProcessor,
)

from assistant import load
from assistant.command import run
from assistant.errors import WeightsError
from assistant.import_expert import expert_tensors, main, read_expert
from assistant.onevision_config import config_for
from assistant.weights import LOOK_FILE
from tests.tiny_onevision import tiny_words

GRIDS = [[384, 768], [768, 384], [768, 768]]


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A file as it is published: names and shapes of the paper's size, random values."""
    torch.manual_seed(3)
    shapes = {
        "positive_embedding": (1, 512), "negative_embedding": (1, 512), "pooling_layer.0.weight": (1, 729),
        "pooling_layer.0.bias": (1,), "class_predictor.0.weight": (512, 1152), "class_predictor.0.bias": (512,),
        "class_predictor.2.weight": (512, 512), "class_predictor.2.bias": (512,),
        "q_former.query_proj.weight": (512, 1152), "q_former.query_proj.bias": (512,),
        "q_former.key_proj.weight": (512, 1152), "q_former.key_proj.bias": (512,),
        "final_predictor.0.weight": (512, 1152), "final_predictor.0.bias": (512,),
        "final_predictor.2.weight": (1, 512), "final_predictor.2.bias": (1,),
    }  # fmt: skip
    for level in range(4):
        shapes |= {f"siglip_adaptors.{level}.weight": (512, 1152), f"siglip_adaptors.{level}.bias": (512,)}
        shapes |= {f"prompt_adaptors.{level}.weight": (512, 1024), f"prompt_adaptors.{level}.bias": (512,)}
    tensors = {name: torch.randn(shape) / shape[-1] ** 0.5 for name, shape in shapes.items()}
    file = tmp_path_factory.mktemp("published") / "pretrained_expert_7b.pth"
    torch.save(tensors, file)
    return file


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """Tokens of the paper's number and width: a shallow tower of SigLIP so400m's other sizes, a tiny language model."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("wide")
    config = LlavaOnevisionConfig(
        vision_config={
            "model_type": "siglip_vision_model", "hidden_size": 1152, "intermediate_size": 64, "image_size": 384,
            "num_attention_heads": 16, "num_hidden_layers": 4, "patch_size": 14, "vision_use_head": False,
        },
        text_config={
            "model_type": "qwen2", "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1,
            "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 120, "bos_token_id": 1,
            "eos_token_id": 2, "pad_token_id": 0, "max_position_embeddings": 8192, "tie_word_embeddings": False,
        },
        image_token_index=6, video_token_index=7, image_grid_pinpoints=GRIDS,
    )  # fmt: skip
    LlavaOnevisionForConditionalGeneration(config).save_pretrained(folder)
    tiny_words().save_pretrained(folder)
    LlavaOnevisionImageProcessor(image_grid_pinpoints=GRIDS).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def imported(published, checkpoint, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "expert"
    with pytest.raises(SystemExit) as done:
        run(main, [str(published), "--profile", str(checkpoint), "--out", str(out)])
    assert not done.value.code
    return out


def equations(p, levels, tokens):
    """Section 3 of the paper for the views of one picture, the base first, written down plainly.

    levels: four [V, 729, 1152]; tokens [V, 729, 1152] -> (significance [V, 27, 27], tokens [V, 4, 1152], global, score)
    """

    def linear(name, x):
        return x @ p[f"{name}.weight"].T + p[f"{name}.bias"]

    base = (p["pooling_layer.0.weight"] @ tokens[0] + p["pooling_layer.0.bias"])[0]
    descriptor = linear("class_predictor.2", F.gelu(linear("class_predictor.0", base)))
    maps = []
    for number, level in enumerate(levels):
        patches = F.normalize(linear(f"siglip_adaptors.{number}", level), dim=-1)
        cosines = [
            patches @ F.normalize(linear(f"prompt_adaptors.{number}", torch.cat([p[name][0], descriptor])), dim=0)
            for name in ("positive_embedding", "negative_embedding")
        ]
        maps.append((torch.stack(cosines, dim=-1) / 0.01).softmax(dim=-1)[..., 1])
    significance = torch.stack(maps).mean(0).view(-1, 27, 27)
    square = tokens.transpose(1, 2).reshape(-1, 1152, 27, 27)
    weighted = F.adaptive_avg_pool2d(square * significance[:, None], 2)
    pooled = F.adaptive_avg_pool2d(significance[:, None], 2)
    queries = (weighted / pooled).flatten(2).transpose(1, 2)
    scores = linear("q_former.query_proj", queries) @ linear("q_former.key_proj", tokens).transpose(1, 2) / 512**0.5
    suspicious = scores.softmax(-1) @ tokens
    weight = pooled.flatten(1) * significance.mean((1, 2))[:, None]
    whole = (suspicious * weight[..., None]).sum((0, 1)) / weight.sum()
    return significance, suspicious, whole, linear("final_predictor.2", F.gelu(linear("final_predictor.0", whole)))


def test_the_whole_look_is_the_papers_equations(imported, published):
    inspector = load(str(imported))
    picture = np.random.default_rng(0).integers(0, 255, (300, 500, 3), dtype=np.uint8)
    views = inspector.processor.pixels(picture)
    assert len(views.pixels) == 3
    with torch.inference_mode():
        output = inspector.model.look(views)
        tower = inspector.model.llava.model.vision_tower
        hidden = tower(views.pixels.to(tower.dtype), output_hidden_states=True).hidden_states
        hidden = [state.float() for state in hidden]
        wanted = equations(read_expert(published), [hidden[n + 1] for n in range(4)], hidden[-1])
    significance, suspicious, whole, score = wanted
    assert torch.allclose(output.selection.significance[:, 0], significance, atol=1e-5)
    assert torch.allclose(output.tokens.suspicious[0, 0], whole, atol=1e-5)
    assert torch.allclose(output.tokens.suspicious[0, 1:].view(3, 4, -1), suspicious, atol=1e-5)
    assert torch.allclose(output.score_logit, score, atol=1e-5)
    look = inspector.look(picture)
    assert look.score == pytest.approx(float(torch.sigmoid(score)), abs=1e-5)
    assert look.heatmap.shape == (300, 500) and look.kinds == ()


def test_what_is_not_the_expert_is_named(published, checkpoint, tmp_path):
    config = config_for(LlavaOnevisionConfig.from_pretrained(checkpoint))
    tensors = read_expert(published)
    short = {name: value for name, value in tensors.items() if name != "q_former.key_proj.bias"}
    with pytest.raises(WeightsError, match=r"has no tensor q_former\.key_proj\.bias"):
        expert_tensors(short, config)
    with pytest.raises(WeightsError, match="unknown tensor extra"):
        expert_tensors(tensors | {"extra": torch.zeros(1)}, config)
    with pytest.raises(WeightsError, match=r"pooling_layer.0.weight has shape \(1, 576\), this profile wants \(1, 729"):
        expert_tensors(tensors | {"pooling_layer.0.weight": torch.zeros(1, 576)}, config)
    for name, value in (("list.pth", [torch.zeros(1)]), ("number.pth", {"a": 1})):
        torch.save(value, tmp_path / name)
        with pytest.raises(WeightsError, match="no state dict"):
            read_expert(tmp_path / name)
    (tmp_path / "code.pth").write_bytes(pickle.dumps(Path("/")))  # an object, which torch refuses to make
    (tmp_path / "torn.pth").write_bytes(published.read_bytes()[:5000])
    (tmp_path / "empty.pth").write_bytes(b"")
    for name in ("code.pth", "torn.pth", "empty.pth"):
        with pytest.raises(WeightsError, match="damaged or holds more than tensors"):
            read_expert(tmp_path / name)
    with pytest.raises(WeightsError, match="There is no file"):
        read_expert(tmp_path / "none.pth")


def test_the_command_says_one_sentence_and_overwrites_nothing(published, checkpoint, imported, tmp_path, capsys):
    def refused(*words):
        with pytest.raises(SystemExit) as done:
            run(main, [str(word) for word in words])
        assert done.value.code == 2
        return capsys.readouterr().err

    before = (imported / LOOK_FILE).stat().st_mtime_ns
    assert "is not empty" in refused(published, "--profile", checkpoint, "--out", imported)
    assert (imported / LOOK_FILE).stat().st_mtime_ns == before
    assert "no LLaVA-OneVision profile" in refused(published, "--profile", "embedded", "--out", tmp_path / "x")
    other = shutil.copytree(checkpoint, tmp_path / "other")
    values = json.loads((other / "config.json").read_text())
    values["vision_config"]["hidden_size"] = 1024
    (other / "config.json").write_text(json.dumps(values))
    assert "has shape" in refused(published, "--profile", other, "--out", tmp_path / "x")
    assert not (tmp_path / "x").exists()
