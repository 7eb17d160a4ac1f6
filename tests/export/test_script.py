"""The commands of docs/export.md, and the script beside an export, without cign and torch."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import pages
from cign.backbones.registry import load_backbone
from cign.data.media.decode import MediaError, MediaSpec, decode
from cign.data.prepare.pipeline import prepare
from cign.export.script import SCRIPT, script
from cign.inference.predict import predict_files
from cign.learner import Learner

from .toys import ToyBackbone

for name in ("onnxruntime", "onnxscript"):
    pytest.importorskip(name, reason="needs the extra export")

NOT_HERE = "raise ImportError('this must run without it')\n"


# Whatever a reader may treat in its own way.
ODD = [
    *("base.mp4", "turned.mp4", "cover.m4a", "one_frame.mkv", "two_audio.mkv", "two_audio.mp4"),
    *("late.mkv", "late.webm", "subtitles.mkv", "apart.mp4", "keys.ts", "keys.mpg", "twice.ts"),
    *("raw.h264", "live.webm", "piped.mkv", "piped.avi", "fragments.mp4", "repeated.ogv"),
    *("mono.wav", "audio.m4a", "video.mp4", "chained.ogg", "palette.gif", "image.jpg"),
]

CONDITIONS = [
    *("ten_bit.mp4", "hevc.mkv", "odd.mkv", "variable.mp4", "pause.mp4", "surround.mp4"),
    *("rotated.mov", "picture.mp4", "sound.mp3", "silent.mp4", "short.mp4"),
]


def alone(arguments, folder):
    """Run Python where neither cign nor torch can be imported; gives the lines it printed."""
    stubs = folder / "stubs"
    stubs.mkdir(exist_ok=True)
    for name in ("cign", "torch"):
        (stubs / f"{name}.py").write_text(NOT_HERE)
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(stubs)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def check_answers(lines, wanted):
    """What the script printed against predictions with all classes."""
    answers = [json.loads(line) for line in lines]
    assert [one["file"] for one in answers] == [one.file for one in wanted]
    for ours, theirs in zip(wanted, answers, strict=True):
        assert theirs["error"] == ours.error
        assert theirs["error_code"] == ours.error_code
        assert theirs["label"] == ours.label
        if ours.error:
            continue
        for name, entries in ours.modalities.items():
            probabilities = {one["label"]: one["probability"] for one in entries}
            found = {one["label"]: one["probability"] for one in theirs["modalities"][name]}
            assert found == pytest.approx(probabilities, abs=1e-4)
        assert (theirs["start_s"], theirs["end_s"]) == (ours.start_s, ours.end_s)
        assert theirs["missing"] == ours.missing
        assert abs(theirs["unknown"] - ours.unknown) <= 1e-4
        assert theirs["unknown_threshold"] == ours.unknown_threshold
        if abs(ours.unknown - ours.unknown_threshold) > 1e-4:
            assert theirs["is_unknown"] == ours.is_unknown


def one_track(clip, folder):
    """Copies of a clip with audio alone and with images alone."""
    import imageio_ffmpeg

    made = []
    for option in ("-vn", "-an"):
        made.append(str(folder / f"only{option}.mp4"))
        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", clip, option, "-c", "copy"]
        subprocess.run([*command, made[-1]], check=True)
    return made


@pytest.fixture
def odd_files(odd, media, tmp_path):
    """Odd media, some that are no media, and audio whose image is a file of its own."""
    (tmp_path / "text.mp4").write_text("no media")
    with_image = tmp_path / "audio" / "x.wav"
    with_image.parent.mkdir()
    with_image.write_bytes(odd("mono.wav").read_bytes())
    (tmp_path / "frames").mkdir()
    (tmp_path / "frames" / "x.JPG").write_bytes(odd("image.jpg").read_bytes())
    others = (with_image, tmp_path / "text.mp4", tmp_path / "absent.mp4", tmp_path)
    made = [*map(odd, ODD), *map(media, CONDITIONS)]
    return [str(path) for path in (*made, *others)]


def test_the_script_on_a_toy_network(toy_export, tiny, tmp_path):
    model, exported = toy_export
    files = sorted(map(str, (tiny[0] / "test").rglob("*.mp4")))[:6]
    files += one_track(files[0], tmp_path)
    lines = alone([exported.folder / SCRIPT, "--top", "99", *files], tmp_path)
    wanted = list(predict_files(model, ToyBackbone(), files, top=len(model.classes)))
    assert [one.missing for one in wanted][-2:] == [["visual"], ["audio"]]
    check_answers(lines, wanted)


def test_the_script_on_odd_media(toy_export, odd_files, tmp_path):
    model, exported = toy_export
    lines = alone([exported.folder / SCRIPT, "--top", "99", *odd_files], tmp_path)
    wanted = list(predict_files(model, ToyBackbone(), odd_files, top=len(model.classes)))
    assert sum(one.error is not None for one in wanted) == 5
    check_answers(lines, wanted)


def test_the_windows_of_the_script(toy_export, odd, tmp_path):
    model, exported = toy_export
    files = [str(odd(name)) for name in ("late.mkv", "twice.ts", "turned.mp4", "mono.wav")]
    lines = alone([exported.folder / SCRIPT, "--top", "99", "--every", "3", *files], tmp_path)
    wanted = list(predict_files(model, ToyBackbone(), files, top=len(model.classes), every_s=3.0))
    assert len(wanted) == 3 + 6 + 3 + 3
    check_answers(lines, wanted)


DECODE = """
import json, sys
from pathlib import Path
import predict
spec = predict.MediaSpec(num_frames=3, frame_px=64, rate_hz=16000)
for path in sys.argv[1:]:
    try:
        clip = predict.decode(Path(path), spec)
        print(json.dumps([clip.content_hash, clip.start_s, clip.end_s, clip.conditions]))
    except predict.MediaError as error:
        print(json.dumps(str(error)))
