"""`cign labels`: predictions and lists for annotation tools, and back with `cign add`."""

import csv
import json
import shutil
import subprocess

import imageio_ffmpeg
import pytest

from cign.data.formats.label_tools import tracks
from cign.inference.prediction import COLUMNS
from cign.learner import Learner

from .adding import refused

TOOLS = ("audacity", "cvat", "elan", "label-studio", "raven", "via")


@pytest.fixture(scope="module")
def long(tiny, rows, tmp_path_factory):
    """Recordings of six seconds: six clips of one second, one after another."""
    folder = tmp_path_factory.mktemp("long")
    found, classes = rows
    for number in range(4):
        own = [row["path"] for row in found if row["labels"] == classes[number % len(classes)]]
        names = "".join(f"file '{tiny[0] / name}'\n" for name in own[:6])
        (folder / "list.txt").write_text(names)
        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-y", "-v", "error", "-f", "concat"]
        command += ["-safe", "0", "-i", str(folder / "list.txt"), "-c", "copy"]
        (folder / "media" / "site").mkdir(parents=True, exist_ok=True)
        path = folder / "media" / "site" / f"rec{number}.mp4"
        subprocess.run([*command, str(path)], check=True)
    return folder / "media"


@pytest.fixture(scope="module")
def predicted(runs, long, tmp_path_factory):
    """Predictions of each second, in the three forms, with paths relative to the media."""
    folder = tmp_path_factory.mktemp("predicted")
    names = [f"site/{path.name}" for path in sorted((long / "site").iterdir())]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(long)
        found = list(Learner.load(runs / "cign_analytic").predict(names, every_s=1.0))
    with (folder / "p.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(one.to_row() for one in found)
    items = [json.dumps(one.to_dict()) for one in found]
    (folder / "p.json").write_text("[\n" + ",\n".join(items) + "\n]\n")
    (folder / "p.jsonl").write_text("\n".join(items) + "\n")
    return folder, found


@pytest.mark.parametrize("tool", TOOLS)
def test_predictions_for_each_tool_are_the_same_in_all_forms(cign, predicted, long, tool, tmp_path):
    contents = []
    for form in ("csv", "json", "jsonl"):
        out = tmp_path / form
        options = ("--to", tool, "--media", long, "--unknown", "other")
        code, said, _ = cign("labels", predicted[0] / f"p.{form}", out, *options)
        assert code == 0
        files = sorted(path for path in out.rglob("*") if path.is_file())
        assert "of 4 recordings" in said
        assert str(out) in said
        assert len(files) == {"via": 1, "label-studio": 2}.get(tool, 4)
        contents.append([(path.relative_to(out), path.read_text()) for path in files])
    assert contents[0] == contents[1] == contents[2]
    if tool not in ("label-studio", "via"):
        assert all(path.parent.name == "site" for path, _ in contents[0])


def test_a_track_has_the_label_of_the_nearest_window(cign, predicted, long, tmp_path):
    folder, found = predicted
    cign("labels", folder / "p.csv", tmp_path / "out", "--to", "audacity", "--media", long)
    for name in sorted({one.file for one in found}):
        lines = (tmp_path / "out" / name).with_suffix(".txt").read_text().splitlines()
        track = [line.split("\t") for line in lines]
        for one in (one for one in found if one.file == name):
            centre = (one.start_s + one.end_s) / 2
            inside = [x[2] for x in track if float(x[0]) <= centre <= float(x[1])]
            assert inside == ([] if one.is_unknown else [one.label])


def test_what_is_left_out_is_counted(cign, predicted, long, tmp_path):
    folder, found = predicted
    unknown = sum(bool(one.is_unknown) for one in found)
    low = sum(not one.is_unknown and one.probability < 0.6 for one in found)
    options = ("--to", "via", "--media", long, "--min-probability", 0.6, "--json")
    code, out, _ = cign("labels", folder / "p.json", tmp_path / "out", *options)
    told = json.loads(out)
    assert code == 0
    assert told["recordings"] <= 4
    notes = " ".join(told["notes"])
    assert (f"called unknown (--unknown NAME writes them): {unknown}" in notes) == (unknown > 0)
    assert (f"below a probability of 0.6: {low}" in notes) == (low > 0)


def test_a_corrected_track_is_added_to_the_model(cign, model, predicted, long, tmp_path):
    """Predict long recordings, correct their labels beside the media, add them."""
    work = shutil.copytree(long, tmp_path / "work")
    options = ("--to", "audacity", "--media", work, "--unknown", "to check")
    assert cign("labels", predicted[0] / "p.csv", tmp_path / "labels", *options)[0] == 0
    for number, path in enumerate(sorted((tmp_path / "labels" / "site").iterdir())):
        # A person renames all labels of the recording, and deletes the last line.
        lines = [f"{n}.0\t{n + 1}.0\t{'new' if number % 2 else 'other'}\n" for n in range(5)]
        (work / "site" / path.name).write_text("".join(lines))
    code, out, err = cign("add", model, work, "--format", "audacity", "--workers", 0, "--json")
    assert code == 0, err
    told = json.loads(out)
    assert sum(told["new"].values()) + told["num_new_kept"] <= 20
    assert set(told["new"]) == {"new", "other"}
    # Without splits all recordings are learned, except those of stored clips.
    assert sum(told["new"].values()) >= 10
    learned = Learner.load(model)
    assert set(learned.classes[-2:]) == {"new", "other"}


def test_lists_of_clips_for_a_tool(cign, tiny, tmp_path):
    code, out, _ = cign("labels", tiny[0], tmp_path / "out", "--to", "elan")
    assert code == 0
    files = list((tmp_path / "out").rglob("*.eaf"))
    assert f"in {len(files)} files for elan" in out
    code, out, _ = cign("inspect", tmp_path / "out", "--media", tiny[0], "--json")
    back = json.loads(out)
    code, out, _ = cign("inspect", tiny[0], "--json")
    there = json.loads(out)
    assert back["num_clips"] == there["num_clips"]
    assert back["num_missing"] == 0
    assert sorted(back["class_names"]) == sorted(there["class_names"])


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (("--to", "praat"), ("unknown label tool 'praat'", "audacity", "elan")),
        (("--to", "elan", "--unknown", "x"), ("--unknown", "list of clips")),
        (("--to", "elan", "--min-probability", "2"), ("--min-probability", "0 to 1")),
        ((), ("--to is missing",)),
    ],
)
def test_wrong_options_are_one_sentence(cign, tiny, tmp_path, arguments, parts):
    refused(cign("labels", tiny[0], tmp_path / "out", *arguments), *parts)
    assert not (tmp_path / "out").exists()


