"""`cign audit`: what it prints and writes, which clips it takes, and what it refuses."""

import base64
import csv
import io
import json
import re
import shutil
import wave
from html.parser import HTMLParser

import av
import numpy as np
import pytest

from cign.data.store import Store
from cign.labelling.audit_files import check_audit_out, wav
from cign.learner import Learner
from refusals import input_error

from .adding import refused, write
from .test_evaluate_loo import at_once  # noqa: F401


def read_csv(path):
    with path.open() as file:
        return list(csv.DictReader(file))


@pytest.fixture
def relabelled(rows, tiny, tmp_path):
    """A table in which a training clip has the label of another class, and its path."""
    found = [dict(row) for row in rows[0] if row["labels"] != rows[1][-1]]
    wrong = [row for row in found if (row["labels"], row["split"]) == (rows[1][0], "train")][:1]
    for row in wrong:
        row["labels"] = rows[1][1]
    path = tmp_path / "relabelled.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(found[0]))
        writer.writeheader()
        writer.writerows(found)
    return path, wrong[0]["path"]


def test_every_learned_clip_is_listed(cign, runs, old_store, tmp_path):
    run, out = runs / "cign_analytic", tmp_path / "audit.csv"
    code, printed, err = cign("audit", run, old_store, "--json", "--out", out)
    assert code == 0, err
    found = json.loads(printed)
    store = Store.open(old_store)
    train = {store.table.clips[i].id for i in store.indices("train")}
    assert found["num_clips"] == len(train) == len(found["labels"])
    assert {one["clip"] for one in found["labels"]} == train
    scores = [one["score"] for one in found["labels"]]
    assert scores == sorted(scores, reverse=True)
    assert found["threshold"] == pytest.approx(0.75)
    assert found["num_suspicious"] == sum(score > found["threshold"] for score in scores)
    for row, one in zip(read_csv(out), found["labels"], strict=True):
        assert list(row) == list(one)
        assert (row["path"], row["label"]) == (one["path"], one["label"])
        assert (row["suggested"], float(row["score"])) == (one["suggested"], one["score"])
        assert row["is_suspicious"] == str(one["is_suspicious"]).lower()
        assert one["suggested"] != one["label"] == one["labels"]
    audit = Learner.load(run).audit(old_store)
    assert audit.to_dict() == found


def test_corrections_are_learned_with_replace(cign, relabelled, tiny, tmp_path):
    """The rows that the page gives: the model is then that of training on the right labels."""
    table, wrong = relabelled
    how = ("--media", tiny[0], "--workers", 0)
    fixed = ["ridge=[5.0]", "width=200", "normalisation=[layer]", "contrast=[0.0]"]
    fixed += ["saliency=[0.0]", "token_share=[0.2]", "assignment_temperature=[0.3]"]
    fixed += ["temperature=[0.1]", "count_power=[0.5]", "precision=float64"]
    settings = [part for one in fixed for part in ("--set", one)]
    right = tmp_path / "right.csv"
    rows = read_csv(table)
    (row,) = [one for one in rows if one["path"] == wrong]
    for one in rows:
        if one["path"] == wrong:
            one["labels"] = wrong.split("/")[1]
    write(right, rows)
    for kind, source in (("wrong", table), ("right", right)):
        store = tmp_path / f"{kind}-store"
        assert cign("prepare", source, store, "--backbone", "small", *how)[0] == 0
        assert cign("train", store, "--out", tmp_path / kind, *settings)[0] == 0
    corrections = write(
        tmp_path / "corrections.csv", [{**row, "labels": wrong.split("/")[1], "split": "train"}]
    )
    model = tmp_path / "corrected"
    code, _, err = cign("add", tmp_path / "wrong", corrections, "--replace", "--out", model, *how)
    assert code == 0, err
    clips = sorted(map(str, (tiny[0] / "test").rglob("*.mp4")))
    for one, other in zip(
        Learner.load(model).predict(clips, top=3),
        Learner.load(tmp_path / "right").predict(clips, top=3),
        strict=True,
    ):
        mine, wanted = (
            {entry["label"]: entry["probability"] for entry in found.modalities["audio_visual"]}
            for found in (one, other)
        )
        assert mine == pytest.approx(wanted, abs=1e-4)


