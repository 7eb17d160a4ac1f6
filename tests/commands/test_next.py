"""`cign next`: folders, lists and stores; its table and JSON; the list that `cign add` takes."""

import csv
import json
import os
import shutil
import subprocess

import imageio_ffmpeg
import pytest

from cign.backbones.registry import load_backbone
from cign.cli.commands.next import _table
from cign.data.clips import Clip
from cign.data.prepare.pipeline import prepare
from cign.data.store import Store
from cign.labelling.proposals import Proposal
from cign.learner import Learner

from .adding import OPTIONS, refused, write


@pytest.fixture(scope="module")
def run(runs):
    return runs / "cign_analytic"


@pytest.fixture
def loose(tiny, rows, tmp_path):
    """A folder of media in no layout: deep, silent, of one modality, damaged, and no media."""
    folder = tmp_path / "loose"
    never_learned = [row["path"] for row in rows[0] if row["split"] == "test"]
    places = [folder / f"{n}.mp4" for n in range(4)] + [
        folder / "a" / "b" / f"{n}.mp4" for n in "45"
    ]
    for source, place in zip(never_learned[::2], places, strict=True):
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(tiny[0] / source, place)
    ffmpeg = [imageio_ffmpeg.get_ffmpeg_exe(), "-y", "-v", "error", "-i", str(folder / "0.mp4")]
    subprocess.run([*ffmpeg, "-vn", "-c:a", "pcm_s16le", str(folder / "heard.wav")], check=True)
    subprocess.run([*ffmpeg, "-an", "-c:v", "copy", str(folder / "seen.mp4")], check=True)
    (folder / "noise.mp4").write_text("not a film")
    (folder / "notes.txt").write_text("not a clip")
    return folder


@pytest.fixture(scope="module")
def pool(tiny, rows, tmp_path_factory):
    """A table and a store of all clips of the corpus, its test clips in split train."""
    folder = tmp_path_factory.mktemp("pool")
    splits = {"train": "val", "val": "val", "test": "train"}
    table = write(folder / "pool.csv", [{**row, "split": splits[row["split"]]} for row in rows[0]])
    backbone = load_backbone("small-random")
    prepare(table, folder / "store", backbone=backbone, media=[tiny[0]], num_workers=0)
    return table, folder / "store"


GOOD = {"0.mp4", "1.mp4", "2.mp4", "3.mp4", "a/b/4.mp4", "a/b/5.mp4", "heard.wav", "seen.mp4"}


def test_a_folder_in_any_layout(cign, run, loose):
    code, out, err = cign("next", run, loose, "--number", 3, "--json")
    assert code == 0, err
    found = json.loads(out)
    names = [one["file"] for one in found["proposals"]]
    assert len(names) == 3
    assert set(names) < GOOD
    assert found["num_clips"] == found["num_scored"] == 8
    assert found["num_candidates"] == 6
    ((bad, why),) = [(one["file"], one["error"]) for one in found["unreadable"]]
    assert bad == "noise.mp4"
    assert "unreadable" in why
    gains = [one["gain"] for one in found["proposals"]]
    assert gains == sorted(gains, reverse=True)
    for one in found["proposals"]:
        assert (loose / one["file"]).samefile(one["path"])
        first, second = one["guesses"]
        assert one["margin"] == pytest.approx(
            first["probability"] - second["probability"], abs=3e-6
        )


def test_more_than_there_are(cign, run, loose):
    code, out, err = cign("next", run, loose, "--number", 50)
    assert code == 0
    assert "fewer than 50: all 8 clips are proposed" in err
    assert "left out, not decoded: noise.mp4 (" in err
    heading, _, *lines = out.splitlines()
    assert heading.split() == ["file", "first", "guess", "second", "guess", "margin", "unknown"]
    assert {line.split()[0] for line in lines} == GOOD
    by_file = {line.split()[0]: line.split() for line in lines}
    told = {one.file: one for one in Learner.load(run).predict([str(loose / "heard.wav")])}
    (heard,) = told.values()
    assert heard.label in " ".join(by_file["heard.wav"])
    assert float(by_file["heard.wav"][1]) == pytest.approx(heard.probability, abs=0.006)


