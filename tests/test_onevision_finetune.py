"""Both stages on a tiny LLaVA-OneVision: what is trained, kills, two processes, 4 bits, memory, refusals."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml
from peft import get_peft_model_state_dict
from PIL import Image
from safetensors.torch import load_file
from transformers import LlavaOnevisionConfig, TrainerState
from transformers.utils import logging

from assistant import load
from assistant.command import run
from assistant.errors import RecipeError
from assistant.onevision_loading import compose_onevision
from assistant.profiles import read_profile
from assistant.weights import LANGUAGE_FILE, LOOK_FILE
from data.talks import Mixed, Source
from finetune import chat, look
from finetune.checkpoint import MARKER, MarkComplete
from finetune.estimate import Estimate, chat_estimate, lora_size, refuse_what_will_not_fit, sizes
from finetune.large import TRAINED_FILE, WHOLE_FOLDER
from finetune.onevision_chat import ChatStage, Talk, TalkDataset, messages_of, prepare, read_sources
from finetune.recipe import RECIPES, ChatRecipe, LookRecipe, own_device, read_recipe
from tests.tiny_onevision import tiny_checkpoint, tiny_look

ROOT = Path(__file__).parents[1]
logging.disable_progress_bar()
pytestmark = pytest.mark.filterwarnings(
    "ignore:.is_gradient_checkpointing.:FutureWarning", "ignore:.*pin_memory.*:UserWarning"
)
QUICK = {
    "steps": 4, "batch": 2, "accumulate": 1, "rank": 4, "alpha": 8, "save_steps": 1, "workers": 0, "log_steps": 1,
    "longest": 1024, "rate": 1e-2,
}  # fmt: skip


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return tiny_checkpoint(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture
def weights(checkpoint, tmp_path):
    return tiny_look(checkpoint, tmp_path / "weights")


def picture(size: tuple[int, int], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def talks(tmp_path_factory):
    """One picture, two pictures, none."""
    folder = tmp_path_factory.mktemp("talks")
    for number in range(4):
        Image.fromarray(picture((50 + 20 * number, 50), number)).save(folder / f"{number}.png")
    rows = [
        {"image": f"{n % 4}.png", "conversations": [
            {"from": "human", "value": "<image>\nIs it bad?"}, {"from": "gpt", "value": ("Yes.", "No.")[n % 2]},
            {"from": "human", "value": "Where?"}, {"from": "gpt", "value": "Left." * (n + 1)},
        ]} for n in range(4)
    ]  # fmt: skip
    rows.append({"image": ["0.png", "1.png"], "conversations": [
        {"from": "human", "value": "<image> and <image>: same?"}, {"from": "gpt", "value": "No."},
    ]})  # fmt: skip
    rows.append({"conversations": [{"from": "human", "value": "Hello"}, {"from": "gpt", "value": "Hello you."}]})
    (folder / "talks.json").write_text(json.dumps(rows))
    return folder / "talks.json"


def recipe(folder: Path, **settings: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "recipe.yaml"
    file.write_text(yaml.safe_dump(settings))
    return file


def command(module, *words: object) -> None:
    """Runs a command of ours in this process; it must end well."""
    with pytest.raises(SystemExit) as left:
        run(module.train, [str(word) for word in words])
    assert not left.value.code


def chatting(weights: Path, talks: Path, out: Path, **settings: object) -> list[object]:
    file = recipe(out.parent / f"{out.name}-recipe", **(QUICK | settings))
    return ["--profile", weights, "--talks", talks, "--out", out, "--recipe", file]


def test_a_lora_is_trained_saved_and_loads_by_the_folders_name(weights, talks, tmp_path, capsys, short_answers):
    before = (weights / LOOK_FILE).read_bytes()
    plain = load(str(weights))
    look_before = plain.look(picture((90, 60)))
    command(chat, *chatting(weights, talks, tmp_path / "run"))
    said = capsys.readouterr().out
    assert "6 conversations a pass, 4 updates of 2" in said and "a device (frozen weights" in said
    assert (weights / LOOK_FILE).read_bytes() == before
    tuned = load(str(weights))
    look_after = tuned.look(picture((90, 60)))
    assert look_after.score == look_before.score
    ids, tokens = plain.prompt(look_before, "Where?", ())
    with torch.inference_mode():
        assert not torch.allclose(plain.model.next_logits(ids, tokens), tuned.model.next_logits(ids, tokens), atol=1e-3)
    assert (weights / LANGUAGE_FILE).is_file() and (weights / "adapter" / "adapter_model.safetensors").is_file()
    losses = [row["loss"] for row in logged(tmp_path / "run") if "loss" in row]
    assert len(losses) == 4 and losses[-1] < losses[0]
    known = json.loads((weights / "training.json").read_text())
    assert known["chat"]["sets"] == {"talks.json": {"count": 6, "licences": []}}


def test_only_what_the_method_names_is_trained(weights, checkpoint):
    profile = read_profile(str(weights))
    for method, parts in {"lora": {"lora", "projector"}, "full": {"language", "projector"}}.items():
        model = compose_onevision(profile, stage="look").model
        prepare(model, ChatRecipe(method=method, rank=4), str(checkpoint))
        names = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
        assert not any("vision_tower" in name or "look_model" in name for name in names)
        found = {
            "lora" if "lora_" in name else "projector" if "projector" in name or "newline" in name else "language"
            for name in names
        }
        assert found == parts
        if method == "lora":
            assert sum("lora_" in name for name in names) == 2 * 7 * 2  # 2 layers, 7 linear ones each, A and B
            count = sum(value.numel() for value in get_peft_model_state_dict(model.language_model).values())
            assert count == lora_size(model.llava.config, 4)
        assert all(parameter.dtype == torch.float32 for parameter in model.parameters() if parameter.requires_grad)


KILLED = """
import os, signal, sys
from assistant.command import run
from finetune import chat
from finetune.checkpoint import MarkComplete