def test_wrong_sources_and_places_are_one_sentence(cign, predicted, long, tmp_path):
    source = predicted[0] / "p.csv"
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    refused(cign("labels", source, tmp_path / "full", "--to", "via"), "not an empty folder")
    refused(cign("labels", tmp_path / "no", tmp_path / "out", "--to", "via"), "does not exist")
    header, *rows = source.read_text().splitlines()
    for line in ("", "a.mp4,2,1,x,0.5,0.1,False,,,,,,,", "a.mp4,,,x,0.5,0.1,False,,,,,,,"):
        path = tmp_path / "p.csv"
        path.write_text(f"{header}\n{line}\n")
        refused(cign("labels", path, tmp_path / "out", "--to", "via"), "p.csv")
    path.write_text("\n".join((header, *rows)).replace("site/", "/elsewhere/a/"))
    code, _, _ = cign("labels", path, tmp_path / "out", "--to", "via")
    assert code == 0  # times in seconds need no media
    refused(cign("labels", path, tmp_path / "out2", "--to", "cvat"), "--media")


def test_the_help_names_every_tool(cign):
    code, out, _ = cign("labels", "--help")
    assert code == 0
    assert set(TOOLS) == set(tracks.WRITERS)
    assert all(tool in out for tool in tracks.WRITERS)
