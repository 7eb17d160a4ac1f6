"""`Merger`: windows in, segments out; checked against a direct implementation on whole arrays."""

import itertools
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cign.errors import InputError
from cign.inference.live_segments import merge_live
from cign.inference.prediction import Prediction
from cign.inference.segment import SegmentRules
from cign.inference.segments import Merger, merge
from segments.windows import push_all, window


def spans(segments):
    return [(one.start_s, one.end_s, None if one.is_unknown else one.label) for one in segments]


def single(windows, **rules):
    return spans(push_all(Merger(SegmentRules(**rules)), windows))


def of(values, label="a", other="b"):
    """Windows every second; 2 s long, so that each has the second around its centre."""
    return [window(float(t), {label: v, other: 1 - v}) for t, v in enumerate(values)]


def test_boundaries_are_midway_between_the_centres_of_windows():
    assert single(of([0.9, 0.9, 0.1, 0.1])) == [(0, 2.5, "a"), (2.5, 5, "b")]


def test_a_class_begins_at_enter_and_ends_below_leave():
    values = [0.2, 0.45, 0.5, 0.35, 0.3, 0.29, 0.45]
    windows = [window(float(t), {"a": v, "b": 0.1}) for t, v in enumerate(values)]
    assert single(windows) == [(2.5, 5.5, "a")]
    assert single(windows, enter=0.4, leave=0.4) == [(1.5, 3.5, "a"), (6.5, 8, "a")]


def test_another_class_ends_a_segment_although_its_own_probability_is_above_leave():
    assert single(of([0.9, 0.4, 0.4])) == [(0, 1.5, "a"), (1.5, 4, "b")]


def test_a_class_has_its_own_limits():
    windows = of([0.9, 0.7, 0.45, 0.9])
    rules = {"limits": {"audio_visual": {"a": 0.8, "b": 0.9}}}  # a ends below 0.48
    assert single(windows, **rules) == [(0, 2.5, "a"), (3.5, 5, "a")]


def test_limits_are_those_of_the_modality_that_decides():
    """As for single predictions: of a recording without audio, those of the visual prediction."""
    least = {"audio_visual": 0.95, "visual": 0.8, "audio": 0.7}
    limits = {modality: {"a": value, "b": 0.99} for modality, value in least.items()}
    for missing, expected in (
        ([], []),
        (["audio"], [(0, 1.5, "a")]),
        (["visual"], [(0, 2.5, "a")]),
    ):
        windows = of([0.9, 0.45, 0.3, 0.3])
        for one in windows:
            one.missing = missing
        found = [span for span in single(windows, limits=limits) if span[2] == "a"]
        assert found == expected, missing


def test_short_segments_are_left_out_and_gaps_bridged():
    windows = of([0.9, 0.9, 0.1, 0.9, 0.9, 0.1, 0.1, 0.1])
    assert single(windows, least_s=1.5, bridge_s=1) == [(0, 5.5, "a"), (5.5, 9, "b")]
    assert single(windows, least_s=1.5) == [(0, 2.5, "a"), (3.5, 5.5, "a"), (5.5, 9, "b")]


def test_a_gap_with_a_long_enough_segment_is_not_bridged():
    windows = of([0.9, 0.9, 0.1, 0.9, 0.9])
    whole = [(0, 2.5, "a"), (2.5, 3.5, "b"), (3.5, 6, "a")]
    assert single(windows, least_s=1, bridge_s=1) == whole
    assert single(windows, least_s=1.1, bridge_s=1) == [(0, 6, "a")]


def test_unknown_windows_are_a_segment_with_the_most_probable_class():
    windows = of([0.9, 0.9, 0.6, 0.7, 0.9])
    for one in windows[2:4]:
        one.is_unknown, one.unknown = True, 0.8
    found = push_all(Merger(), windows)
    assert spans(found) == [(0, 2.5, "a"), (2.5, 4.5, None), (4.5, 6, "a")]
    unknown = found[1]
    assert (unknown.label, unknown.probability, unknown.unknown) == ("a", 0.65, 0.8)
    assert unknown.num_windows == 2
    assert single(windows, least_s=2.1, bridge_s=2) == [(0, 6, "a")]


def test_a_single_window_is_not_called_unknown_by_the_mean_with_its_neighbours():
    windows = of([0.9] * 9)
    scores = [0.1, 0.9, 0.1, 0.1, 0.75, 0.9, 0.75, 0.1, 0.1]
    for one, score in zip(windows, scores, strict=True):
        one.unknown, one.unknown_threshold, one.is_unknown = score, 0.6, score > 0.6
    assert single(windows)[1] == (1.5, 2.5, None)
    # The means are 0.5, 0.37, 0.37, 0.32, 0.58, 0.8, 0.58, 0.32, 0.1.
    assert single(windows, smooth=True) == [(0, 5.5, "a"), (5.5, 6.5, None), (6.5, 10, "a")]
    # A window beyond a gap is no neighbour.
    apart = [windows[1], window(9.0, {"a": 0.9})]
    assert [label for _, _, label in single(apart, smooth=True)] == [None, "a"]


