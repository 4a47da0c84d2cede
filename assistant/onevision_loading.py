"""A LLaVA-OneVision checkpoint and our parts put together: from a folder or the hub, whole or in 4 bits."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from huggingface_hub import hf_hub_download, snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, RepositoryNotFoundError
from safetensors import SafetensorError
from transformers import (
    AutoImageProcessor,
    AutoTokenizer,
    BitsAndBytesConfig,
    LlavaOnevisionConfig,
    LlavaOnevisionForConditionalGeneration,
)

from assistant.calibration import Calibration
from assistant.clip_gains import ClipGains
from assistant.errors import WeightsError
from assistant.familiar import Familiar
from assistant.gpu_share import limited
from assistant.onevision import OneVision
from assistant.onevision_config import OneVisionConfig, config_for
from assistant.onevision_processing import OneVisionProcessor
from assistant.packaged import dtype_of
from assistant.profiles import Profile
from assistant.weights import (
    ADAPTER_FOLDER,
    CALIBRATION_FILE,
    FAMILIAR_FILE,
    LANGUAGE_FILE,
    LOOK_FILE,
    LOOK_PARTS,
    load_parts,
    read_config,
    with_adapter,
)

Quantization = Literal["4bit"]
PROJECTOR_PARTS = ("multi_modal_projector.", "image_newline")
"""Of the checkpoint, what stage 2 trains beside the adapter."""
KEPT_WHOLE = ["model.vision_tower", "model.multi_modal_projector", "lm_head"]
"""Modules that stay as they are in 4 bits."""
TOO_LARGE = "Use --quantization 4bit, a smaller profile, or a larger share of the GPU."
FILES = ("*.json", "*.safetensors", "*.txt", "*.jinja")
"""What is fetched of a hub repository: tensors and texts, never pickles or code."""
_HUB = (OSError, ValueError, HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, RepositoryNotFoundError)


@dataclass(frozen=True, eq=False)
class OneVisionLoaded:
    """The model in evaluation mode, its processor and its calibration; `familiar` where it has been measured."""

    model: OneVision
    processor: OneVisionProcessor
    calibration: Calibration
    familiar: Familiar | None = None
    clip_gains: ClipGains = ClipGains()


def local_folder(name: str | Path, what: str) -> Path:
    """The folder of that name, or of a hub repository, fetched once.

    Raises:
        WeightsError: neither is there.
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder
    try:
        return Path(snapshot_download(str(name), allow_patterns=list(FILES)))
    except _HUB as error:
        raise WeightsError(
            f"The {what} {str(name)!r} is no folder and cannot be fetched from the hub ({type(error).__name__}).",
            "Check the name and the connection.",
        ) from None


def checkpoint_config(name: str | Path) -> LlavaOnevisionConfig:
    """The configuration of a LLaVA-OneVision folder or hub repository; nothing else is fetched.

    Raises:
        WeightsError: neither is there, or it is the configuration of another model.
    """
    folder = Path(name).expanduser()
    try:
        file = folder / "config.json" if folder.is_dir() else Path(hf_hub_download(str(name), "config.json"))
        values = json.loads(file.read_text(encoding="utf-8"))
        if values.get("model_type") != LlavaOnevisionConfig.model_type:
            raise WeightsError(f"The checkpoint {folder.name} is a {values.get('model_type')!r}, not LLaVA-OneVision.")
        return LlavaOnevisionConfig(**values)
    except (*_HUB, TypeError, AttributeError) as error:
        raise WeightsError(
            f"The configuration of the checkpoint {str(name)!r} cannot be read or fetched ({type(error).__name__}).",
            "Check the name and the connection.",
        ) from None


def quantized(quantization: Quantization | None, dtype: torch.dtype) -> dict[str, Any]:
    """Arguments of `from_pretrained` for a quantization: NF4 with double quantization (QLoRA, arXiv 2305.14314).

    Raises:
        WeightsError: another word than "4bit", or bitsandbytes is missing or cannot run here.
    """
    if quantization is None:
        return {}
    if quantization != "4bit":
        raise WeightsError(f"There is no quantization {quantization!r}.", 'There is "4bit".')
    if importlib.util.find_spec("bitsandbytes") is None:
        raise WeightsError("4-bit weights need bitsandbytes.", "Install it: pip install bitsandbytes")
    from bitsandbytes.functional import dequantize_4bit, quantize_4bit  # heavy, and only for this

    device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        dequantize_4bit(*quantize_4bit(torch.ones(64, 64, device=device), quant_type="nf4"))
    except (RuntimeError, NotImplementedError, ValueError, OSError) as error:
        raise WeightsError(f"bitsandbytes has no 4-bit weights on this {device} ({error}).") from None
    config = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=dtype,
        llm_int8_skip_modules=KEPT_WHOLE,
    )  # fmt: skip
    return {"quantization_config": config}


