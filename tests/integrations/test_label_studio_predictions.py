"""Predictions for tasks: what the model says, in the form of pre-annotations."""

import pytest

from cign.learner import Learner
from cign.vocabulary import MODALITIES

from .projects import Studio, choices, interface, task, timeline


def test_choices_are_the_predictions_of_the_centre_window(model, root, classes, clips):
    paths = [clips[name][0] for name in classes[:3]]
    with Studio(model, root) as studio:
        config = interface(choices(classes))
        answers = studio.predict(config, *(task(n, path) for n, path in enumerate(paths)))
    alone = Learner.load(model).predict([root / path for path in paths], top=3)
    for answer, one in zip(answers, alone, strict=True):
        assert answer["score"] == pytest.approx(one.probability)
        assert answer["model_version"].startswith("v1-")
        if one.is_unknown:
            assert answer["result"] == []
            continue
        (result,) = answer["result"]
        assert result["value"] == {"choices": [one.label]}
        assert (result["from_name"], result["to_name"]) == ("class", "video")
        assert result["type"] == "choices"
        assert result["score"] == pytest.approx(one.probability)
    assert any(answer["result"] for answer in answers)


@pytest.mark.parametrize("all_unknown", [False, True])
def test_timeline_labels_are_the_segments(model, root, classes, long_clip, all_unknown):
    path = long_clip
    if all_unknown:
        learner = Learner.load(model)
        learner.model.unknown.thresholds.update(dict.fromkeys(MODALITIES, 1e-6))
        learner.save(model)
    labels = [*classes, "none of these"]
    config = interface(timeline(labels), rate=10)
    with Studio(model, root, every_s=0.5, unknown="none of these") as studio:
        (answer,) = studio.predict(config, task(1, path))
    segments = list(Learner.load(model).segments([root / path], every_s=0.5))
    assert segments
    assert not all_unknown or all(one.is_unknown for one in segments)
    assert [result["value"]["timelinelabels"] for result in answer["result"]] == [
        ["none of these" if one.is_unknown else one.label] for one in segments
    ]
    for result, one in zip(answer["result"], segments, strict=True):
        (frames,) = result["value"]["ranges"]
        assert frames["start"] == pytest.approx(10 * one.start_s + 1, abs=0.51)
        assert frames["end"] == pytest.approx(10 * one.end_s, abs=0.51)
        assert result["score"] == pytest.approx(one.unknown if one.is_unknown else one.probability)
    assert all(result["type"] == "timelinelabels" for result in answer["result"])
    ids = [result["id"] for result in answer["result"]]
    assert len(set(ids)) == len(ids)


def test_labels_are_seconds_on_audio(model, root, classes, clips):
    (path, *_) = clips[classes[1]]
    labels = "".join(f"<Label value='{name.upper()}'/>" for name in classes)
    config = (
        "<View><Audio name='sound' value='$video'/>"
        f"<Labels name='parts' toName='sound'>{labels}</Labels></View>"
    )
    with Studio(model, root) as studio:
        (answer,) = studio.predict(config, task(1, path))
    (window,) = Learner.load(model).predict([root / path], every_s=1)
    if window.is_unknown:
        assert answer["result"] == []
    else:
        (result,) = answer["result"]
        times = {"start": window.start_s, "end": window.end_s}
        assert result["value"] == {**times, "channel": 0, "labels": [window.label.upper()]}


def test_labels_the_interface_lacks_and_improbable_ones_are_left_out(model, root, classes, clips):
    tasks = [task(n, clips[name][0]) for n, name in enumerate(classes[:3])]
    with Studio(model, root) as studio:
        some = studio.predict(interface(choices(classes[:1])), *tasks)
        none = studio.predict(interface(choices(classes, model_score_threshold="1.1")), *tasks)
        every = studio.predict(interface(choices(classes)), *tasks)
    chosen = [[r["value"]["choices"][0] for r in one["result"]] for one in some]
    assert {label for labels in chosen for label in labels} <= {classes[0]}
    assert sum(map(len, chosen)) < sum(len(one["result"]) for one in every)
    assert [one["result"] for one in none] == [[], [], []]
    assert [one["score"] for one in none] == [one["score"] for one in every]


def test_a_task_that_fails_has_no_result_and_the_others_have_theirs(model, root, classes, clips):
    (root / "broken.mp4").write_text("text")
    good = task(1, clips[classes[0]][0])
    bad = [
        (task(2, "gone.mp4"), "file-missing", "gone.mp4"),
        (task(3, "../secret.mp4"), "bad-value", "leaves the media folders"),
        (task(4, "broken.mp4"), "bad-clip", "cannot be read"),
        ({"id": 5, "data": {"text": "x"}}, "bad-list", "no field 'video'"),
        ({"id": 6}, "bad-list", "no data"),
        ({"id": 7, "data": {"video": "http://[x/a.mp4"}}, "bad-value", "http://[x/a.mp4"),
        ("text", "bad-list", "no data"),
    ]
    with Studio(model, root) as studio:
        first, *others = studio.predict(interface(choices(classes)), good, *(b[0] for b in bad))
        (alone,) = studio.predict(interface(choices(classes)), good)
    (root / "broken.mp4").unlink()
    assert first == alone
    for answer, (_, code, part) in zip(others, bad, strict=True):
        assert "result" not in answer  # Label Studio then stores nothing and asks again
        assert answer["error_code"] == code
        assert part in answer["error"]
    assert sum(text.startswith("not predicted: ") for text in studio.told) == len(bad)


def test_a_request_is_answered_by_one_version(model, root, classes, long_clip, monkeypatch):
    with Studio(model, root) as studio:
        refreshed, calls = studio.service.refreshed, []
        monkeypatch.setattr(studio.service, "refreshed", lambda: calls.append(0) or refreshed())
        config = interface(choices(classes), timeline(classes))
        (answer,) = studio.predict(config, task(1, long_clip))
    assert {one["type"] for one in answer["result"]} == {"choices", "timelinelabels"}
    assert len(calls) == 1  # another version that is saved meanwhile is not used in part