def test_several_labels_overlap():
    values = [(0.9, 0.1), (0.9, 0.8), (0.2, 0.8), (0.2, 0.4), (0.2, 0.2)]
    windows = [window(float(t), {"a": a, "b": b}) for t, (a, b) in enumerate(values)]
    found = push_all(Merger(multi_label=True), windows)
    assert spans(found) == [(0, 2.5, "a"), (1.5, 4.5, "b")]


def test_probabilities_are_means_and_a_missing_modality_has_none():
    windows = [window(0.0, {"a": 0.8}, missing=["visual"]), window(1.0, {"a": 0.6}, missing=[])]
    (found,) = push_all(Merger(), windows)
    assert found.probability == pytest.approx(0.7)
    assert found.modalities == {"audio": 0.7, "visual": 0.6, "audio_visual": 0.7}
    windows = [window(float(t), {"a": 0.8}, missing=["visual"]) for t in range(2)]
    (found,) = push_all(Merger(), windows)
    assert found.modalities["visual"] is None


def test_missing_windows_leave_a_gap():
    windows = [window(t, {"a": 0.9}) for t in (0.0, 1.0, 5.0, 6.0)]
    assert single(windows) == [(0, 3, "a"), (5, 8, "a")]
    assert single(windows, bridge_s=2) == [(0, 8, "a")]


def test_a_recording_shorter_than_the_least_duration_keeps_its_segment():
    assert single([window(0.0, {"a": 0.9}, size_s=0.7)], least_s=1) == [(0, 0.7, "a")]
    assert single(of([0.9, 0.1, 0.1]), least_s=2) == [(1.5, 4, "b")]


def test_segments_are_closed_as_soon_as_they_cannot_change():
    merger = Merger(SegmentRules(bridge_s=1))
    closed = [len(merger.push(one)) for one in of([0.9, 0.9, 0.1, 0.1, 0.1, 0.1])]
    assert closed == [0, 0, 0, 0, 1, 0]
    (running,) = merger.running()
    assert (running.start_s, running.label) == (2.5, "b")
    assert spans(merger.close()) == [(2.5, 7, "b")]
    assert merger.close() == []
    assert spans(push_all(merger, of([0.9]))) == [(0, 2, "a")]  # it can take another recording


def test_several_recordings():
    windows = [*of([0.9, 0.9]), *of([0.1]), *of([0.9, 0.9])]
    windows[-2:] = [window(float(t), {"a": 0.9}, file="other.wav") for t in range(2)]
    failed = Prediction(file="none.wav", error="missing", error_code="file-missing")
    first, *found, last = merge([failed, *windows, failed])
    assert (first, last) == (failed, failed)
    assert spans(found) == [(0, 3, "a"), (0, 2, "b"), (0, 3, "a")]
    assert [one.file for one in found] == ["long.wav", "long.wav", "other.wav"]


@pytest.mark.parametrize(
    "rules",
    [
        {"enter": 0.0},
        {"enter": 1.1},
        {"enter": 0.4, "leave": 0.5},
        {"leave": -0.1},
        {"least_s": -1},
        {"bridge_s": float("inf")},
        {"enter": float("nan")},
    ],
)
def test_rules_out_of_range_are_refused(rules):
    with pytest.raises(InputError) as error:
        SegmentRules(**rules)
    assert error.value.code == "bad-value"


def test_windows_out_of_order_or_without_times_are_refused():
    merger = Merger()
    merger.push(window(1.0, {"a": 1.0}))
    with pytest.raises(InputError, match="order"):
        merger.push(window(0.5, {"a": 1.0}))
    with pytest.raises(InputError, match="no times"):
        merger.push(Prediction(file="x", label="a"))


