"""Merged, described, published: a trained profile as one checkpoint, and by the name of its folder or repository."""

from __future__ import annotations

import json
import shutil
import warnings

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoImageProcessor, AutoTokenizer, LlavaOnevisionForConditionalGeneration

from assistant import load
from assistant.command import run
from assistant.errors import WeightsError
from assistant.export import main
from assistant.profiles import read_profile
from assistant.weight_card import card_of, write_card
from assistant.weights import LOOK_FILE
from finetune.onevision_chat import TARGETS
from tests.fake_hub import fake_hub
from tests.tiny_onevision import tiny_checkpoint, tiny_look

PIXELS = np.random.default_rng(0).integers(0, 255, (90, 130, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return tiny_checkpoint(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture(scope="module")
def adapted(checkpoint, tmp_path_factory):
    """Weights with an adapter that says something."""
    folder = tiny_look(checkpoint, tmp_path_factory.mktemp("adapted") / "weights")
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        llava = LlavaOnevisionForConditionalGeneration.from_pretrained(checkpoint)
        get_peft_model(llava, LoraConfig(r=4, target_modules=TARGETS, init_lora_weights=False)).save_pretrained(
            folder / "adapter"
        )
    return folder


def command(*words: object) -> int:
    with pytest.raises(SystemExit) as left:
        run(main, [str(word) for word in words])
    return left.value.code or 0


def test_a_merged_checkpoint_says_what_the_adapter_says(adapted, tmp_path, monkeypatch):
    monkeypatch.setattr("assistant.packaged.native_bfloat16", lambda: False)  # "auto" is then float32
    assert command("--profile", adapted, "--merge", tmp_path / "merged") == 0
    one, whole = load(str(adapted)), load(str(tmp_path / "merged"))
    assert not hasattr(whole.model.language_model, "peft_config")
    look, again = one.look(PIXELS), whole.look(PIXELS)
    assert again.score == pytest.approx(look.score, abs=1e-6)
    ids, tokens = one.prompt(look, "Where?", ())
    with torch.inference_mode():
        assert torch.allclose(one.model.next_logits(ids, tokens), whole.model.next_logits(ids, tokens), atol=1e-4)
        with one.model.language_model.disable_adapter():
            assert not torch.allclose(
                one.model.next_logits(ids, tokens), whole.model.next_logits(ids, tokens), atol=1e-2
            )
    # like any other checkpoint: the library alone loads it, tokenizer and image processor too
    LlavaOnevisionForConditionalGeneration.from_pretrained(tmp_path / "merged")
    AutoTokenizer.from_pretrained(tmp_path / "merged"), AutoImageProcessor.from_pretrained(tmp_path / "merged")
    assert command("--profile", adapted, "--merge", tmp_path / "merged") == 2  # nothing is overwritten
    assert not list(tmp_path.glob("*.partial"))


def test_the_card_says_what_the_files_say_and_a_written_one_is_kept(adapted, tmp_path):
    folder = shutil.copytree(adapted, tmp_path / "w")
    profile = read_profile("onevision-7b")
    card = card_of(profile, folder)
    assert card.startswith(
        "---\ngenerated: true\nlibrary_name: peft\nbase_model: llava-hf/llava-onevision-qwen2-7b-ov-hf\n"
    )
    assert "not recorded here" in card and "None measured" in card and "license: other" in card
    assert "selector and heatmap head" in card and "`adapter/`: LoRA" in card and "projector" not in card
    training = {"look": {"recipe": {}, "sets": {"a|b": {"count": 7, "licences": ["MIT"]}}}}
    (folder / "training.json").write_text(json.dumps(training))
    (folder / "metrics.json").write_text(json.dumps({"mean": {"image_auroc": 0.875, "rows": None}}))
    card = write_card(profile, folder).read_text()
    assert "| look | a/b | 7 | MIT |" in card and "| image_auroc | 0.875 |" in card and "license: mit" in card
    assert write_card(profile, folder).read_text() == card
    training["chat"] = {"recipe": {}, "sets": {"c": {"count": 2, "licences": []}}}  # states none: not under a's
    (folder / "training.json").write_text(json.dumps(training))
    assert "license: other" in card_of(profile, folder) and "| chat | c | 2 | not stated |" in card_of(profile, folder)
    (folder / "README.md").write_text("By hand.")
    assert write_card(profile, folder).read_text() == "By hand."
    (folder / "training.json").write_text("[")
    with pytest.raises(WeightsError, match="training.json of w cannot be read"):
        card_of(profile, folder)
    assert str(tmp_path) not in card_of(read_profile(str(adapted)), adapted)  # no path of the machine


def test_what_is_pushed_is_ours_alone_and_loads_by_its_name(adapted, checkpoint, tmp_path, monkeypatch, capsys):
    """By the library's own client, over HTTP, to a hub on this machine and back."""
    folder = shutil.copytree(adapted, tmp_path / "w")
    (folder / "secret.txt").write_text("x")
    with fake_hub(monkeypatch, tmp_path / "cache") as hub:
        assert command("--profile", folder, "--push", "me/mine") == 0
        assert "pushed to http://127.0.0.1" in capsys.readouterr().out
        assert hub.private == {"me/mine": True}
        files = hub.repositories["me/mine"]
        assert sorted(files) == [
            "README.md", "adapter/adapter_config.json", "adapter/adapter_model.safetensors", "calibration.json",
            "config.json", LOOK_FILE,
        ]  # fmt: skip
        assert files["README.md"].startswith(b"---\ngenerated: true\nlibrary_name: peft\n")
        assert all(files[name] == (folder / name).read_bytes() for name in files)
        files |= {"pytorch_model.bin": b"pickled", "code.py": b"run"}  # put there by others: never fetched
        inspector = load(str(checkpoint), adapter="me/mine")
        fetched = {file.name for file in (tmp_path / "cache").rglob("*") if file.is_file()}
        assert LOOK_FILE in fetched and not fetched & {"pytorch_model.bin", "code.py"}
        assert command("--profile", folder, "--push", "me/mine", "--public") == 0
        monkeypatch.setenv("HF_TOKEN", "hf_other")
        assert command("--profile", folder, "--push", "me/other") == 2
        assert "cannot be pushed to 'me/other' (HfHubHTTPError). Log in" in capsys.readouterr().err
        with pytest.raises(WeightsError, match="'me/none' is no folder and cannot be fetched from the hub"):
            load(str(checkpoint), adapter="me/none")
    one, look = load(str(adapted)), inspector.look(PIXELS)
    assert one.look(PIXELS).score == look.score
    ids, tokens = inspector.prompt(look, "Where?", ())
    with torch.inference_mode():
        assert torch.equal(inspector.model.next_logits(ids, tokens), one.model.next_logits(ids, tokens))


def test_what_cannot_be_exported_is_one_sentence(adapted, checkpoint, capsys, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for words, sentence in (
        (["--profile", "embedded", "--card"], "is no LLaVA-OneVision profile"),
        (["--profile", adapted], "Nothing is asked for"),
        (["--profile", checkpoint, "--push", "me/mine"], "has no look weights"),
        (["--profile", adapted, "--push", "no such/name at all"], "cannot be pushed to"),
    ):
        assert command(*words) == 2
        assert sentence in capsys.readouterr().err
