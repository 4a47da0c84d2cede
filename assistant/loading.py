"""A profile's parts put together: packaged tower and language model, our own weights, calibration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from transformers.utils import logging as transformers_logging

from assistant.calibration import Calibration
from assistant.clip_gains import CLIPS_FILE, ClipGains
from assistant.configuration import LookTwiceConfig
from assistant.errors import ProfileError
from assistant.familiar import Familiar
from assistant.modeling import LookTwiceForConditionalGeneration
from assistant.packaged import dtype_of, fill_tower, language_model
from assistant.processing import LookTwiceProcessor
from assistant.profiles import Profile
from assistant.weights import (
    ADAPTER_FOLDER,
    CALIBRATION_FILE,
    FAMILIAR_FILE,
    LANGUAGE_FILE,
    LANGUAGE_PARTS,
    LOOK_FILE,
    LOOK_PARTS,
    load_parts,
    read_config,
    with_adapter,
)

if TYPE_CHECKING:
    from assistant.onevision_loading import OneVisionLoaded


@dataclass(frozen=True, eq=False)
class Loaded:
    """What a profile gives: the model in evaluation mode, its processor and its calibration.

    `familiar` is None where it has not been measured what the known pictures look like.
    """

    model: LookTwiceForConditionalGeneration
    processor: LookTwiceProcessor
    calibration: Calibration
    familiar: Familiar | None = None
    clip_gains: ClipGains = ClipGains()


def compose(profile: Profile, *, stage: str = "all", **options: Any) -> Loaded | OneVisionLoaded:
    """The model of a profile.

    Args:
        profile: where the parts are.
        options: of a OneVision profile, see `onevision_loading.compose_onevision`; it lies on the GPU, where there is
            one, unless `device_map` says otherwise.
        stage: "all" for a trained model; "look" leaves the parts around the language model untrained and without
            adapter and takes the default calibration where none is stored: what the language stage starts from.

    Raises:
        ProfileError: a package is missing.
        WeightsError: a part is missing, damaged or of another shape.
    """
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    if profile.checkpoint:
        from assistant.onevision_loading import compose_onevision  # its classes cost a second that others need not wait

        place = {"device_map": "auto"} if torch.cuda.is_available() else {}
        return compose_onevision(profile, stage=stage, **(place | options))
    if any(value is not None for value in options.values()):
        raise ProfileError(f"The profile {profile.name} takes no {' or '.join(options)}.", "OneVision profiles do.")
    config = read_config(profile.weights, LookTwiceConfig)
    text, tokenizer = language_model(profile.language_package, dtype_of(profile.dtype))
    model = LookTwiceForConditionalGeneration(config, language_model=text)
    fill_tower(model.look_model.tower.backbone, config.vision_config.backbone, profile.tower_package)
    model.look_model.tower.fold()
    load_parts(model.look_model, LOOK_PARTS, profile.weights / LOOK_FILE)
    if stage == "all":
        load_parts(model, LANGUAGE_PARTS, profile.weights / LANGUAGE_FILE)
        model.language_model = with_adapter(text, profile.weights / ADAPTER_FOLDER)
    else:
        with torch.no_grad():
            model.embedding_scale.copy_(text.get_input_embeddings().weight.float().std())
    calibration_file = profile.weights / CALIBRATION_FILE
    if stage != "all" and not calibration_file.is_file():
        calibration = Calibration()
    else:
        calibration = Calibration.load(calibration_file)
    familiar_file = profile.weights / FAMILIAR_FILE
    familiar = Familiar.load(familiar_file, config.vision_config.token_size) if familiar_file.is_file() else None
    model.eval().requires_grad_(False)
    gains = ClipGains.load(profile.weights / CLIPS_FILE)
    return Loaded(model, LookTwiceProcessor(tokenizer, config), calibration, familiar, gains)
