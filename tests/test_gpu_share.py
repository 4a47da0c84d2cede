"""A share of a GPU: what is limited and refused, as far as a machine without one can show it."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import app
from assistant import load
from assistant.errors import ProfileError, WeightsError
from assistant.gpu_share import GIB, limited
from assistant.onevision_loading import read_checkpoint
from assistant.packaged import native_bfloat16
from tests.tiny_onevision import tiny_checkpoint, tiny_look

pytestmark = pytest.mark.filterwarnings("ignore:The following device_map keys")  # the library's own, of a parameter


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return tiny_checkpoint(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture
def gpus(monkeypatch):
    """Two GPUs, of 24 and 80 GiB; what the process was limited to is kept."""
    memory, given = {0: (20 * GIB, 24 * GIB), 1: (80 * GIB, 80 * GIB)}, {}
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda number: memory[number])
    monkeypatch.setattr(
        torch.cuda, "set_per_process_memory_fraction", lambda share, number: given.update({number: share})
    )
    return given


def test_the_process_is_limited_and_weights_leave_room_for_work(gpus):
    limits = limited(0.5)
    assert gpus == {0: 0.5, 1: 0.5}
    assert limits[0] == 12 * GIB - int(0.3 * 12 * GIB) and limits[1] == 36 * GIB


def test_what_others_hold_is_not_taken(gpus):
    with pytest.raises(WeightsError, match="Of GPU 0 20.0 GiB are free, and a share of 0.9 is 21.6 GiB"):
        limited(0.9)
    assert gpus == {}


@pytest.mark.parametrize("share", [0, -0.1, 1.01, float("nan")])
def test_a_share_is_a_share(share):
    with pytest.raises(ProfileError, match="over 0 and at most 1"):
        limited(share)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_there_is_nothing_to_share(checkpoint, tmp_path):
    weights = tiny_look(checkpoint, tmp_path / "weights")
    with pytest.raises(ProfileError, match="no GPU here"):
        load(str(weights), share_gpu=0.5)
    with pytest.raises(ProfileError, match="takes no share_gpu"):
        load("embedded", share_gpu=0.5)


def test_limits_reach_the_librarys_own_placement(checkpoint, tmp_path, monkeypatch):
    """On a CPU the library places by the same dictionary."""
    weights = tiny_look(checkpoint, tmp_path / "weights")
    monkeypatch.setattr("assistant.onevision_loading.limited", lambda share: {"cpu": GIB})
    inspector = load(str(weights), share_gpu=0.5)
    assert 0 <= inspector.look(np.full((60, 70, 3), 99, np.uint8)).score <= 1
    size = (checkpoint / "model.safetensors").stat().st_size // (2 if native_bfloat16() else 1)  # of what is loaded
    monkeypatch.setattr("assistant.onevision_loading.limited", lambda share: {"cpu": size // 2})
    with pytest.raises(WeightsError, match="larger share of the GPU"):
        load(str(weights), share_gpu=0.5)


def test_weights_that_come_and_go_are_refused(checkpoint):
    places = {"model.vision_tower": "cpu", "model.multi_modal_projector": "cpu", "model.image_newline": "cpu",
              "model.language_model": "disk", "lm_head": "cpu"}  # fmt: skip
    with pytest.raises(WeightsError, match="does not fit on the GPUs it was given. Use --quantization 4bit"):
        read_checkpoint(checkpoint, torch.float32, places, {})


def test_the_pages_command_hands_the_share_on(monkeypatch, tmp_path):
    asked = {}
    monkeypatch.setattr(app, "load", lambda profile, **options: asked.update(options, profile=profile))
    monkeypatch.setattr(app, "Desk", lambda profile, loader, tiles: SimpleNamespace(load=loader(profile)))
    monkeypatch.setattr(app, "build", lambda desk, learning: None)
    monkeypatch.setattr(app, "serve", lambda *page: None)
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    app.main("onevision-7b", quantization="4bit", device_map="auto", share_gpu=0.5)
    wanted = {"profile": "onevision-7b", "quantization": "4bit", "device_map": "auto", "share_gpu": 0.5}
    assert asked == wanted | {"adapter": None}, json.dumps(asked)
