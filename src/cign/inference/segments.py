"""Merge the predictions of consecutive windows into segments of classes.

`Merger` takes one prediction at a time, so that files of any length and live input need constant
memory. This module does not import torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from cign.errors import InputError
from cign.inference.prediction import Prediction
from cign.inference.segment import Segment, SegmentRules
from cign.utils.file_text import escape_name
from cign.vocabulary import MODALITIES

_SAME_S = 1e-6  # times are sums of rounded numbers


class _Track:
    """A segment that may still grow."""

    def __init__(self, start_s: float) -> None:
        self.start_s, self.end_s = start_s, start_s
        self._num_windows, self._unknown = 0, 0.0
        # By modality: number of windows that have it, and sums of probabilities by class.
        self._counts = dict.fromkeys(MODALITIES, 0)
        self._sums: dict[str, dict[str, float]] = {name: {} for name in MODALITIES}

    def extend(self, window: Prediction, end_s: float, label: str | None) -> None:
        """Add a window; without a label the probabilities of all classes are added."""
        self.end_s = end_s
        self._num_windows += 1
        self._unknown += window.unknown or 0.0
        for name, classes in window.modalities.items():
            self._counts[name] += bool(classes)
            for one in classes:
                if label is None or one["label"] == label:
                    sums = self._sums[name]
                    sums[one["label"]] = sums.get(one["label"], 0.0) + one["probability"]

    @property
    def duration_s(self) -> float:
        return self.end_s - self.start_s

    def segment(self, file: str, label: str | None) -> Segment:
        sums = self._sums["audio_visual"]
        name = max(sums, key=sums.__getitem__) if label is None else label
        means = {
            modality: round(self._sums[modality].get(name, 0.0) / count, 6) if count else None
            for modality, count in self._counts.items()
        }
        return Segment(
            file=file,
            start_s=round(self.start_s, 3),
            end_s=round(self.end_s, 3),
            label=name,
            probability=means["audio_visual"] or 0.0,
            modalities=means,
            unknown=round(self._unknown / self._num_windows, 6),
            is_unknown=label is None,
            num_windows=self._num_windows,
        )


class Merger:
    """Merges the windows of one recording as they arrive.

    Each instant belongs to the window whose centre is nearest. A class begins in the first window
    whose probability reaches `SegmentRules.enter` and ends before the first one below
    `SegmentRules.leave`; where clips have one label, also before the first in which another class
    is more probable and reaches its own. A window that is called unknown belongs to an unknown
    segment and to no class; see `SegmentRules.smooth`.

    The predictions should list all classes (``top`` at least their number): a class that is not
    listed counts as improbable.

    Args:
        rules: When segments begin and end.
        multi_label: Whether several classes may be present at once.
    """

    def __init__(self, rules: SegmentRules | None = None, *, multi_label: bool = False) -> None:
        self.rules, self.multi_label = rules or SegmentRules(), multi_label
        self._tracks: dict[str | None, _Track] = {}  # the key None: unknown
        self._before: Prediction | None = None  # the window before the last, if they touch
        self._last: Prediction | None = None
        self._states: tuple[str | None, ...] = ()
        self._first_s = self._begin_s = 0.0
        self._file = ""

    def push(self, prediction: Prediction) -> list[Segment]:
        """Add the next window.

        Args:
            prediction: Of a window that starts later than the one before. One with an error is
                ignored. A window that starts after the end of the one before leaves a gap.

        Returns:
            The segments that no later window can change, in the order of their start.

        Raises:
            InputError: If the prediction has no times, or starts before the one before.
        """
        if prediction.error is not None:
            return []
        start_s, end_s = _times(prediction)
        closed: list[Segment] = []
        if self._last is None:
            self._first_s = self._begin_s = start_s
            self._file = prediction.file
        else:
            last_s = _times(self._last)
            if start_s <= last_s[0]:
                raise InputError(
                    "bad-value",
                    f"a window at {start_s:g} s follows one at {last_s[0]:g} s: give the windows "
                    "of one recording in the order of their start",
                )
            is_gap = start_s > last_s[1] + _SAME_S
            stop_s = last_s[1] if is_gap else (sum(last_s) + start_s + end_s) / 4
            closed = self._take(stop_s, None if is_gap else prediction)
            self._before = None if is_gap else self._last
            self._begin_s = start_s if is_gap else stop_s
        self._last = prediction
        return _in_order(closed + self._settled())

    def close(self) -> list[Segment]:
        """End the recording; the merger is then empty and can take another one.

        Returns:
            The remaining segments, in the order of their start.
        """
        closed: list[Segment] = []
        if self._last is not None:
            end_s = _times(self._last)[1]
            closed = self._take(end_s, None)
            least_s = min(self.rules.least_s, end_s - self._first_s)
            for key in list(self._tracks):
                closed += self._closed(key, least_s)
        self._before, self._last, self._states = None, None, ()
        return _in_order(closed)

    def running(self) -> list[Segment]:
        """What is known of the segments that are not closed yet, in the order of their start.

        They may still grow, be joined, or be left out because they are too short. The latest window
        is not part of them.
        """
        found = [track.segment(self._file, key) for key, track in self._tracks.items()]
        return _in_order(found)

    def _is_unknown(self, window: Prediction, after: Prediction | None) -> bool:
        """Whether a window is called unknown, if need be by its neighbours too."""
        limit = window.unknown_threshold
        if not self.rules.smooth or limit is None:
            return bool(window.is_unknown)
        near = [one.unknown or 0.0 for one in (self._before, window, after) if one is not None]
        return sum(near) / len(near) > limit

    def _decided(self, window: Prediction, after: Prediction | None) -> tuple[str | None, ...]:
        """The classes of a window; None is unknown."""
        if self._is_unknown(window, after):
            return (None,)
        rules, before, by = self.rules, self._states, window.judged_by
        found = {one["label"]: one["probability"] for one in window.modalities["audio_visual"]}
        if self.multi_label:
            return tuple(
                label
                for label, value in found.items()
                if value >= (rules.leave_of if label in before else rules.enter_of)(label, by)
            )
        best = max(found, key=found.__getitem__)
        if found[best] >= rules.enter_of(best, by):
            return (best,)
        return tuple(
            label
            for label in before
            if label is not None and found.get(label, -1.0) >= rules.leave_of(label, by)
        )

    def _take(self, end_s: float, after: Prediction | None) -> list[Segment]:
        """Add the latest window.

        Args:
            end_s: Where its part of time ends.
            after: The next window, if it touches this one.

        Returns:
            The segments that this closes.
        """
        assert self._last is not None
        closed = []
        self._states = self._decided(self._last, after)
        for key in self._states:
            track = self._tracks.get(key)
            if track is not None and not self._is_bridged(track):
                for over in self._ended_by(track):
                    closed += self._closed(over, self.rules.least_s)
                track = None
            if track is None:
                track = self._tracks[key] = _Track(self._begin_s)
            track.extend(self._last, end_s, key)
        return closed

    def _is_bridged(self, track: _Track) -> bool:
        """Whether a track goes on at the latest window; what it bridges is then left out."""
        if self._begin_s - track.end_s > self.rules.bridge_s + _SAME_S:
            return False
        if not self.multi_label:
            inside = {k: t for k, t in self._tracks.items() if t.start_s >= track.end_s}
            if any(t.duration_s >= self.rules.least_s - _SAME_S for t in inside.values()):
                return False
            for key in inside:
                del self._tracks[key]
        return True

    def _ended_by(self, track: _Track) -> list[str | None]:
        """A track that is not bridged, and those before it, which cannot be bridged either."""
        return [
            key
            for key, one in self._tracks.items()
            if one is track or (not self.multi_label and one.end_s <= track.start_s)
        ]

    def _settled(self) -> list[Segment]:
        """Close the tracks that no later window can continue."""
        latest_s = self._begin_s - self.rules.bridge_s - _SAME_S
        over = [key for key, track in self._tracks.items() if track.end_s < latest_s]
        return [segment for key in over for segment in self._closed(key, self.rules.least_s)]

    def _closed(self, key: str | None, least_s: float) -> list[Segment]:
        track = self._tracks.pop(key)
        return [track.segment(self._file, key)] if track.duration_s >= least_s - _SAME_S else []


def merge(
    predictions: Iterable[Prediction],
    rules: SegmentRules | None = None,
    *,
    multi_label: bool = False,
) -> Iterator[Segment | Prediction]:
    """Segments of the windows of any number of recordings, one after the other.

    Args:
        predictions: The windows of each recording together, in the order of their start.
        rules: See `Merger`.
        multi_label: See `Merger`.

    Yields:
        The segments of a recording, each as soon as it is closed. A prediction with an error is
        passed on, after the segments of the part that could be read.
    """
    merger, file, before_s = Merger(rules, multi_label=multi_label), None, 0.0
    for one in predictions:
        if one.error is not None:
            yield from merger.close()
            yield one
            continue
        start_s, _ = _times(one)
        if one.file != file or start_s <= before_s:
            yield from merger.close()
        file, before_s = one.file, start_s
        yield from merger.push(one)
    yield from merger.close()


def _times(window: Prediction) -> tuple[float, float]:
    if window.start_s is None or window.end_s is None:
        raise InputError(
            "bad-value",
            f"the prediction of {escape_name(window.file)} has no times: segments need the "
            "windows of a recording",
        )
    return window.start_s, window.end_s


def _in_order(segments: list[Segment]) -> list[Segment]:
    return sorted(segments, key=lambda one: (one.start_s, one.end_s, one.label))