def killed(self, args, state, control, **more):
    if state.global_step == 3:  # inside the save: its files are there, its mark is not
        os.kill(os.getpid(), signal.SIGKILL)
    return whole(self, args, state, control, **more)

whole, MarkComplete.on_save = MarkComplete.on_save, killed
run(chat.train, sys.argv[1:])
"""


@pytest.fixture
def one_thread():
    """Sums over several threads may come out in another order in another process, by the last bit."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_a_run_that_is_killed_inside_a_save_goes_on_to_the_same_bits(checkpoint, talks, tmp_path, one_thread):
    straight, broken = (tiny_look(checkpoint, tmp_path / name) for name in ("straight", "broken"))
    settings = {"dropout": 0.1, "checkpointing": True}
    command(chat, *chatting(straight, talks, tmp_path / "one", **settings))
    words = [str(word) for word in chatting(broken, talks, tmp_path / "two", **settings)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", KILLED, *words], cwd=ROOT, capture_output=True, env=environment)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()[-2000:]
    assert (tmp_path / "two" / "checkpoint-3").is_dir() and not (broken / LANGUAGE_FILE).exists()
    command(chat, *words)
    for name in ("adapter/adapter_model.safetensors", LANGUAGE_FILE):
        one, two = load_file(straight / name), load_file(broken / name)
        assert one.keys() == two.keys() and all(torch.equal(one[key], two[key]) for key in one), name


def logged(run: Path) -> list[dict]:
    (state,) = run.glob("checkpoint-4/trainer_state.json")
    return json.loads(state.read_text())["log_history"]


def test_two_processes_are_one(checkpoint, talks, tmp_path):
    """Over gloo: each sees half of a batch, words are averaged over both."""
    alone, both = (tiny_look(checkpoint, tmp_path / name) for name in ("alone", "both"))
    command(chat, *chatting(alone, talks, tmp_path / "one", rate=1e-3, save_steps=9))
    words = [str(word) for word in chatting(both, talks, tmp_path / "two", batch=1, rate=1e-3, save_steps=9)]
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]  # what accelerate starts
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, *launch, "-m", "finetune.chat", *words], cwd=ROOT, capture_output=True, text=True,
        env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("wrote") == 1 and "4 updates of 2" in done.stdout
    losses, norms = (
        [[row[key] for row in logged(tmp_path / run) if key in row] for run in ("one", "two")]
        for key in ("loss", "grad_norm")
    )
    assert np.allclose(*losses, atol=1e-5) and np.allclose(*norms, rtol=1e-4) and len(losses[0]) == 4
    for name in ("adapter/adapter_model.safetensors", LANGUAGE_FILE):
        one, two = load_file(alone / name), load_file(both / name)
        for key in one:
            assert torch.allclose(one[key], two[key], atol=1e-5), (name, key, float((one[key] - two[key]).abs().max()))