def test_memory_does_not_grow_with_the_number_of_windows():
    merger, sizes = Merger(SegmentRules(least_s=1, bridge_s=1)), []
    for t in range(36_000):
        label = "abc"[t // 7 % 3]
        merger.push(window(float(t), {label: 0.9, "d": 0.1}, is_unknown=t % 11 < 3))
        if t % 6000 == 5999:
            sizes.append(sum(sys.getsizeof(vars(one)) for one in merger._tracks.values()))
            assert len(merger._tracks) <= 4
    assert max(sizes) <= 2 * min(sizes)


def test_segments_come_in_the_order_of_their_start():
    labels = "uuubcbbbbb"
    windows = [
        window(float(t), {label: 0.9}, is_unknown=label == "u") for t, label in enumerate(labels)
    ]
    expected = [(0, 3.5, None), (3.5, 4.5, "b"), (4.5, 5.5, "c"), (5.5, 11, "b")]
    assert single(windows, bridge_s=3) == expected


CLASSES = "abc"
PROBABILITY = st.sampled_from([0.05, 0.2, 0.31, 0.45, 0.55, 0.9])
WINDOWS = st.lists(
    st.tuples(st.tuples(*[PROBABILITY] * len(CLASSES)), st.integers(0, 9)), min_size=1, max_size=25
)
RULES = st.fixed_dictionaries(
    {"least_s": st.sampled_from([0, 1, 1.5, 3]), "bridge_s": st.sampled_from([0, 1, 2, 3])}
)


def windows_of(drawn):
    return [
        window(float(t), dict(zip(CLASSES, values, strict=True)), is_unknown=number == 0)
        for t, (values, number) in enumerate(drawn)
    ]


def cells_of(windows):
    """The part of time of each window: from midway to midway between centres."""
    edges = [
        (a.start_s + a.end_s + b.start_s + b.end_s) / 4 for a, b in itertools.pairwise(windows)
    ]
    edges = [windows[0].start_s, *edges, windows[-1].end_s]
    return list(itertools.pairwise(edges))


def direct(windows, rules):
    """Several labels, one class after the other: threshold, fill gaps, drop what is short."""
    cells = cells_of(windows)
    found = []
    for label in (*CLASSES, None):
        runs, is_on = [], False
        for one, (start_s, end_s) in zip(windows, cells, strict=True):
            value = {c["label"]: c["probability"] for c in one.modalities["audio_visual"]}
            if label is None:
                is_on = one.is_unknown
            else:
                is_on = not one.is_unknown and value[label] >= (0.3 if is_on else 0.5)
            if is_on and runs and start_s - runs[-1][1] <= rules["bridge_s"]:
                runs[-1][1] = end_s
            elif is_on:
                runs.append([start_s, end_s])
        least_s = min(rules["least_s"], cells[-1][1])
        found += [(start_s, end_s, label) for start_s, end_s in runs if end_s - start_s >= least_s]
    return found


@given(WINDOWS, RULES)
@settings(max_examples=200, deadline=None)
def test_several_labels_match_a_direct_implementation(drawn, rules):
    windows = windows_of(drawn)
    found = spans(push_all(Merger(SegmentRules(**rules), multi_label=True), windows))
    by_time = lambda span: (span[0], span[1], str(span[2]))  # noqa: E731
    assert sorted(found, key=by_time) == sorted(direct(windows, rules), key=by_time)


@given(WINDOWS, RULES)
@settings(max_examples=200, deadline=None)
def test_segments_of_one_label_follow_each_other(drawn, rules):
    windows = windows_of(drawn)
    found = spans(push_all(Merger(SegmentRules(**rules)), windows))
    assert found == sorted(found, key=lambda span: span[0])
    least_s = min(rules["least_s"], windows[-1].end_s)
    for (_, end_s, label), (start_s, _, following) in itertools.pairwise(found):
        assert start_s >= end_s
        # Equal neighbours are apart by more than the gap to bridge.
        assert label != following or start_s - end_s > rules["bridge_s"]
    assert all(end_s - start_s >= least_s for start_s, end_s, _ in found)
    if not rules["bridge_s"]:  # then the segments are runs of equal decisions
        decided = [
            None if one.is_unknown else one.label if one.probability >= 0.5 else ""
            for one in windows
        ]
        for one, (start_s, end_s) in zip(decided, cells_of(windows), strict=True):
            covering = [label for s, e, label in found if s <= start_s and end_s <= e]
            assert one == "" or covering in ([], [one])


def test_sources_in_turns_have_segments_of_their_own_and_a_failed_one_ends():
    def one(start_s, label, file):
        return window(start_s, {label: 0.9}, file=file)

    lost = Prediction(file="x", error="lost")
    windows = [one(0.0, "a", "x"), one(0.0, "b", "y"), one(1.0, "a", "x"), lost, one(1.0, "b", "y")]
    first, failed, second = merge_live(windows, SegmentRules(), multi_label=False)
    assert failed is lost
    assert (first.file, second.file) == ("x", "y")
    assert spans([first, second]) == [(0, 3, "a"), (0, 3, "b")]


def test_open_segments_are_written_when_reading_is_interrupted():
    def interrupted():
        yield window(0.0, {"a": 0.9})
        raise KeyboardInterrupt

    found = merge_live(interrupted(), SegmentRules(), multi_label=False)
    assert spans([next(found)]) == [(0, 2, "a")]
    with pytest.raises(KeyboardInterrupt):
        next(found)