"""


def described(path):
    """What the script above prints of a file, by this package."""
    try:
        clip = decode(Path(path), MediaSpec(num_frames=3, frame_px=64, rate_hz=16000))
    except MediaError as error:
        return str(error)
    return [clip.content_hash, clip.start_s, clip.end_s, [list(one) for one in clip.conditions]]


def test_the_script_decodes_as_cign_does(odd_files, tmp_path):
    (tmp_path / SCRIPT).write_text(script())
    (tmp_path / "read.py").write_text(DECODE)
    lines = alone([tmp_path / "read.py", *odd_files[:-1]], tmp_path)
    wanted = [described(path) for path in odd_files[:-1]]
    assert [json.loads(line) for line in lines] == wanted
    assert sum(isinstance(one, str) for one in wanted) == 4
    assert len({one[0] for one in wanted if not isinstance(one, str)}) > 15


def test_the_script_fails_where_every_file_does(toy_export, tmp_path):
    _, exported = toy_export
    command = [sys.executable, str(exported.folder / SCRIPT), str(tmp_path / "absent.mp4")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    answer = json.loads(done.stdout)
    assert answer["error"] == "missing: the file does not exist"
    assert answer["error_code"] == "file-missing"
    assert "Traceback" not in done.stderr


def test_the_script_refuses_options_without_a_meaning(toy_export):
    _, exported = toy_export
    for option, value in (("--top", "0"), ("--top", "-1"), ("--every", "0")):
        command = [sys.executable, str(exported.folder / SCRIPT), option, value, "a.mp4"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert f"error: {option} is {value}: use a number" in done.stderr


def test_the_script_refuses_files_that_were_changed(toy_export, tmp_path):
    _, exported = toy_export
    copy = tmp_path / "copy"
    shutil.copytree(exported.folder, copy)
    data = bytearray((copy / "predictor.onnx").read_bytes())
    data[len(data) // 2] ^= 1
    (copy / "predictor.onnx").write_bytes(data)
    command = [sys.executable, str(copy / SCRIPT), "a.mp4"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "predictor.onnx has a wrong checksum" in done.stderr


def test_cign_cannot_be_imported_where_the_script_runs(tmp_path):
    with pytest.raises(AssertionError, match="this must run without it"):
        alone(["-c", "import cign"], tmp_path)


@pytest.mark.slow
def test_every_command_of_the_page(tiny, tmp_path, monkeypatch, capsys):
    torch.set_num_threads(1)
    monkeypatch.chdir(tmp_path)
    # Trained encoders: on random ones a clip is hardly told from another, and an answer hangs on
    # the last place of the rounded tokens.
    prepare(tiny[0], Path("store"), backbone=load_backbone("small"), num_workers=0)
    learner = Learner("cign_analytic").learn("store", tasks=2, out="work/run")
    files = sorted(map(str, tiny[0].rglob("*.mp4")))
    Path("clip.mp4").write_bytes(Path(files[0]).read_bytes())
    printed = []
    for line in pages.commands("export.md"):
        program, *words = line.split()
        if program == "pip":
            assert line == "pip install 'cign[export]'"
            assert importlib.util.find_spec("onnxscript")  # it was done before the tests
        elif program == "python":
            printed = alone(words, tmp_path)
            lines = alone([words[0], "--top", "99", *files], tmp_path)
        else:
            assert pages.run(line, {}) == 0, f"{line}: {capsys.readouterr().err}"
    assert len(printed) == 1
    classes = learner.model.classes
    wanted = list(learner.predict(files, top=len(classes)))
    assert len(wanted) >= 40
    check_answers(lines, wanted)
    assert "unknown scores differ from the model's by at most" in capsys.readouterr().out
    about = json.loads(Path("work/exported/predictor.json").read_text())
    assert about["unknown"]["score"] == "combined"
    assert about["inputs"]["waveform"]["shape"] == ["batch", "samples"]
    assert about["check"]["largest_difference"]["onnx"] <= about["check"]["tolerance"] == 1e-4


def test_what_lies_beside_the_file(toy_export):
    model, exported = toy_export
    about = json.loads((exported.folder / "predictor.json").read_text())
    assert about["classes"] == list(model.classes)
    assert about["check"]["num_clips"] == {"onnx": 50}
    assert about["checksums"].keys() == {"predictor.onnx"}
    assert sorted(path.name for path in exported.folder.parent.glob(".*")) == []