def test_a_full_training_gives_a_checkpoint_that_is_a_profile(weights, talks, tmp_path, short_answers):
    command(chat, *chatting(weights, talks, tmp_path / "run", method="full", steps=2, rate=1e-3))
    whole = load(str(tmp_path / "run" / "checkpoint"))
    seen = whole.look(picture((60, 60)))
    assert "".join(whole.ask(seen, "What is it?")) and not (weights / "adapter").exists()
    assert seen.score == pytest.approx(load(str(weights)).look(picture((60, 60))).score, abs=1e-6)


@pytest.mark.skipif(find_spec("bitsandbytes") is None, reason="bitsandbytes is optional")
def test_a_lora_on_four_bits_is_trained_on_a_cpu(talks, tmp_path, short_answers):
    checkpoint = tiny_checkpoint(tmp_path / "checkpoint", width=64)
    weights = tiny_look(checkpoint, tmp_path / "weights")
    command(chat, *chatting(weights, talks, tmp_path / "run", method="qlora", steps=2))
    small = load(str(weights), quantization="4bit")
    assert "".join(small.ask(small.look(picture((60, 60))), "What is it?"))
    tensors = load_file(weights / "adapter" / "adapter_model.safetensors")
    assert any(float(value.abs().max()) > 0 for name, value in tensors.items() if "lora_B" in name)


@pytest.mark.skipif(find_spec("tensorboard") is None, reason="tensorboard is optional")
@pytest.mark.filterwarnings("ignore")  # its own
def test_figures_go_to_tensorboard(weights, talks, tmp_path, monkeypatch):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "board"))
    command(chat, *chatting(weights, talks, tmp_path / "run", steps=2, report_to="tensorboard"))
    events = EventAccumulator(str(tmp_path / "board")).Reload()
    assert len(events.Scalars("train/loss")) == 2 and events.Scalars("train/loss")[0].value > 0


@pytest.mark.skipif(find_spec("trackio") is None, reason="trackio is optional")
def test_figures_go_to_trackio(weights, talks, tmp_path):
    """On this machine only, in a process of its own: it starts threads that outlive a training."""
    words = [str(word) for word in chatting(weights, talks, tmp_path / "run", steps=1, report_to="trackio")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TRACKIO_DIR": str(tmp_path / "kept"), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "finetune.chat", *words], cwd=ROOT, capture_output=True, text=True, env=environment,
        timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    (kept,) = (tmp_path / "kept").glob("run*.db")
    with sqlite3.connect(kept) as known:
        rows = [json.loads(row[0]) for row in known.execute("select metrics from metrics")]
    assert any(row.get("train/loss", 0) > 0 for row in rows), rows


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    """Plain folders do not train; a manifest with a mask and a label does."""
    folder = tmp_path_factory.mktemp("set")
    rows = []
    for number in range(6):
        pixels, mask = picture((70, 60), number) // 8 + 100, np.zeros((60, 70), np.uint8)
        if number % 2:
            pixels[20:35, 30:45], mask[20:35, 30:45] = 0, 255
        Image.fromarray(pixels).save(folder / f"{number}.png")
        Image.fromarray(mask).save(folder / f"m{number}.png")
        rows.append({"image": f"{number}.png", "dataset": "d", "category": "c", "label": number % 2, "fold": "train",
                     "defect": "hole" if number % 2 else "good", "mask": f"m{number}.png" if number % 2 else None,
                     "license": "CC0-1.0"})  # fmt: skip
    (folder / "manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.mark.parametrize("parts", [["selector"], ["selector", "heatmap"]])
def test_the_look_is_trained_beside_a_bare_checkpoint(checkpoint, labelled, tmp_path, parts, capsys):
    copy = shutil.copytree(checkpoint, tmp_path / "checkpoint")
    file = recipe(tmp_path / "r", steps=3, batch=2, views=1, parts=parts, size=8, fine_size=8, save_steps=2, workers=0,
                  rate=1e-3, log_steps=1)  # fmt: skip
    tower = load_file(copy / "model.safetensors")
    command(look, "--profile", copy, "--data", labelled, "--out", tmp_path / "run", "--recipe", file)
    said = capsys.readouterr().out
    assert "3 updates of 2" in said and "are free" in said
    trained = load(str(copy))
    seen = trained.look(picture((70, 60)))
    assert 0 <= seen.score <= 1 and seen.heatmap.shape == (60, 70)
    assert trained.processor.config.parts == parts and trained.calibration.source.endswith("not calibrated")
    after = load_file(copy / "model.safetensors")
    assert all(torch.equal(tower[name], after[name]) for name in tower)
    saved = load_file(copy / "looktwice" / LOOK_FILE)
    start = load_file(tmp_path / "run" / "checkpoint-2" / "trained.safetensors")
    gains = {name for name in saved if f"look.{name}" not in start}  # chosen afterwards, not trained
    assert all(name.startswith("heatmap.references.") for name in gains) and (parts == ["selector"]) == (not gains)
    moved = [name for name in saved.keys() - gains if not torch.equal(saved[name], start[f"look.{name}"])]
    assert "selector.anomalous" in moved and not any("tower" in name for name in saved)
    assert json.loads((copy / "looktwice" / "training.json").read_text())["look"]["sets"]["d"]["licences"] == [
        "CC0-1.0"
    ]


def test_recipes_that_ship_are_the_papers():
    stage1 = read_recipe(None, LookRecipe, "onevision-look.yaml")
    stage2 = read_recipe(None, ChatRecipe, "onevision-chat.yaml")
    assert (stage1.epochs, stage1.learning_rate, stage1.schedule) == (2, 1e-4, "constant")
    assert (stage2.epochs, stage2.schedule, stage2.warmup) == (1, "cosine", 0.03)
    assert ChatRecipe(method="full").learning_rate == 1e-5 and stage2.learning_rate == 2e-4
    assert [source.file.name for source in read_sources(RECIPES / "onevision-talks.yaml")] == ["conversations.json"]


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"method": "half"}, "no method 'half'"),
        ({"rank": "many"}, "setting rank .* wrong type"),
        ({"bach": 1}, "unknown setting 'bach'"),
        ({"batch": 0}, "batch is 0"),
        ({"epochs": 0}, "neither epochs nor steps"),
        ({"rate": -1}, "rate is below 0"),
        ({"longest": 4}, "holds no conversation"),
        ({"dropout": 1.5}, "out of range"),
        ({"report_to": "mail"}, "no report_to 'mail'"),
    ],
)
def test_settings_that_cannot_work_are_refused_early(tmp_path, settings, reason):
    with pytest.raises(RecipeError, match=reason):
        read_recipe(recipe(tmp_path, **settings), ChatRecipe, "")


