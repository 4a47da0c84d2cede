"""Who imports whom, held by reading the sources: the shape of the house."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAYERS = [
    {"errors", "types", "cache", "command"},
    {
        "media", "regions", "picture", "render", "prompts", "configuration", "calibration", "profiles", "weights",
        "entries", "fusion", "threshold", "familiar", "clip_decoder", "gauge", "suggest",
        "exchange", "clip_plan", "clip_gains", "spans", "motion", "alignment", "clip_words", "views", "tiling",
        "versions", "corrections", "answer", "chart", "clip_answer", "worded", "asked", "in_place", "mirrors",
        "knowledge",
    },
    {"clip_reader", "sources", "clip_preview"},
    {"own_residual"},
    {"reference", "mutual", "batch_store", "memory_file"},
    {"reference_gain", "operating_point", "registration"},
    {"vision", "look_twice", "heatmap", "kinds", "anyres", "onevision_config", "gpu_share"},
    {"usual"},
    {"siglip"},
    {"expert"},
    {"look_model", "processing", "packaged"},
    {"modeling"},
    {"onevision", "onevision_processing"},
    {"onevision_loading"},
    {"loading", "runtime", "memory", "tiles", "import_expert"},
    {"clip_look", "clip_evidence", "verdict"},
    {"inspector", "weight_card", "export"},
    {"session"},
    {"desk", "batch"},
    {"batch_report", "scale"},
    {"report", "report_data", "report_pdf", "batch_command"},
]  # fmt: skip
"""Modules of `assistant`, lowest first; a module imports from its own layer or from those below."""
LEAVES = {
    "errors",
    "types",
    "cache",
    "command",
    "media",
    "regions",
    "picture",
    "prompts",
    "corrections",
    "clip_words",
    "knowledge",
}
"""What `data` may import of `assistant`: no torch in there."""


def imported(file: Path) -> set[str]:
    """Dotted names a file imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def sources(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def tops(file: Path) -> set[str]:
    return {name.split(".")[0] for name in imported(file)}


def layer_of(module: str) -> int | None:
    return next((number for number, names in enumerate(LAYERS) if module in names), None)


def test_every_module_of_the_assistant_has_a_layer():
    names = {file.stem for file in (ROOT / "assistant").glob("*.py")} - {"__init__", "__main__"}
    assert names | {"profiles"} == set().union(*LAYERS)


@pytest.mark.parametrize(
    "file", [file for file in (ROOT / "assistant").glob("*.py") if layer_of(file.stem) is not None]
)
def test_the_assistant_imports_downwards(file):
    for name in imported(file):
        parts = name.split(".")
        if parts[0] == "assistant" and len(parts) > 1 and (layer := layer_of(parts[1])) is not None:
            assert layer <= layer_of(file.stem), f"{file.stem} imports {parts[1]}"


@pytest.mark.parametrize("file", sources("assistant"), ids=lambda file: file.stem)
def test_the_assistant_knows_no_page_trainer_or_dataset(file):
    assert not tops(file) & {"gradio", "datasets", "accelerate", "app", "data", "finetune", "eval", "tests"}
    assert not {name for name in imported(file) if name in ("transformers.Trainer", "transformers.TrainingArguments")}


@pytest.mark.parametrize("file", sources("data"), ids=lambda file: file.stem)
def test_data_imports_leaves_of_the_assistant_only(file):
    assert not tops(file) & {"torch", "transformers", "app", "finetune", "eval"}
    used = {name.split(".")[1] for name in imported(file) if name.startswith("assistant.")}
    assert used <= LEAVES, used - LEAVES


@pytest.mark.parametrize("file", sources("finetune") + sources("eval"), ids=lambda file: file.stem)
def test_training_and_evaluation_import_no_page_and_not_each_other(file):
    other = "eval" if file.parent.name == "finetune" else "finetune"
    assert not tops(file) & {"app", "gradio", other}


def test_the_page_imports_no_torch_itself():
    assert not tops(ROOT / "app.py") & {"torch", "transformers", "peft", "timm"}


@pytest.mark.parametrize("module", ["assistant", "assistant.types", "assistant.media", "eval.score"])
def test_light_modules_load_no_torch(module):
    code = f"import {module}, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_nothing_unpickles_and_no_path_of_a_machine_is_written_down():
    for folder in ("assistant", "data", "finetune", "eval"):
        for file in sources(folder):
            text = file.read_text(encoding="utf-8")
            assert "import pickle" not in text and "weights_only=False" not in text and "trust_remote_code" not in text
            assert text.count("torch.load(") == text.count("weights_only=True")
            assert "/home/" not in text and "/root/" not in text
            assert len(text.splitlines()) <= 400