def test_the_list_is_filled_in_and_added(cign, model, loose, rows, tmp_path):
    """Labels are entered into the list; with the list beside the clips, nothing else is needed."""
    listed = loose / "list.csv"
    code, _, err = cign("next", model, loose, "--number", 4, "--out", listed)
    assert code == 0
    assert f"`cign add {model} {listed}`" in err
    with listed.open() as file:
        table = list(csv.DictReader(file))
    assert list(table[0])[:3] == ["path", "labels", "split"]
    assert {row["labels"] for row in table} == {""}
    assert {row["split"] for row in table} == {"train"}
    assert {row["guess"] for row in table} <= set(rows[1])
    refused(cign("add", model, listed, "--workers", 0), "empty")  # nobody labelled it
    whole = [row for row in table if row["path"] not in ("heard.wav", "seen.mp4")]
    for row, label in zip(whole, [whole[0]["guess"], "a new class", "a new class"], strict=False):
        row["labels"] = label  # the first guess is accepted
    with listed.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(table[0]))
        writer.writeheader()
        writer.writerows(row for row in whole if row["labels"])
    code, out, err = cign("add", model, listed, "--workers", 0)
    assert code == 0, err
    assert "a new class (" in out
    assert f"more clips, merged: {whole[0]['guess']} (1 clip)" in out


def test_the_list_elsewhere_names_the_folder_of_the_clips(cign, run, tiny, tables, tmp_path):
    """Also of parts of files, whose times the list holds."""
    part = tmp_path / "parts.csv"
    clip = next(iter(sorted((tiny[0] / "train").rglob("*.mp4")))).relative_to(tiny[0])
    part.write_text(f"path,start_s,end_s,source\n{clip},0.25,0.75,tape 1\n")
    listed = tmp_path / "out" / "list.csv"
    code, out, err = cign("next", run, part, "--media", tiny[0], "--number", 1, "--out", listed)
    assert code == 0, err
    assert "@0.25-0.75" in out
    root = (tiny[0] / clip).parent
    assert f"--media {root}`" in err
    with listed.open() as file:
        (row,) = csv.DictReader(file)
    assert (row["path"], row["start_s"], row["end_s"]) == (clip.name, "0.25", "0.75")
    assert row["source"] == "tape 1"


def test_a_table_and_a_store_of_the_same_clips_give_the_same(cign, run, pool, tiny):
    found = [
        json.loads(cign("next", run, *source, "--number", 5, "--json")[1])
        for source in ((pool[1],), (pool[0], "--media", tiny[0]))
    ]
    ids = [[one["file"] for one in each["proposals"]] for each in found]
    assert ids[0] == ids[1]
    store = Store.open(pool[1])
    train = {store.table.clips[i].id for i in store.indices("train")}
    assert set(ids[0]) <= train
    for one, other in zip(*(each["proposals"] for each in found), strict=True):
        assert one["margin"] == pytest.approx(other["margin"], abs=1e-5)
        assert one["unknown"] == pytest.approx(other["unknown"], abs=1e-5)
    assert found[0]["notes"] == found[1]["notes"] != []


def test_a_table_needs_no_labels(cign, run, tiny, tables, tmp_path):
    with tables[0].open() as file:
        names = [row["path"] for row in csv.DictReader(file) if row["split"] == "test"]
    bare = tmp_path / "bare.csv"
    bare.write_text("path\n" + "\n".join(names) + "\n")
    labelled = write(
        tmp_path / "odd.csv", [{"path": n, "labels": "no such class", "split": ""} for n in names]
    )
    found = [
        json.loads(cign("next", run, one, "--media", tiny[0], "--number", 4, "--json")[1])
        for one in (bare, labelled)
    ]
    assert found[0] == found[1]
    assert found[0]["num_clips"] == len(names)


# -------------------------------------------------------------- clips that are known


def learned_files(model, tiny, rows):
    """Files of the corpus that a model learned, and those that it stores for validation."""
    kept = Learner.load(model).model.kept.num_clips
    old = [row for row in rows[0] if row["labels"] != rows[1][-1]]
    train, val = ([r["path"] for r in old if r["split"] == s] for s in ("train", "val"))
    assert kept == len(val)  # all of them, because there are few
    return [[tiny[0] / name for name in names] for names in (train, val)]


def test_clips_that_the_model_knows_are_left_out(cign, run, loose, tiny, rows):
    """Whatever their names; beside them nothing changes."""
    before = json.loads(cign("next", run, loose, "--number", 8, "--json")[1])
    learned, validation = learned_files(run, tiny, rows)
    for number, file in enumerate(learned[:5]):
        shutil.copy(file, loose / f"a/again {number}.mp4")
    for number, file in enumerate(validation[:2]):
        shutil.copy(file, loose / f"tested {number}.mp4")
    after = json.loads(cign("next", run, loose, "--number", 8, "--json")[1])
    assert [one["file"] for one in after["proposals"]] == [
        one["file"] for one in before["proposals"]
    ]
    assert (before["num_known"], after["num_known"]) == (0, 7)
    assert after["num_clips"] == before["num_clips"] == 8
    _, _, err = cign("next", run, loose, "--number", 3)
    assert "left out, which the model has learned: 5 clips" in err
    assert "left out, which are validation clips of the model: 2 clips" in err