def test_what_this_machine_cannot_do_is_refused_before_anything_is_loaded(
    weights, talks, tmp_path, monkeypatch, capsys
):
    def nothing(*_: object, **__: object) -> None:
        raise AssertionError("the model was loaded")

    monkeypatch.setattr("finetune.onevision_chat.compose_onevision", nothing)

    def refused(*words: object, module=chat) -> str:
        with pytest.raises(SystemExit) as left:
            run(module.train, [str(word) for word in words])
        assert left.value.code == 2
        return capsys.readouterr().err

    file = chatting(weights, talks, tmp_path / "a", batch=10**9)
    assert "The training will not fit: it needs about" in refused(*file) and not (tmp_path / "a").exists()
    monkeypatch.setattr("finetune.recipe.importlib.util.find_spec", lambda name: None)
    assert "tensorboard, which is not installed" in refused(
        *chatting(weights, talks, tmp_path / "b", report_to="tensorboard")
    )
    assert "trackio, which is not installed" in refused(*chatting(weights, talks, tmp_path / "b", report_to="trackio"))
    monkeypatch.setattr("assistant.onevision_loading.importlib.util.find_spec", lambda name: None)
    assert "4-bit weights need bitsandbytes" in refused(*chatting(weights, talks, tmp_path / "b", method="qlora"))
    monkeypatch.undo()
    assert "--steps is not for this profile" in refused(*chatting(weights, talks, tmp_path / "b"), "--steps", 3)
    assert "nothing to talk about" in refused("--profile", weights)
    assert "takes no 'talks.json'" in refused("--talks", talks)
    assert "takes no 'r.yaml'" in refused("--data", tmp_path, "--recipe", tmp_path / "r.yaml", module=look)
    (weights / LOOK_FILE).unlink()
    assert "no look weights" in refused(*chatting(weights, talks, tmp_path / "b"))


@pytest.mark.parametrize("kind", ["fsdp", "zero3"])
def test_four_bits_are_not_sharded(monkeypatch, kind):
    monkeypatch.setenv(f"ACCELERATE_USE_{'FSDP' if kind == 'fsdp' else 'DEEPSPEED'}", "true")
    monkeypatch.setenv("ACCELERATE_DEEPSPEED_ZERO_STAGE", "3")
    with pytest.raises(RecipeError, match="cannot be sharded"):
        ChatRecipe(method="qlora").check()