def test_the_score_is_that_of_a_model_that_learned_no_clip_of_the_source(runs, old_store):
    """The same clips, trained again without the source of the most suspicious one."""
    import dataclasses

    from cign.saved_model.folder import load_model

    from .adding import OPTIONS

    store = Store.open(old_store)
    audit = Learner.load(runs / "cign_analytic").audit(store)
    first = audit.doubts[0]
    gone = audit.clips[first.clip]
    clips = tuple(
        dataclasses.replace(clip, split="test" if clip.source == gone.source else clip.split)
        for clip in store.table.clips
    )
    fewer = dataclasses.replace(store, table=dataclasses.replace(store.table, clips=clips))
    again = Learner("cign_analytic", options=OPTIONS["cign_analytic"]).learn(fewer, tasks=2)
    assert load_model(runs / "cign_analytic").classes == again.classes
    # The model has tokens, not files: predict those of the store.
    from cign.inference.sources import TestClips
    from cign.training.scoring import score_clips

    at = [clip.id for clip in store.table.clips].index(gone.id)
    source = TestClips.open(again.model, fewer, "test").source
    found = score_clips(again.model.method, source, np.array([at]))
    own = again.classes.index(first.label)
    mean = np.sqrt(found["audio"][0] * found["visual"][0])
    support = mean[own] / mean.sum()
    assert first.support == pytest.approx(support, abs=2e-3)  # products in bfloat16


def test_what_it_prints(cign, at_once, old_store):  # noqa: F811
    code, out, err = cign("audit", at_once[1], old_store, "--most", 2)
    assert code == 0, err
    lines = out.splitlines()
    number = int(re.match(r"(\d+) suspicious label", lines[0])[1])
    assert "without" in lines[0]
    assert "less than 1/3 of its usual support" in lines[0]
    assert lines[2].split() == ["clip", "label", "suggested", "score"]
    assert len(lines) == 6 + (number > 2)
    first = Learner.load(at_once[1]).audit(old_store).doubts[0]
    assert lines[4].split()[1:] == [first.label, first.suggested, f"{first.score:.4f}"]


def test_clips_that_cannot_be_decoded_are_left_out(cign, runs, rows, tiny, tmp_path):
    """Beside the learned clips they change nothing; a learned clip must be there."""
    run, media = runs / "cign_analytic", tmp_path / "media"
    shutil.copytree(tiny[0], media)
    old = [dict(row) for row in rows[0] if row["labels"] != rows[1][-1]]
    bad = {**old[0], "path": "noise.mp4", "split": "train"}
    (media / "noise.mp4").write_text("not a film")
    plain, more = write(tmp_path / "plain.csv", old), write(tmp_path / "more.csv", [*old, bad])
    how = ("--media", media, "--workers", 0, "--json")
    wanted = json.loads(cign("audit", run, plain, *how)[1])
    code, out, err = cign("audit", run, more, *how)
    assert code == 0, err
    found = json.loads(out)
    assert "noise.mp4" in " ".join(found["notes"])
    assert found["labels"] == wanted["labels"]
    learned = next(row["path"] for row in old if row["split"] == "train")
    (media / learned).write_text("not a film")
    refused(cign("audit", run, more, *how), "learned")


def test_a_planted_error_is_found_in_a_table_that_is_decoded_again(
    cign, relabelled, tiny, tmp_path
):
    """The table equals the store that was prepared from it; the clips are decoded again."""
    table, wrong = relabelled
    store, run = tmp_path / "store", tmp_path / "run"
    how = ("--media", tiny[0], "--workers", 0)
    assert cign("prepare", table, store, "--backbone", "small", *how)[0] == 0
    fixed = ["ridge=[5.0]", "width=200", "normalisation=[layer]", "contrast=[0.0]"]
    settings = [part for one in fixed for part in ("--set", one)]
    assert cign("train", store, "--out", run, *settings)[0] == 0
    code, out, err = cign("audit", run, table, *how, "--json")
    assert code == 0, err
    found = json.loads(out)
    assert found == json.loads(cign("audit", run, store, "--json")[1])
    assert found["labels"][0]["clip"] == wrong


