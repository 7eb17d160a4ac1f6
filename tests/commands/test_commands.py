"""The commands on real files: what they write, print and refuse."""

import csv
import io
import json
import shutil

import pytest

from .adding import refused

# synth, inspect, prepare


def test_synth_of_the_same_options_is_done_already(cign, world):
    options = ["--classes", 4, "--train", 5, "--val", 1, "--test", 3, "--seconds", 1, "--size", 64]
    code, out, err = cign("synth", world.clips, *options, "--workers", 1)
    assert (code, out) == (0, f"{world.clips / 'clips.csv'}\n")
    assert "98 %" in err


def test_synth_speaks_of_its_own_options(cign, tmp_path):
    refused(cign("synth", tmp_path / "x", "--classes", 1), "--classes is 1", "2 to 9000")
    refused(cign("synth", tmp_path / "x", "--size", 65), "--size is 65", "use 66")
    refused(cign("synth", tmp_path / "x", "--variant", "odd"), "'odd'", "plain, duet")
    refused(cign("synth", tmp_path / "x", "--seconds", "-1"), "--seconds: '-1'")
    assert not (tmp_path / "x").exists()


def test_inspect_counts_a_source(cign, world):
    code, out, _ = cign("inspect", world.clips)
    assert code == 0
    total = [line for line in out.splitlines() if line.startswith("all labels")]
    assert total[0].split()[2:] == ["20", "4", "12"]
    code, out, _ = cign("inspect", world.clips, "--json", "--decode", "--media", world.clips)
    facts = json.loads(out)
    assert (facts["num_clips"], facts["num_missing"], facts["num_usable"]) == (36, 0, 36)
    assert len(facts["class_names"]) == 4


def test_inspect_tells_of_a_store(cign, world):
    code, out, _ = cign("inspect", world.store, "--json")
    facts = json.loads(out)
    assert code == 0
    assert facts["backbones"] == ["small-random"]
    source = json.loads(cign("inspect", world.clips, "--json")[1])
    assert facts["list_hash"] == source["list_hash"]
    assert "36 clips, 4 classes" in cign("inspect", world.store)[1]
    refused(cign("inspect", world.store, "--decode"), "--decode does not apply to a prepared")


def test_inspect_counts_missing_files(cign, tmp_path):
    table = tmp_path / "clips.csv"
    table.write_text("path,labels,split\na.mp4,x,train\nb.mp4,y,train\na2.mp4,x,test\n")
    code, out, _ = cign("inspect", table)
    assert code == 0
    assert "3 of 3 files are missing: a.mp4" in out


def test_prepare_asks_for_a_backbone_where_small_is_a_poor_choice(
    cign, world, tmp_path, monkeypatch
):
    monkeypatch.setattr("cign.backbones.packaged.packages.both_installed", lambda: False)
    real = shutil.copytree(world.clips / "train", tmp_path / "real")
    refused(cign("prepare", real, tmp_path / "store"), "--backbone", "aisfx==0.1.2")
    assert not (tmp_path / "store").exists()
    code, out, err = cign("prepare", real, tmp_path / "store", "--backbone", "none")
    assert code == 0
    assert "20 of 20 clips usable" in out
    assert "warning" not in err


def test_prepare_takes_another_backbone_into_the_same_store(cign, world, tmp_path):
    store = shutil.copytree(world.store, tmp_path / "store")
    code, out, _ = cign("prepare", world.clips, store, "--backbone", "none", "--workers", 0)
    assert code == 0
    assert "list hash" in out
    refused(
        cign("prepare", world.clips, store, "--backbone", "none", "--frames", 2),
        "other settings",
    )


def test_prepare_refuses_what_does_not_exist(cign, tmp_path):
    refused(cign("prepare", tmp_path / "no", tmp_path / "s", "--backbone", "none"), "not exist")
    refused(cign("prepare", tmp_path, tmp_path / "s", "--preset", "big"), "'big'", "release")
    refused(cign("prepare", tmp_path, tmp_path / "s", "--backbone", "vgg"), "'vgg'", "resnet18")


# train


def test_run_folder_is_complete(world):
    names = {path.name for path in world.run.iterdir() if path.name != ".lock"}
    wanted = {"config.yaml", "metrics.json", "predictions.parquet", "checkpoint.safetensors"}
    assert names >= wanted | {"model", "report.html", "embeddings.parquet"}
    metrics = json.loads((world.run / "metrics.json").read_text())
    assert metrics["status"] == "finished"
    assert metrics["limit"] == 98.0
    assert len(metrics["modalities"]["audio"]["matrix"]) == 2


def test_report_of_a_real_run_shows_its_numbers(world):
    page = (world.run / "report.html").read_text()
    metrics = json.loads((world.run / "metrics.json").read_text())
    for modality in metrics["modalities"].values():
        assert f">{modality['last']:.1f}</td>" in page
    assert metrics["store"]["list_hash"] in page
    assert "98.0 %" in page