def test_weights_in_pieces_are_put_together_before_they_are_written(checkpoint, talks, tmp_path, monkeypatch):
    """Sharding itself needs GPUs. Its end does not: the gathered weights, on a model made anew, are what is written."""
    straight, pieces = (tiny_look(checkpoint, tmp_path / name) for name in ("straight", "pieces"))
    command(chat, *chatting(straight, talks, tmp_path / "one", steps=2))
    for module in ("finetune.large", "finetune.onevision_chat"):
        monkeypatch.setattr(f"{module}.in_pieces", lambda: True)
    command(chat, *chatting(pieces, talks, tmp_path / "two", steps=2))
    assert (tmp_path / "two" / WHOLE_FOLDER / TRAINED_FILE).is_file()
    for name in ("adapter/adapter_model.safetensors", LANGUAGE_FILE):
        one, two = load_file(straight / name), load_file(pieces / name)
        assert one.keys() == two.keys() and all(torch.equal(one[key], two[key]) for key in one), name


def test_four_bits_lie_on_the_gpu_of_their_process(monkeypatch):
    assert own_device() is None or torch.cuda.is_available()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert own_device() == {"": 1}


def test_the_estimate_is_that_of_the_published_sizes():
    config = LlavaOnevisionConfig(
        text_config={
            "model_type": "qwen2", "hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28,
            "num_attention_heads": 28, "num_key_value_heads": 4, "vocab_size": 152000, "tie_word_embeddings": False,
        }
    )  # fmt: skip
    count = sizes(config)
    assert 7.5e9 < count["language"] < 7.7e9 and 0.38e9 < count["tower"] < 0.45e9
    assert 6.5e9 < count["linear"] < 6.55e9  # 28 layers of 233 million
    full, lora, qlora = (
        chat_estimate(config, ChatRecipe(method=name), half=True) for name in ("full", "lora", "qlora")
    )
    assert full.trained == pytest.approx(16 * (count["language"] + count["projector"]))
    assert 14e9 < lora.weights < 17e9 and 5e9 < qlora.weights < 8e9
    assert full.total > lora.total > qlora.total
    kept = chat_estimate(config, ChatRecipe(checkpointing=False), half=True)
    assert kept.activations > 5 * lora.activations
    with pytest.raises(RecipeError, match="will not fit: it needs about .* are free. Use less"):
        refuse_what_will_not_fit(Estimate(1e15, 0, 0), "Use less.")
    assert "MiB" in refuse_what_will_not_fit(Estimate(3e6, 0, 0), "")


def test_the_loss_is_that_of_the_librarys_own_forward(weights, talks):
    """On one conversation: cross-entropy over the answers' words, from the prompt that a user's question has."""
    inspector = load(str(weights))
    stage = ChatStage(inspector, ChatRecipe(longest=4096))
    pixels = picture((90, 60), 3)
    talk = Talk("x", (pixels,), False, (("<image>\nIs it bad?", "No."), ("Where?", "Left <image> |im_end|>.")))
    batch = stage.collate([talk])
    seen = inspector.look(pixels)
    ids, _ = inspector.prompt(seen, "Is it bad?", ())
    trained, labels = stage._tokenised(talk, [seen])
    assert torch.equal(trained[: ids.shape[1]], ids[0]) and (labels[: ids.shape[1]] == -100).all()
    assert int((batch["labels"] != -100).sum()) == int((labels != -100).sum())
    with torch.inference_mode():
        loss = float(stage(**batch)["loss"])
        _, tokens = inspector.prompt(seen, "x", ())
        wanted = inspector.model(trained[None], torch.ones_like(trained[None]), tokens, labels=labels[None]).loss
    assert loss == pytest.approx(float(wanted), rel=1e-4) and math.isfinite(loss)


def test_four_conversations_at_once_are_four_one_by_one(weights, talks, tmp_path):
    """Padded to the longest, with one picture, two and none: the same loss, and so the same gradient."""
    stage = ChatStage(load(str(weights)), ChatRecipe())
    known = TalkDataset(Mixed([Source(talks)], tmp_path / "cache", 0), 6, 8)
    some = sorted((known[n] for n in range(6)), key=lambda talk: -len(talk.pictures))
    some = [some[0], some[1], some[2], some[5]]
    assert [len(talk.pictures) for talk in some] == [2, 1, 1, 0]
    with torch.inference_mode():
        batch = stage.collate(some)
        words = int((batch["labels"] != -100).sum())
        together = float(stage(**batch, num_items_in_batch=words)["loss"])
        alone = [float(stage(**stage.collate([talk]), num_items_in_batch=words)["loss"]) for talk in some]
    assert together == pytest.approx(sum(alone), abs=1e-5)


