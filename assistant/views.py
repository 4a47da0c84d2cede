"""Several views of one object: a look at each, and one look for all of them that knows which view it is about.

The 3D setting of Anomaly-OneVision (Xu et al., CVPR 2025, arXiv 2502.07601): an object as photographs, or as renders
from several sides. The most suspicious view speaks for the object; its threshold is raised, since each of n views may
raise the alarm.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from assistant.errors import MediaError
from assistant.types import Look, Media

MAX_VIEWS = 9


def as_views(pictures: Sequence[Media]) -> Media:
    """Pictures of one object as one Media of kind "views"; a single one stays what it is.

    Raises:
        MediaError: none, more than MAX_VIEWS, or a clip among them.
    """
    if not pictures:
        raise MediaError("No view was given.")
    if len(pictures) > MAX_VIEWS:
        raise MediaError(f"There are {len(pictures)} views; {MAX_VIEWS} are allowed.")
    if len(pictures) == 1:
        return pictures[0]
    for number, picture in enumerate(pictures, start=1):
        if picture.kind != "image":
            raise MediaError(f"View {number} is no picture.", "Views are single pictures.")
    notes = tuple(f"View {number}: {note}" for number, one in enumerate(pictures, start=1) for note in one.notes)
    frames = tuple(picture.frames[0] for picture in pictures)
    return Media(frames, kind="views", name=", ".join(picture.name for picture in pictures), notes=notes)


def views_of(media: Media) -> list[Media]:
    """The single pictures of a Media of `as_views`; their notes stay with the whole."""
    return [Media((frame,), name=f"view {number}") for number, frame in enumerate(media.frames, start=1)]


def one_of(looks: Sequence[Look], media: Media, raised: Callable[[float, int], float]) -> Look:
    """The look for all views: the most suspicious one's, with `views` and the number of its `view`.

    Args:
        looks: at each view, at least two.
        media: of `as_views`.
        raised: threshold of one and number of views -> threshold for the highest, `Calibration.threshold_of_most`.
    """
    number = max(range(len(looks)), key=lambda index: looks[index].evidence)
    worst = looks[number]
    shared = [note for note in worst.warnings if all(note in look.warnings for look in looks)]  # of the references
    own = [(n, note) for n, look in enumerate(looks, start=1) for note in look.warnings if note not in shared]
    return replace(
        worst,
        views=tuple(looks),
        view=number + 1,
        name=media.name,
        threshold=raised(worst.threshold, len(looks)),
        threshold_source=f"{worst.threshold_source}, for the highest of {len(looks)} views",
        warnings=(*media.notes, *shared, *(f"View {n}: {note}" for n, note in own)),
        look_s=sum(look.look_s for look in looks),
    )