def test_train_refuses_wrong_options(cign, world, tmp_path, recipe):
    new = ("--out", tmp_path / "run")
    refused(cign("train", world.store), "--out is missing")
    refused(cign("train", world.store, *new, "--tasks", 2, "--task-file", "f"), "both define")
    refused(cign("train", world.store, *new, "--tasks", 9), "9 tasks do not fit 4 classes")
    refused(cign("train", world.store, *new, "--tasks", 2, "--method", "cing"), "'cing'", "joint")
    refused(cign("train", world.store, *new, "--tasks", 2, "--memory", "lots"), "20/class")
    refused(cign("train", world.store, *new, "--tasks", 2, "--regime", "no"), "end-to-end")
    refused(cign("train", tmp_path, *new, "--tasks", 2), "cign prepare")
    refused(
        cign("train", world.store, *new, "--tasks", 2, "--method", "joint", "--recipe", recipe),
        "for finetune",
    )
    refused(cign("train", world.store, "--out", world.run, "--tasks", 2), "already contains a run")
    assert not (tmp_path / "run").exists()


def test_train_by_task_file(cign, world, tmp_path, recipe):
    names = json.loads((world.run / "metrics.json").read_text())["classes"]
    groups = [names[2:], [names[0]], [names[1]]]
    (tmp_path / "tasks.json").write_text(json.dumps(groups))
    run = tmp_path / "run"
    code, out, _ = cign(
        *("train", world.store, "--out", run, "--recipe", recipe),
        *("--task-file", tmp_path / "tasks.json", "--memory", "1/class", "--seed", 3),
    )
    assert code == 0
    assert "audio-visual" in out
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["tasks"] == groups
    assert metrics["seeds"] == {"order": 0, "run": 3}
    assert metrics["config"]["memory"] == "1/class"


def test_resume_of_a_finished_run_changes_nothing(cign, world, tmp_path, recipe):
    run = shutil.copytree(world.run, tmp_path / "run")
    before = (run / "predictions.parquet").read_bytes()
    code, _, _ = cign("train", world.store, "--out", run, "--tasks", 2, "--resume")
    assert code == 0
    assert (run / "predictions.parquet").read_bytes() == before
    again = ("train", world.store, "--out", run, "--resume")
    refused(cign(*again, "--tasks", 3), "was started with tasks 2, not 3")
    refused(cign(*again, "--method", "joint"), "was started with method finetune, not joint")
    refused(cign(*again, "--seed", 5), "was started with seed 0, not 5")
    assert cign(*again, "--recipe", recipe, "--seed", 0)[0] == 0
    refused(
        cign("train", world.store, "--out", tmp_path / "none", "--resume"), "is not a run folder"
    )


# evaluate, predict, report


def test_evaluate_agrees_with_the_run(cign, world):
    code, out, _ = cign("evaluate", world.run, world.store, "--json")
    found = json.loads(out)
    assert (code, found["num_clips"]) == (0, 12)
    metrics = json.loads((world.run / "metrics.json").read_text())["modalities"]
    for modality, one in found["modalities"].items():
        assert one["value"] == pytest.approx(metrics[modality]["last"])
    assert "12 test clips" in cign("evaluate", world.run / "model", world.store)[1]
    refused(cign("evaluate", world.run, world.store, "--split", "unknown"), "unknown clip")
    refused(cign("evaluate", world.clips, world.store), "model not found")


def test_predict_as_json_holds_one_object_per_file(cign, world, tmp_path):
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"not a clip")
    files = [*world.test_clips()[:3], broken]
    code, out, _ = cign("predict", world.run, *files, "--json", "--top", 2)
    found = json.loads(out)
    assert code == 0
    assert [one["file"] for one in found] == list(map(str, files))
    unknown = "unknown is_unknown unknown_threshold unknown_evidence why_unknown"
    keys = f"file start_s end_s label {unknown} modalities labels threshold below_threshold "
    keys += "missing error error_code"
    for one in found:
        assert list(one) == keys.split()
        assert set(one["modalities"]) == {"audio", "visual", "audio_visual"}
    for one in found[:3]:
        assert one["error"] is None
        for modality in ("audio", "visual", "audio_visual"):
            assert [set(x) for x in one["modalities"][modality]] == [{"label", "probability"}] * 2
        assert one["label"] == one["modalities"]["audio_visual"][0]["label"]
        assert 0 <= one["unknown"] <= 1
    assert found[3]["label"] is None
    assert found[3]["error"]
    assert found[3]["error_code"] == "file-unreadable"


def test_predict_reads_names_from_standard_input(cign, world, monkeypatch):
    files = world.test_clips()[:2]
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(files) + "\n\n"))
    code, out, _ = cign("predict", world.run, "-", "--csv")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert code == 0
    assert [row["file"] for row in rows] == files
    assert 0 < float(rows[0]["audio_probability"]) <= 1
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    refused(cign("predict", world.run, "-"), "standard input")


