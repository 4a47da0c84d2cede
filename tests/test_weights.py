"""Our part of the weights on disk, and profiles."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from assistant.configuration import LookTwiceConfig
from assistant.errors import ProfileError, WeightsError
from assistant.knowledge import KINDS
from assistant.packaged import dtype_of, package_file
from assistant.profiles import profile_names, read_profile
from assistant.weights import load_parts, read_config, save_parts


def net(seed: int) -> nn.ModuleDict:
    torch.manual_seed(seed)
    return nn.ModuleDict({"own": nn.Linear(3, 2), "other": nn.Linear(2, 2)})


def test_parts_are_saved_and_loaded_bit_equal_and_the_rest_is_left_alone(tmp_path):
    first, second = net(0), net(1)
    other = second["other"].weight.clone()
    save_parts(first, ("own.",), tmp_path / "a.safetensors")
    assert set(load_file(tmp_path / "a.safetensors")) == {"own.weight", "own.bias"}
    load_parts(second, ("own.",), tmp_path / "a.safetensors")
    assert torch.equal(first["own"].weight, second["own"].weight)
    assert torch.equal(second["other"].weight, other)


@pytest.mark.parametrize(
    ("tensors", "sentence"),
    [
        ({"own.weight": torch.zeros(2, 3)}, "no tensor own.bias"),
        ({"own.weight": torch.zeros(2, 4), "own.bias": torch.zeros(2)}, r"shape \(2, 4\), not \(2, 3\)"),
        ({"own.weight": torch.zeros(2, 3), "own.bias": torch.zeros(2), "evil": torch.zeros(1)}, "unknown tensor evil"),
    ],
)
def test_other_tensors_are_refused_by_name(tmp_path, tensors, sentence):
    save_file(tensors, tmp_path / "a.safetensors")
    with pytest.raises(WeightsError, match=sentence):
        load_parts(net(0), ("own.",), tmp_path / "a.safetensors")


def test_missing_and_damaged_files_are_one_sentence(tmp_path):
    with pytest.raises(WeightsError, match="missing"):
        load_parts(net(0), ("own.",), tmp_path / "none.safetensors")
    save_parts(net(0), ("own.",), tmp_path / "a.safetensors")
    whole = (tmp_path / "a.safetensors").read_bytes()
    (tmp_path / "a.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(WeightsError, match="damaged"):
        load_parts(net(0), ("own.",), tmp_path / "a.safetensors")


def test_profiles_are_listed_and_unknown_ones_refused():
    assert "embedded" in profile_names()
    with pytest.raises(ProfileError, match="embedded"):
        read_profile("no-such-profile")
    with pytest.raises(ProfileError):
        read_profile("../profiles/embedded")


@pytest.mark.parametrize(
    ("hardware", "dtype"), [({"avx512_bf16": True}, torch.bfloat16), ({"avx512_bf16": False}, torch.float32)]
)
def test_the_language_model_runs_in_what_the_machine_is_fast_with(monkeypatch, hardware, dtype):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.cpu.get_capabilities", lambda: hardware, raising=False)
    assert dtype_of("auto") is dtype and dtype_of("float32") is torch.float32


def test_a_missing_package_says_how_to_get_it():
    with pytest.raises(ProfileError, match="requirements-embedded.txt"):
        package_file("no_such_weights_package", "*.pth")


@pytest.mark.parametrize("text", ["{", '{"model_type": "llama"}', "[]"])
def test_a_bad_configuration_is_one_sentence(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(WeightsError):
        read_config(tmp_path, LookTwiceConfig)


def test_committed_weights_are_ours_small_and_without_machine_paths():
    folder = read_profile("embedded").weights
    files = [file for file in folder.rglob("*") if file.is_file()]
    assert sum(file.stat().st_size for file in files) < 40e6
    assert not [file for file in files if file.suffix in (".bin", ".pt", ".pth", ".pkl")]
    for file in folder.rglob("*.json"):
        assert "/home/" not in file.read_text() and "site-packages" not in file.read_text()
    assert json.loads((folder / "adapter" / "adapter_config.json").read_text())["peft_type"] == "LORA"
    config = read_config(folder, LookTwiceConfig)
    assert tuple(config.heatmap_config.kinds) == tuple(KINDS)  # a retrained head would name other kinds otherwise