def test_a_store_of_learned_clips_is_refused(cign, run, old_store, tables, tiny):
    for source in ((old_store,), (tables[0], "--media", tiny[0])):
        refused(cign("next", run, *source, "--number", 3), "does not know")


def test_a_model_with_encoders_knows_its_clips(cign, old_store, pool, tiny, rows, tmp_path):
    """Its validation clips are recognised by the tokens of its own encoders."""
    adaptation = {"num_epochs": 1, "batch_size": 4}
    options = {**OPTIONS["cign_analytic"], "adaptation": adaptation}
    learner = Learner(
        "cign_analytic", options=options, regime="end-to-end", backbone="small-random"
    )
    learner.learn(old_store, tasks=1, out=tmp_path / "run", progress=False)
    learned, validation = learned_files(tmp_path / "run", tiny, rows)
    folder = tmp_path / "clips"
    folder.mkdir()
    others = [tiny[0] / row["path"] for row in rows[0] if row["split"] == "test"]
    for number, file in enumerate((*learned[:3], *validation[:4], *others[:5])):
        shutil.copy(file, folder / f"{number:02}.mp4")
    found = json.loads(cign("next", tmp_path / "run", folder, "--number", 9, "--json")[1])
    assert {one["file"] for one in found["proposals"]} == {f"{n:02}.mp4" for n in range(7, 12)}
    assert found["num_known"] == 7
    stored = json.loads(cign("next", tmp_path / "run", pool[1], "--number", 9, "--json")[1])
    assert (stored["num_clips"], stored["num_known"]) == (len(others), 0)


@pytest.mark.parametrize("kind", ["empty", "damaged", "missing"])
def test_without_any_clip_it_says_so(cign, run, tmp_path, kind):
    folder = tmp_path / "clips"
    if kind != "missing":
        folder.mkdir()
    if kind == "damaged":
        (folder / "x.mp4").write_text("not a film")
    refused(
        cign("next", run, folder, "--number", 3), str(folder), "x.mp4" if kind == "damaged" else ""
    )


def test_a_table_without_paths(cign, run, tmp_path):
    (tmp_path / "x.csv").write_text("file,labels\na.mp4,b\n")
    refused(cign("next", run, tmp_path / "x.csv", "--number", 3), "'path'")


def test_a_method_without_sums(cign, runs, loose):
    refused(cign("next", runs / "finetune", loose, "--number", 3), "finetune", "cign_analytic")


def test_a_list_is_never_overwritten(cign, run, loose, tmp_path):
    listed = tmp_path / "list.csv"
    listed.write_text("path,labels,split\na.mp4,hours of work,train\n")
    refused(cign("next", run, loose, "--number", 3, "--out", listed), "may hold labels")
    assert "hours of work" in listed.read_text()
    refused(cign("next", run, loose, "--number", 3, "--out", tmp_path / "list.txt"), ".csv")


@pytest.mark.parametrize("number", ["0", "x", "-1"])
def test_the_number_is_checked(cign, run, loose, number):
    refused(cign("next", run, loose, f"--number={number}"), "--number")


def test_the_table_fits_80_columns():
    clip = Clip(id=f"{'a long folder/' * 4}the clip.mp4", path="x", labels=(), split="train")
    guesses = (("a class with a rather long name", 0.51), ("another class", 0.49))
    long = Proposal(clip=clip, guesses=guesses, margin=0.02, unknown=0.5, gain=1.0)
    short = Proposal(
        clip=Clip(id="b.mp4", path="x", labels=(), split="train"),
        guesses=(("dog", 1.0),),
        margin=0.0,
        unknown=0.25,
        gain=0.5,
    )
    lines = list(_table([long, short], 80).lines())
    assert max(map(len, lines)) <= 80
    text = " ".join(" ".join(lines).split())
    assert "the clip.mp4" in text
    assert "0.02 0.50" in text
    assert lines[-1].split() == ["b.mp4", "1.00", "dog", "-", "0.00", "0.25"]


def test_help_loads_nothing_slow():
    code = (
        "import sys; from cign.cli.entry_point import main; main(['next', '--help']); "
        "sys.exit(str({'torch', 'pyarrow', 'rich'} & set(sys.modules) or ''))"
    )
    done = subprocess.run(
        [os.sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert done.stderr.strip() == ""
    assert "--number N" in done.stdout