def test_a_name_with_blanks_quotes_and_other_letters_is_a_name(cign, world, tmp_path, monkeypatch):
    (clip, *_) = world.test_clips()
    odd = shutil.copy(clip, tmp_path / """Bjørk's "猫"  and, -- it.mp4""")
    plain, ours = (
        json.loads(cign("predict", world.run, one, "--json")[1])[0] for one in (clip, odd)
    )
    assert ours["file"] == str(odd)
    assert ours["error"] is None
    assert ours["modalities"] == plain["modalities"]
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{odd}\n"))
    code, out, _ = cign("predict", world.run, "-", "--csv", "--explain", tmp_path / "drawn")
    (row,) = csv.DictReader(io.StringIO(out))
    assert (code, row["file"], row["label"]) == (0, str(odd), plain["label"])
    assert len(list((tmp_path / "drawn").glob("*.png"))) == 1


def test_predict_as_table(cign, world):
    (clip, *_) = world.test_clips()
    code, out, _ = cign("predict", world.run, clip, "--every", 0.5)
    assert code == 0
    windows = [line for line in out.splitlines() if line.startswith(clip)]
    assert len(windows) == 2
    assert "0.5 to 1.0" in windows[1]


def test_predict_fails_when_every_file_fails(cign, world, tmp_path):
    code, out, err = cign("predict", world.run, tmp_path / "a.mp4", tmp_path / "b.mp4", "--json")
    assert code == 2
    assert [one["label"] for one in json.loads(out)] == [None, None]
    assert "none of the 2 files could be read" in err
    refused(cign("predict", world.run, "x.mp4", "--json", "--csv"), "exclude")


def test_report_goes_where_it_is_told(cign, world, tmp_path):
    code, out, _ = cign("report", world.run, "--out", tmp_path / "page.html")
    assert (code, out) == (0, f"{tmp_path / 'page.html'}\n")
    assert (tmp_path / "page.html").read_bytes() == (world.run / "report.html").read_bytes()
    refused(cign("report", world.run, "--out", tmp_path), "is a folder")
    refused(cign("report", tmp_path), "metrics.json")


# metrics


def test_metrics_of_a_run_are_its_own_with_formulas(cign, world):
    code, out, err = cign("metrics", world.run)
    metrics = json.loads((world.run / "metrics.json").read_text())
    assert (code, err) == (0, "")
    lasts = [f"{metrics['modalities'][r]['last']:.1f}" for r in metrics["modalities"]]
    assert ["last", *lasts] in [line.split() for line in out.splitlines()]
    for name in ("forgetting_av_cil", "worst_tenth", "adaptive_ece", "modality_gap"):
        assert f"  {name} = " in out
    assert "few" in out
    assert metrics["num_train_per_class"] == dict.fromkeys(metrics["classes"], 5)


def test_metrics_as_json(cign, world):
    code, out, err = cign("metrics", world.run, "--json")
    (found,) = json.loads(out)
    assert (code, err) == (0, "")
    metrics = json.loads((world.run / "metrics.json").read_text())
    for modality, wanted in metrics["modalities"].items():
        ours = found["numbers"]["incremental"][modality]
        assert {name: wanted[name] for name in ours} == ours
    assert found["lacking"] == {}
    assert -1 <= found["numbers"]["embeddings"]["audio"]["silhouette"] <= 1
    assert len(found["tables"]["reliability"]["audio"]) == 15
    assert sum(map(sum, found["tables"]["confusion_audio_visual"])) == 12
    for group, numbers in found["numbers"].items():
        named = {name for values in numbers.values() for name in values}
        assert named <= set(found["definitions"][group])


def test_metrics_of_a_run_of_an_older_version_say_what_is_missing(cign, world, tmp_path):
    old = shutil.copytree(world.run, tmp_path / "old")
    (old / "embeddings.parquet").unlink()
    metrics = json.loads((old / "metrics.json").read_text())
    del metrics["num_train_per_class"]
    (old / "metrics.json").write_text(json.dumps(metrics))
    code, out, err = cign("metrics", old)
    assert code == 0
    assert "silhouette" not in out
    assert "No embeddings: the run was made by an older version" in err
    assert "No recall by class frequency" in err
    # What the sentences promise: going on with the finished run adds both.
    assert cign("train", world.store, "--out", old, "--resume")[0] == 0
    new, before = (
        json.loads(cign("metrics", old, "--json")[1]),
        json.loads(cign("metrics", world.run, "--json")[1]),
    )
    assert new[0]["numbers"] == before[0]["numbers"]


def test_metrics_refuses_what_is_no_run(cign, world, tmp_path):
    refused(cign("metrics"), "RUN is missing")
    refused(cign("metrics", tmp_path), "holds no metrics.json")
    refused(cign("metrics", world.clips / "clips.csv"), "is not a folder")
    broken = shutil.copytree(world.run, tmp_path / "broken")
    (broken / "embeddings.parquet").write_bytes(b"nothing")
    refused(cign("metrics", broken), "embeddings", "cannot be read")
    (broken / "predictions.parquet").unlink()
    refused(cign("metrics", broken), "predictions not found")
