"""A GPU that other programs use as well: how much of its memory this one may take, for weights and for work."""

from __future__ import annotations

import torch

from assistant.errors import ProfileError, WeightsError

GIB = 2**30
ROOM, MOST_ROOM = 0.3, 4 * GIB
"""Of what is allowed, what weights leave to looks and words: this share, at most so many bytes."""


def limited(share: float) -> dict[int, int]:
    """Limits this process to a share of every GPU's memory, for good; bytes that weights may take on each.

    Beyond the share the library raises an out-of-memory error instead of taking what belongs to others. The result is
    the `max_memory` of transformers' `from_pretrained`.

    Args:
        share: of each GPU's whole memory, over 0 and at most 1.

    Raises:
        ProfileError: the share is out of range, or there is no GPU.
        WeightsError: others have taken so much already that the share is not free.
    """
    if not 0 < share <= 1:
        raise ProfileError(f"A share of a GPU is over 0 and at most 1, not {share:g}.")
    if not torch.cuda.is_available():
        raise ProfileError("There is no GPU here that could be shared.", "Leave --share-gpu away.")
    limits = {}
    for number in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(number)
        allowed = int(total * share)
        if free < allowed:
            raise WeightsError(
                f"Of GPU {number} {free / GIB:.1f} GiB are free, and a share of {share:g} is {allowed / GIB:.1f} GiB.",
                "Lower --share-gpu, or end what else runs there.",
            )
        limits[number] = allowed - int(min(allowed * ROOM, MOST_ROOM))
    for number in limits:
        torch.cuda.set_per_process_memory_fraction(share, number)
    return limits