def compose_onevision(
    profile: Profile,
    *,
    stage: str = "all",
    quantization: Quantization | None = None,
    device_map: str | dict[str, Any] | None = None,
    adapter: str | Path | None = None,
    share_gpu: float | None = None,
    config: OneVisionConfig | None = None,
) -> OneVisionLoaded:
    """The model of a OneVision profile.

    Args:
        profile: its `checkpoint` names the published weights, its `weights` our folder, where there is one.
        stage: "all" wants trained look weights, "look" wants them too and leaves projector and language model as they
            are published, "new" begins with an untrained look.
        quantization: "4bit" for the language model in NF4.
        device_map: as transformers takes it, "auto" for whatever there is.
        adapter: our weights folder or hub repository in place of the profile's.
        share_gpu: most of each GPU's memory that this process may take, 0..1; see `gpu_share.limited`.
        config: of a new look, None for one of the paper's sizes.

    Raises:
        ProfileError: there is no GPU to share.
        WeightsError: something is missing, damaged or of another shape, 4 bits cannot run here, or it does not fit.
    """
    dtype = dtype_of(profile.dtype)
    asked = quantized(quantization, dtype)  # before anything is fetched
    if share_gpu is not None:
        asked, device_map = asked | {"max_memory": limited(share_gpu)}, device_map or "auto"
    weights = local_folder(adapter, "adapter") if adapter is not None else profile.weights
    if stage != "new" and not (weights / LOOK_FILE).is_file():
        raise WeightsError(
            f"The profile {profile.name} has no look weights in {weights.name}.",
            "Name a folder or repository that has them as adapter; none is shipped.",
        )
    checkpoint = local_folder(profile.checkpoint, "checkpoint")
    llava, tokenizer, images = read_checkpoint(checkpoint, dtype, device_map, asked)
    known = stage != "new"
    if known:
        config = read_config(weights, OneVisionConfig)
    config = config or config_for(llava.config, base=profile.checkpoint)
    model = OneVision(config, llava)
    if known:
        load_parts(model.look_model, LOOK_PARTS, weights / LOOK_FILE)
    if stage == "all":
        load_language(model, weights)
    calibration, familiar = Calibration(), None
    if known and (weights / CALIBRATION_FILE).is_file():
        calibration = Calibration.load(weights / CALIBRATION_FILE)
    if known and (weights / FAMILIAR_FILE).is_file():
        familiar = Familiar.load(weights / FAMILIAR_FILE, config.vision_config.token_size)
    processor = OneVisionProcessor(tokenizer, images, config, llava.config)
    return OneVisionLoaded(model.eval().requires_grad_(False), processor, calibration, familiar)


def read_checkpoint(
    folder: Path, dtype: torch.dtype, device_map: str | dict[str, Any] | None, asked: dict[str, Any]
) -> tuple[LlavaOnevisionForConditionalGeneration, Any, Any]:
    """(model, tokenizer, image processor) of a LLaVA-OneVision folder; safetensors only.

    Raises:
        WeightsError: another model, files that are missing or damaged, or more than the GPUs can hold.
    """
    hint = TOO_LARGE if device_map is not None else ""
    try:
        kind = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("model_type")
        if kind != LlavaOnevisionConfig.model_type:
            raise WeightsError(f"The checkpoint {folder.name} is a {kind!r}, not LLaVA-OneVision.")
        llava, info = LlavaOnevisionForConditionalGeneration.from_pretrained(
            folder, dtype=dtype, device_map=device_map, use_safetensors=True, local_files_only=True,
            output_loading_info=True, **asked,
        )  # fmt: skip
        if info["missing_keys"]:  # the library would begin with random ones
            raise WeightsError(f"The checkpoint {folder.name} has no tensor {min(info['missing_keys'])}.")
        places = {str(place) for place in (getattr(llava, "hf_device_map", None) or {}).values()}
        # weights that come and go: a look has no device to be on
        if "disk" in places or (len(places) > 1 and "cpu" in places):
            raise WeightsError(f"The checkpoint {folder.name} does not fit on the GPUs it was given.", TOO_LARGE)
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        return llava, tokenizer, AutoImageProcessor.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, RuntimeError, KeyError, AttributeError, SafetensorError) as error:
        first = str(error).strip().splitlines()[:1] or [type(error).__name__]
        raise WeightsError(f"The checkpoint {folder.name} cannot be loaded ({first[0]}).", hint) from None


def load_language(model: OneVision, weights: Path) -> None:
    """Projector and adapter of a weights folder onto the checkpoint, where the folder has them."""
    if (weights / LANGUAGE_FILE).is_file():
        load_parts(model.llava.model, PROJECTOR_PARTS, weights / LANGUAGE_FILE)
    if (weights / ADAPTER_FOLDER / "adapter_config.json").is_file():
        model.language_model = with_adapter(model.llava, weights / ADAPTER_FOLDER)
