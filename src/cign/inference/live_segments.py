"""Segments of live sources, as soon as they end. This module does not import torch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from cign.inference.prediction import Prediction
from cign.inference.segment import Segment, SegmentRules
from cign.inference.segments import Merger


def merge_live(
    predictions: Iterable[Prediction], rules: SegmentRules, *, multi_label: bool
) -> Iterator[Segment | Prediction]:
    """Merge the windows of several sources that arrive in turns.

    Args:
        predictions: All windows of each source in the order of time.
        rules: When segments begin and end.
        multi_label: Whether several classes may be present at once.

    Yields:
        Segments of each source in the order of time. A prediction with an error ends its source
        and is passed on, after the segment that was still open. When the predictions end or are
        interrupted, the open segments of all sources.
    """
    mergers: dict[str, Merger] = {}
    try:
        for one in predictions:
            if one.error is not None:
                if one.file in mergers:
                    yield from mergers.pop(one.file).close()
                yield one
                continue
            merger = mergers.get(one.file)
            if merger is None:
                merger = mergers[one.file] = Merger(rules, multi_label=multi_label)
            yield from merger.push(one)
    except KeyboardInterrupt:
        for merger in mergers.values():
            yield from merger.close()
        raise
    for merger in mergers.values():
        yield from merger.close()
