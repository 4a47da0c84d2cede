"""The mean of look weights: by hand, in the files' own type, and only of weights that belong together."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file

from assistant.errors import WeightsError
from finetune.average import average, main


def test_the_mean_keeps_names_and_types():
    parts = [{"a": torch.tensor([1.0, value]), "b": torch.tensor(value, dtype=torch.bfloat16)} for value in (0.0, 3.0)]
    mean = average(parts)
    assert torch.equal(mean["a"], torch.tensor([1.0, 1.5]))
    assert mean["b"] == 1.5 and mean["b"].dtype == torch.bfloat16


@pytest.mark.parametrize("other", [{"a": torch.zeros(3)}, {"b": torch.zeros(2)}, {}])
def test_other_weights_are_refused_by_name(other):
    with pytest.raises(WeightsError, match=r"do not belong together: [ab] differs"):
        average([{"a": torch.zeros(2)}, other])


def test_a_broken_file_is_one_sentence(tmp_path):
    save_file({"a": torch.zeros(2)}, tmp_path / "a.safetensors")
    (tmp_path / "b.safetensors").write_bytes(b"no weights")
    with pytest.raises(WeightsError, match="b.safetensors is damaged"):
        main([tmp_path / "a.safetensors", tmp_path / "b.safetensors"])
    with pytest.raises(WeightsError, match="two files"):
        main([tmp_path / "a.safetensors"])