class Page(HTMLParser):
    """The clips of a page: attributes of their item and of the elements in it."""

    def __init__(self, text):
        super().__init__()
        self.items, self.addresses = [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.addresses += [found[name] for name in ("src", "href") if name in found]
        if "data-clip" in found:
            self.items.append((found, []))
        elif self.items:
            self.items[-1][1].append((tag, found))


def test_the_page_shows_frames_sounds_and_labels(cign, runs, old_store, tmp_path):
    run = runs / "cign_analytic"
    audit = Learner.load(run).audit(old_store)
    code, _, err = cign("audit", run, old_store, "--out", tmp_path / "audit")
    assert code == 0, err
    assert len(read_csv(tmp_path / "audit" / "audit.csv")) == len(audit.doubts)
    page = Page((tmp_path / "audit" / "audit.html").read_text(encoding="utf-8"))
    shown = audit.doubts[: max(24, len(audit.suspicious))]
    assert len(page.items) == len(shown)
    for (item, inside), one in zip(page.items, shown, strict=True):
        assert item["data-clip"] == audit.clips[one.clip].id
        assert item["data-old"] == one.label
        (change,) = [found for _, found in inside if found.get("value") == "change"]
        assert change["data-new"] == one.suggested
        (frame,) = [found["src"] for tag, found in inside if tag == "img"]
        (sound,) = [found["src"] for tag, found in inside if tag == "audio"]
        assert base64.b64decode(frame.partition(",")[2]).startswith(b"\xff\xd8\xff")
        assert base64.b64decode(sound.partition(",")[2]).startswith(b"RIFF")
    assert all(one.startswith(("data:", "#")) for one in page.addresses)


def test_sounds_are_reduced_and_any_player_reads_them():
    rate_hz = 44_100
    time_s = np.arange(rate_hz) / rate_hz
    tone = (10_000 * np.sin(2 * np.pi * 440 * time_s)).astype(np.int16)
    data = base64.b64decode(wav(tone, rate_hz).partition(",")[2])
    with wave.open(io.BytesIO(data)) as file:
        assert (file.getnchannels(), file.getsampwidth()) == (1, 2)
        assert file.getframerate() == 14_700
    with av.open(io.BytesIO(data)) as container:
        sound = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])
    assert len(sound) == 14_700
    strongest = np.abs(np.fft.rfft(sound.astype(float))).argmax()
    assert strongest == 440


def test_clips_that_were_not_learned_are_refused(cign, model, runs, tables, tiny, old_store):
    others = cign("audit", model, tables[1], "--media", tiny[0], "--workers", 0)
    assert others[0] == 2
    sentences = [line for line in others[2].splitlines() if line.startswith("cign: ")]
    assert "train clips" in sentences[-1]
    assert str(tables[1]) in sentences[-1]
    refused(cign("audit", runs / "finetune", old_store), "finetune", "cign_analytic")


def test_clips_that_were_added_or_forgotten_are_known_by_their_content(
    cign, model, rows, tables, tiny, old_store, tmp_path
):
    """A folder without splits is learned but for the clips that the model stores."""
    folder, name = tmp_path / "more", rows[1][-1]
    (folder / name).mkdir(parents=True)
    for row in rows[0]:
        if row["labels"] == name:
            place = folder / name / row["path"].replace("/", "-")
            place.symlink_to(tiny[0] / row["path"])
    code, _, err = cign("add", model, folder, "--workers", 0)
    assert code == 0, err
    learner = Learner.load(model)
    learner.forget(old_store, class_name=learner.classes[0], only_learned=True)
    audit = learner.audit(tiny[1])
    counts = learner.model.method.class_clips.tolist()
    found = [sum(clip.labels == (label,) for clip in audit.clips) for label in learner.classes]
    assert found == counts
    splits = {clip.split for clip in audit.clips if clip.labels == (name,)}
    assert splits > {"train"}


def test_encoders_that_were_trained_on_the_clips_are_refused(runs, old_store):
    learner = Learner.load(runs / "cign_analytic")
    setup = learner.model.method.setup
    learner.model.method.setup = setup.__class__(**{**vars(setup), "backbone": object()})
    with input_error("unsupported", "encoders"):
        learner.audit(old_store)


def test_a_model_of_one_class_is_refused(model, old_store):
    learner = Learner.load(model)
    for name in learner.classes[1:]:
        learner.remove(name)
    with input_error("unsupported", learner.classes[0]):
        learner.audit(old_store)


def test_places_that_cannot_be_written_are_refused(cign, model, old_store, tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.csv").mkdir()
    for name in ("audit.parquet", "file", "folder.csv"):
        refused(cign("audit", model, old_store, "--out", tmp_path / name), name)
    check_audit_out(tmp_path / "new")
    check_audit_out(tmp_path / "new.csv")
