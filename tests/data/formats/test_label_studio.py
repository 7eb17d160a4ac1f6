"""Label Studio: its exports "JSON" and "JSON-MIN", and their defects."""

import json

import pytest

from lists import read
from refusals import input_error

from .label_media import recordings, segments, video


def region(start, end, *labels, **more):
    value = {"start": start, "end": end, "channel": 0, "labels": list(labels)}
    return {
        "original_length": 60.0,
        "value": value,
        "id": "xK2p",
        "from_name": "label",
        "to_name": "audio",
        "type": "labels",
        "origin": "manual",
        **more,
    }


def choices(*names, kind="choices", name="class"):
    value = {kind: list(names)}
    return {"value": value, "from_name": name, "to_name": "audio", "type": kind}


def annotation(*results, **more):
    return {
        "id": 1,
        "completed_by": 1,
        "result": list(results),
        "was_cancelled": False,
        "ground_truth": False,
        "lead_time": 10.4,
        **more,
    }


def task(audio, *annotations, **more):
    return {"id": 5, "annotations": list(annotations), "data": {"audio": audio}, **more}


def label_studio(folder, *tasks):
    recordings(folder, "rec.wav")
    (folder / "project-1.json").write_text(json.dumps(tasks))
    return folder


def test_label_studio_regions_and_choices(tmp_path):
    recordings(tmp_path, "b/two.wav", "three.wav", "0123abcd-own.wav")
    text = {"from_name": "note", "to_name": "audio", "type": "textarea", "value": {"text": ["x"]}}
    folder = label_studio(
        tmp_path,
        task("/data/upload/1/1a2b3c4d-rec.wav", annotation(region(1, 2.5, "owl"), text)),
        task("/data/local-files/?d=b/two.wav", annotation(choices("jay", "owl"))),
        task("s3://bucket/x/three.wav?v=2", annotation(choices(["bird", "owl"], kind="taxonomy"))),
        task("/data/upload/1/0123abcd-own.wav", annotation(region(1, 2, "owl"))),
    )
    assert segments(folder) == {
        ("rec.wav", 1.0, 2.5): ("owl",),
        ("b/two.wav", None, None): ("jay", "owl"),
        ("three.wav", None, None): ("bird/owl",),
        ("0123abcd-own.wav", 1.0, 2.0): ("owl",),
    }
    assert read(folder).ignored[0].reason == "of another kind than labels and choices"
    found = segments(folder, "label-studio/class")
    assert {source for source, _, _ in found} == {"b/two.wav", "three.wav"}


def test_only_completed_annotations_count(tmp_path):
    folder = label_studio(
        tmp_path,
        task(
            "rec.wav",
            annotation(region(1, 2, "owl")),
            annotation(region(3, 4, "jay"), was_cancelled=True),
            annotation(region(1, 2, "owl"), region(5, 6, "jay"), id=2),
            predictions=[annotation(region(7, 8, "dog"))],
            drafts=[annotation(region(8, 9, "dog"))],
        ),
        task("rec.wav", predictions=[annotation(region(7, 8, "dog"))], id=6),
    )
    table = read(folder)
    assert {c.id: c.labels for c in table.clips} == {
        "rec.wav@1-2": ("owl",),
        "rec.wav@5-6": ("jay",),
    }
    assert [(one.path, one.reason) for one in table.ignored] == [
        ("project-1.json task 5", "a cancelled annotation"),
        ("project-1.json task 6", "a task without a completed annotation"),
    ]


def test_annotators_who_disagree(tmp_path):
    first, second = annotation(region(1, 2, "owl")), annotation(region(1, 2, "jay"), id=2)
    folder = label_studio(tmp_path, task("rec.wav", first, second))
    with input_error("bad-list", "task 5", "annotation 2", "owl", "jay", "ground truth"):
        read(folder)
    label_studio(tmp_path, task("rec.wav", first, second | {"ground_truth": True}))
    assert segments(folder) == {("rec.wav", 1.0, 2.0): ("jay",)}


def test_frames_of_videos(tmp_path):
    video(tmp_path / "clip.mp4", "24")
    value = {"ranges": [{"start": 1, "end": 12}, {"start": 25, "end": 30}], "timelinelabels": ["a"]}
    result = {"type": "timelinelabels", "from_name": "t", "to_name": "video", "value": value}
    data = {"video": "/data/upload/2/1a2b3c4d-clip.mp4", "title": "a clip"}
    folder = label_studio(tmp_path, {"id": 1, "data": data, "annotations": [annotation(result)]})
    expected = {("clip.mp4", 0.0, 0.5): ("a",), ("clip.mp4", 1.0, 1.25): ("a",)}
    assert segments(folder) == expected
    minimal = {"id": 1, **data, "timeline": [value], "annotator": 1, "annotation_id": 3}
    assert segments(label_studio(tmp_path, minimal)) == expected
    (tmp_path / "clip.mp4").unlink()
    with input_error("file-missing", "clip.mp4", "--media"):
        read(folder)


def test_json_min(tmp_path):
    base = {"audio": "/data/upload/1a2b3c4d-rec.wav", "annotator": 1, "annotation_id": 9, "id": 2}
    regions = [{"start": 1, "end": 2, "channel": 0, "labels": ["owl"]}]
    folder = label_studio(tmp_path, {**base, "place": "wood", "label": regions})
    assert segments(folder) == {("rec.wav", 1.0, 2.0): ("owl",)}
    label_studio(tmp_path, {**base, "class": {"choices": ["owl", "jay"]}})
    assert segments(folder) == {("rec.wav", None, None): ("owl", "jay")}
    label_studio(tmp_path, {**base, "place": "wood", "class": "owl"})
    with input_error("missing-option", "label-studio/NAME", "place", "class"):
        read(folder)
    assert segments(folder, "label-studio/class") == {("rec.wav", None, None): ("owl",)}


@pytest.mark.parametrize(
    ("content", "code"),
    [
        ({"annotations": []}, "wrong-format"),
        ([{"annotations": 3, "data": {"audio": "rec.wav"}}], "wrong-format"),
        ([task("rec.wav", annotation(region("x", 2, "owl")))], "bad-list"),
        ([task("rec.wav", annotation(region(3, 2, "owl")))], "bad-list"),
        ([task("rec.wav", annotation(region(1, 2, None)))], "bad-list"),
        ([task("rec.wav", {"result": "owl"})], "bad-list"),
        ([task("", annotation(region(1, 2, "owl")))], "bad-list"),
        ([{"annotations": [annotation(region(1, 2, "owl"))]}], "bad-list"),
        ([task("rec.wav")], "no-clips"),
        ([], "no-clips"),
    ],
)
def test_a_damaged_export_of_label_studio_is_one_sentence(tmp_path, content, code):
    recordings(tmp_path, "rec.wav")
    path = tmp_path / "export.json"
    path.write_text(json.dumps(content))
    with input_error(code):
        read(path, "label-studio")
