"""A trained OneVision profile as one folder: the checkpoint with projector and adapter merged in, our parts beside it.

    python -m assistant.export --profile onevision-7b --merge OUT
    python -m assistant.export --profile onevision-7b --push USER/NAME

The merged folder is a LLaVA-OneVision checkpoint like any other, so vLLM and `transformers serve` take it; ours lies
in its `looktwice` folder, and the whole is a profile by its path.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import torch
import typer
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalTokenNotFoundError
from peft import PeftModel

from assistant.command import run
from assistant.errors import ProfileError, WeightsError
from assistant.onevision_loading import OneVisionLoaded, checkpoint_config, compose_onevision, local_folder
from assistant.profiles import Profile, read_profile
from assistant.weight_card import CARD, TRAINING_FILE, write_card
from assistant.weights import ADAPTER_FOLDER, CALIBRATION_FILE, FAMILIAR_FILE, LANGUAGE_FILE, LOOK_FILE

OURS = "looktwice"
"""Folder of our parts in a merged checkpoint; see `profiles.read_profile`."""
PARTS = (LOOK_FILE, CALIBRATION_FILE, FAMILIAR_FILE, TRAINING_FILE, "config.json", CARD)
"""Files of a weights folder that stay ours when the rest is merged."""


def write_merged(loaded: OneVisionLoaded, weights: Path, out: Path) -> Path:
    """Writes checkpoint, tokenizer and image processor to `out`, and our parts to `out`/looktwice.

    Args:
        loaded: a model that is not in 4 bits; an adapter on it is merged into it, for good.
        weights: folder of our parts.
        out: new folder; it is there whole or not at all.

    Raises:
        WeightsError: `out` holds something, or the model is in 4 bits.
    """
    llava = loaded.model.llava
    if getattr(llava, "is_quantized", False):
        raise WeightsError("Weights in 4 bits cannot be merged without loss.", "Export without quantization.")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise WeightsError(f"The folder '{out.name}' is not empty.", "Name a new one.")
    if isinstance(loaded.model.language_model, PeftModel):
        llava = loaded.model.language_model.merge_and_unload()
        loaded.model.language_model = llava
    aside = out.with_name(f"{out.name}.partial")
    shutil.rmtree(aside, ignore_errors=True)
    llava.save_pretrained(aside)
    loaded.processor.tokenizer.save_pretrained(aside)
    loaded.processor.images.save_pretrained(aside)
    (aside / OURS).mkdir()
    for name in PARTS:
        if (weights / name).is_file():
            shutil.copyfile(weights / name, aside / OURS / name)
    if out.is_dir():
        out.rmdir()
    aside.replace(out)
    return out


def push(profile: Profile, weights: Path, repository: str, *, private: bool = True) -> str:
    """Uploads our weights folder with a generated card to a hub repository; returns its address.

    Only our own files go: look, calibration, projector, adapter, configuration and card; no data and no checkpoint.

    Raises:
        WeightsError: there is nothing to upload, no login, or the hub refuses.
    """
    if not (weights / LOOK_FILE).is_file():
        raise WeightsError(f"The folder {weights.name} has no look weights.", "Train or import them first.")
    write_card(profile, weights)
    api = HfApi()
    try:
        address = api.create_repo(repository, private=private, exist_ok=True)
        wanted = [*PARTS, LANGUAGE_FILE, f"{ADAPTER_FOLDER}/*.json", f"{ADAPTER_FOLDER}/*.safetensors"]
        api.upload_folder(
            repo_id=repository, folder_path=weights, allow_patterns=wanted, commit_message="LookTwice weights"
        )
    except (HfHubHTTPError, HFValidationError, LocalTokenNotFoundError, OSError, ValueError) as error:
        raise WeightsError(
            f"The weights cannot be pushed to {repository!r} ({type(error).__name__}).",
            "Log in with `hf auth login`, and check name and connection.",
        ) from None
    return str(address)


def main(
    profile: Annotated[str, typer.Option(help="A OneVision profile, or a folder with weights for one.")],
    adapter: Annotated[str | None, typer.Option(help="Our weights, in place of the profile's.")] = None,
    merge: Annotated[Path | None, typer.Option(help="New folder for the merged checkpoint.")] = None,
    card: Annotated[bool, typer.Option("--card", help="Write the model card into the weights folder.")] = False,
    push_to: Annotated[str | None, typer.Option("--push", help="Hub repository, USER/NAME, for our weights.")] = None,
    public: Annotated[bool, typer.Option("--public", help="Of --push: for everybody to see.")] = False,
) -> None:
    """Merge, describe or publish the weights of a OneVision profile."""
    chosen = read_profile(profile)
    if not chosen.checkpoint:
        raise ProfileError(f"The profile {chosen.name} is no LLaVA-OneVision profile.")
    if merge is None and not card and push_to is None:
        raise ProfileError("Nothing is asked for.", "Say --merge, --card or --push.")
    weights = local_folder(adapter, "adapter") if adapter is not None else chosen.weights
    if card:
        typer.echo(f"wrote {write_card(chosen, weights)}")
    if merge is not None:
        write_card(chosen, weights)
        own = checkpoint_config(chosen.checkpoint).dtype  # merged at the precision it is kept in, rounded once
        dtype = str(own or torch.float32).removeprefix("torch.")
        loaded = compose_onevision(replace(chosen, dtype=dtype), adapter=weights)
        typer.echo(f"wrote {write_merged(loaded, weights, merge)}")
    if push_to is not None:
        typer.echo(f"pushed to {push(chosen, weights, push_to, private=not public)}")


if __name__ == "__main__":
    run(main)
