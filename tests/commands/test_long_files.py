"""`cign predict` on a file of ten minutes holds no more memory than on one of a minute."""

import json
import os
import subprocess
import sys
from pathlib import Path

import imageio_ffmpeg
import pytest

from cign.data.media.container import Media
from cign.data.media.decode import PRESETS
from cign.data.media.windows import decode_windows
from cign.learner import Learner

# kB. Ten minutes of these frames decoded are 1.7 GB, of their sound in two channels 212 MB.
MOST_MORE = 20_000
MOST_MORE_LATER = 8_000  # less than the sound of nine minutes as it is read, 17 MB


def film(path, seconds):
    """Moving images and a tone that rises and falls, H.264 and AAC, by ffmpeg."""
    tone = f"aevalsrc=0.4*sin(2*PI*(300+80*sin(t))*t)|0.3*sin(1700*t):d={seconds}:s=44100"
    subprocess.run(
        [
            *(imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-threads", "1"),
            *("-f", "lavfi", "-i", f"testsrc2=size=320x240:rate=25:duration={seconds}"),
            *("-f", "lavfi", "-i", tone),
            *("-c:v", "libx264", "-preset", "ultrafast", "-g", "250", "-pix_fmt", "yuv420p"),
            *("-c:a", "aac", str(path)),
        ],
        check=True,
    )
    return path


def test_nothing_is_said_of_what_a_broken_file_does_not_hold(tmp_path):
    """Matroska names its length in front: what it promises need not be there."""
    whole = film(tmp_path / "whole.mkv", 20)
    broken = tmp_path / "broken.mkv"
    data = whole.read_bytes()
    broken.write_bytes(data[: int(len(data) * 0.45)])
    spec = PRESETS["small"]
    with Media.open(broken) as media:
        assert media.container.duration > 19e6
        assert media.timeline.is_cut
        end_s = media.duration_s()
    assert 6 < end_s < 12
    found = list(decode_windows(broken, spec, 2.0))
    assert len(found) in (int(end_s // 2), int(end_s // 2) + 1)
    assert found[-1].end_s <= end_s
    assert any(name == "damaged" for name, _ in found[-1].conditions)
    assert not any(name == "damaged" for one in found[:2] for name, _ in one.conditions)
    assert len(list(decode_windows(whole, spec, 2.0))) == 10


def resident():
    """Memory that this process holds now, in kB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") // 1000


def predicted(model, file, out, *options):
    """What the command says in a process of its own, and the most memory it held, in kB."""
    command = [
        sys.executable,
        "-m",
        "cign.cli.entry_point",
        "predict",
        str(model),
        str(file),
        "--json",
    ]
    with out.open("w") as stdout:
        child = subprocess.Popen([*command, *options], stdout=stdout, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(child.pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    return json.loads(out.read_text()), usage.ru_maxrss


@pytest.fixture(scope="module")
def ten_minutes(tmp_path_factory):
    return film(tmp_path_factory.mktemp("long") / "600.mp4", 600)


@pytest.mark.slow
def test_the_command_holds_no_more_for_ten_minutes_than_for_one(runs, ten_minutes, tmp_path):
    held = []
    for file, seconds in ((film(tmp_path / "60.mp4", 60), 60), (ten_minutes, 600)):
        said, most = predicted(runs / "cign_analytic", file, tmp_path / "said.json", "--every", "1")
        assert [one["start_s"] for one in said] == [float(s) for s in range(seconds)]
        assert all(one["error"] is None for one in said)
        held.append(most)
    assert held[1] <= held[0] + MOST_MORE


@pytest.mark.slow
def test_the_last_minute_of_ten_holds_what_the_second_did(runs, ten_minutes):
    """Finer than the most a process ever held, which loading a model may set.

    What is freed comes and goes by some 15 MB; what is kept shows in the least that is held.
    """
    learner = Learner.load(runs / "cign_analytic")
    held = [resident() for _ in learner.predict([ten_minutes], every_s=1.0)]
    assert len(held) == 600
    assert min(held[540:]) <= min(held[60:120]) + MOST_MORE_LATER
