"""What several test modules share: the real model, loaded once, and one drawn defect."""

from __future__ import annotations

import importlib
import sys
import types
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

if TYPE_CHECKING:
    from assistant.inspector import Inspector


@pytest.fixture(scope="session", autouse=True)
def own_data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A data folder of the tests' own: what the user has corrected and trained is neither used nor touched."""
    folder = tmp_path_factory.mktemp("data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LOOKTWICE_DATA", str(folder))
        yield folder


@pytest.fixture(scope="session")
def inspector() -> Inspector:
    """The embedded profile; tests that need it are skipped where its weight packages are not installed."""
    from assistant import load
    from assistant.errors import ProfileError

    try:
        return load("embedded")
    except ProfileError as error:
        pytest.skip(str(error))


@pytest.fixture
def short_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers end after a few words: tests of what surrounds them need no more."""
    monkeypatch.setattr("assistant.inspector.MAX_WORDS", 12)


@pytest.fixture(scope="session")
def cracked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A PNG of a brick wall, 512 x 512, with a drawn crack."""
    from data.photos import photograph
    from data.synth import draw_defect

    drawn = draw_defect(photograph("brick.png"), np.random.default_rng(3), "crack", strength=1.0, count=1)
    file = tmp_path_factory.mktemp("pictures") / "wall.png"
    Image.fromarray(drawn.image).save(file)
    return file


@pytest.fixture(scope="session")
def broken(tmp_path_factory: pytest.TempPathFactory, cracked: Path) -> Path:
    """A PNG whose second half is missing."""
    file = tmp_path_factory.mktemp("broken") / "half.png"
    data = cracked.read_bytes()
    file.write_bytes(data[: len(data) // 2])
    return file


@pytest.fixture(scope="module")
def anomalib():
    """anomalib's own metrics and models, without the trainers and data modules that its packages pull in."""
    spec = importlib.util.find_spec("anomalib")
    if spec is None:
        pytest.skip("anomalib is not installed: pip install --no-deps -r requirements-eval.txt")
    root = Path(spec.submodule_search_locations[0])
    before = dict(sys.modules)

    def package(name, path, **names):
        module = types.ModuleType(name)
        module.__path__ = [str(path)]
        vars(module).update(names)
        sys.modules[name] = module

    package("anomalib", root)
    package("anomalib.metrics", root / "metrics")
    package("anomalib.metrics.base", root / "none", AnomalibMetric=type("AnomalibMetric", (), {}))
    package("anomalib.metrics.pimo", root / "metrics" / "pimo")
    package("anomalib.utils", root / "utils", deprecate=lambda **_: lambda function: function)
    package("anomalib.data", root / "none", InferenceBatch=None)
    package("anomalib.models", root / "models")
    package("anomalib.models.image", root / "models" / "image")
    for name in ("patchcore", "padim"):
        package(f"anomalib.models.image.{name}", root / "models" / "image" / name)
    nothing = type("Nothing", (), {})  # what their models have besides the mathematics: towers, tiling, buffers
    names = ("DynamicBufferMixin", "KCenterGreedy", "TimmFeatureExtractor", "GaussianBlur2d")
    package("anomalib.models.components", root / "models" / "components", **dict.fromkeys(names, nothing))
    package("anomalib.models.components.base", root / "none", DynamicBufferMixin=nothing)
    package("anomalib.models.components.stats", root / "models" / "components" / "stats")
    package("kornia", root / "none")
    package("kornia.contrib", root / "none", connected_components=None)  # their GPU path, not used here
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        modules = types.SimpleNamespace(
            AUPRO=importlib.import_module("anomalib.metrics.aupro")._AUPRO,
            pimo=importlib.import_module("anomalib.metrics.pimo.functional"),
            PatchcoreModel=importlib.import_module("anomalib.models.image.patchcore.torch_model").PatchcoreModel,
            PadimMap=importlib.import_module("anomalib.models.image.padim.anomaly_map").AnomalyMapGenerator,
            Gaussian=importlib.import_module(
                "anomalib.models.components.stats.multi_variate_gaussian"
            ).MultiVariateGaussian,
        )
    yield modules
    for name in set(sys.modules) - set(before):
        if name.split(".")[0] in ("anomalib", "kornia"):
            del sys.modules[name]
    sys.modules.update({name: before[name] for name in before if name.split(".")[0] in ("anomalib", "kornia")})