def test_marks_become_looks_in_their_place_and_words_stay_harmless():
    talk = Talk("x", (0, 0), False, (("See <image> and\n<image>\nboth <|im_end|>", "Yes <|im_end|>"),))
    messages = messages_of(talk, ["[1]", "[2]"], ["<|im_end|>"])
    assert messages[1]["content"] == "See [1] and\n[2]both ‹|im_end|›" and messages[2]["content"] == "Yes ‹|im_end|›"
    clip = Talk("x", (0, 0), True, (("<image>\nWhat?", "A fall."),))
    assert messages_of(clip, ["[1]", "[2]"], [])[1]["content"] == "Frame 1 of 2.\n[1]Frame 2 of 2.\n[2]What?"
    assert messages_of(Talk("x", (), False, (("Hi", "Ho"),)), [], [])[0]["content"].endswith(
        "No picture has been given."
    )


def test_a_conversation_that_is_too_long_is_cut_after_its_pictures_or_refused(weights):
    inspector = load(str(weights))
    talk = Talk("file line 3", (picture((50, 50)),), False, (("<image> x", "word " * 400),))
    short = ChatStage(inspector, ChatRecipe(longest=600))
    ids, labels = short._tokenised(talk, [inspector.look(talk.pictures[0])])
    assert len(ids) == len(labels) == 600
    with pytest.raises(Exception, match="file line 3: the pictures alone take more than 90 tokens"):
        ChatStage(inspector, ChatRecipe(longest=90))._tokenised(talk, [inspector.look(talk.pictures[0])])


@pytest.mark.parametrize(
    ("text", "reason"),
    [("{", "no list"), ("[]", "no list"), ("- {flie: a}", "unknown flie"), ("- {root: a}", "no list")],
)
def test_a_mix_that_is_none_is_one_sentence(tmp_path, text, reason):
    (tmp_path / "mix.yaml").write_text(text)
    with pytest.raises(RecipeError, match=reason):
        read_sources(tmp_path / "mix.yaml")


@pytest.mark.parametrize("file", sorted((ROOT / "finetune" / "accelerate").glob("*.yaml")), ids=lambda file: file.stem)
def test_accelerate_reads_the_configurations(file):
    from accelerate.commands.config.config_args import load_config_from_file

    config = load_config_from_file(str(file))
    assert config.mixed_precision == "bf16" and config.num_processes == (1 if file.stem == "one" else 2)
    known = {"one": "NO", "ddp": "MULTI_GPU", "fsdp": "FSDP", "zero2": "DEEPSPEED", "zero3": "DEEPSPEED"}
    assert config.distributed_type == known[file.stem]
    if file.stem.startswith("zero"):
        assert config.deepspeed_config["zero_stage"] == int(file.stem[-1])
    if file.stem == "fsdp":
        from transformers.models.qwen2 import modeling_qwen2

        assert config.fsdp_config["fsdp_version"] == 2  # 1 wants one dtype of frozen and trained weights
        assert hasattr(modeling_qwen2, config.fsdp_config["fsdp_transformer_layer_cls_to_wrap"])


def test_a_recipe_of_another_run_is_not_mixed_in(weights, talks, tmp_path):
    command(chat, *chatting(weights, talks, tmp_path / "run", steps=1))
    with pytest.raises(SystemExit) as left:
        run(chat.train, [str(word) for word in chatting(weights, talks, tmp_path / "run", steps=2, rank=8)])
    assert left.value.code == 2


def test_a_checkpoint_is_complete_when_every_process_has_written_its_part(tmp_path, monkeypatch):
    folder = tmp_path / "checkpoint-3"
    folder.mkdir()
    marked_before = []
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "barrier", lambda: marked_before.append((folder / MARKER).exists()))
    state, options = TrainerState(global_step=3), SimpleNamespace(output_dir=str(tmp_path))
    state.is_world_process_zero = False
    MarkComplete().on_save(options, state, None)
    assert not (folder / MARKER).exists()
    state.is_world_process_zero = True
    MarkComplete().on_save(options, state, None)
    assert (folder / MARKER).is_file() and marked_before == [False, False]
