"""Windows of live sources: those of the same content as a file, whatever happens on the way."""

import functools
import http.server
import shutil
import threading
import time

import numpy as np
import pytest

from cign.data.media.decode import MediaSpec
from cign.data.media.windows import decode_windows

from .sources import SPEC, Rtsp, ffmpeg, notes, read, windows


def check_same(live, file, *, num_last=0):
    """The same windows; the last, incomplete ones may hold other frames."""
    assert len(live) == len(file)
    for number, (one, other) in enumerate(zip(live, file, strict=True)):
        if number < len(file) - num_last:
            assert (one.start_s, one.end_s) == (other.start_s, other.end_s)
            assert np.array_equal(one.audio, other.audio)
            assert np.array_equal(one.frames, other.frames)
        assert (one.has_audio, one.has_visual) == (other.has_audio, other.has_visual)


@pytest.mark.parametrize(
    "name", ["one.ts", "one.mkv", "fragmented.mp4", "one.wav", "audio.ts", "video.ts"]
)
def test_a_file_that_grows_gives_the_windows_of_the_finished_file(media, tmp_path, name):
    data = (media / name).read_bytes()
    growing = tmp_path / name

    def write():
        with growing.open("ab", buffering=0) as file:
            for at in range(0, len(data), len(data) // 8 + 1):
                file.write(data[at : at + len(data) // 8 + 1])
                time.sleep(0.05)

    growing.touch()
    threading.Thread(target=write).start()
    items = read(growing, follow=True)
    assert items[-1].is_end
    assert items[-1].error is None
    check_same(windows(items), list(decode_windows(media / name, SPEC, 0.5)), num_last=2)
    assert sum(one.num_dropped for one in items) == 0


@pytest.mark.parametrize("every_s", [0.3, 1.7])
def test_steps_shorter_and_longer_than_a_window(media, every_s):
    spec = MediaSpec(num_frames=3, frame_px=32, rate_hz=22050, window_s=0.8)
    items = read(media / "one.ts", spec, follow=True, every_s=every_s)
    check_same(windows(items), list(decode_windows(media / "one.ts", spec, every_s)), num_last=3)


def test_http_is_read_at_its_speed(media, live_server):
    server = live_server.LiveServer((media / "one.ts").read_bytes(), speed=2)
    items = read(server.url)
    assert items[-1].is_end
    assert items[-1].error is None
    check_same(windows(items), list(decode_windows(media / "one.ts", SPEC, 0.5)), num_last=2)
    # A window has arrived when the server has sent its end, and not before.
    for one in items:
        if one.window is not None and one.window.decoded.end_s < 3.9:
            sent_s = server.begun_s + one.window.decoded.end_s / server.speed
            assert -0.1 < one.window.arrived_s - sent_s < 2


def test_rtsp_is_read(media, live_server):
    schedule = live_server.Schedule((media / "one.ts").read_bytes())
    server = Rtsp(schedule, 2)
    found = windows(read(server.url))
    file = list(decode_windows(media / "one.ts", SPEC, 0.5))
    assert len(found) >= 5
    check_same(found[:5], file[:5])


def test_a_cut_connection_goes_on_at_its_time(media, live_server):
    data = (media / "one.ts").read_bytes()
    server = live_server.LiveServer(data, cuts_s=[1.6], outage_s=0.3)
    items = read(server.url, reconnect_s=10, seconds=12, most=4)
    first, second = notes(items)[:2]
    assert "trying again" in first
    assert second.startswith("it is back after")
    file = {one.start_s: one for one in decode_windows(media / "one.ts", SPEC, 0.5)}
    found = windows(items)
    assert [one.start_s for one in found] == sorted({one.start_s for one in found})
    assert any(one.start_s > 1.6 for one in found)
    whole = [one for one in found if one.end_s <= 4]
    assert len(whole) >= 3
    for one in whole:
        # After the cut, decoding begins between two samples of the audio of the file.
        step = np.abs(one.audio.astype(int) - file[one.start_s].audio.astype(int))
        assert np.median(step) <= 400
        assert np.array_equal(one.frames[-1], file[one.start_s].frames[-1])


def test_timestamps_that_restart_and_another_size_and_rate(media, tmp_path):
    joined = tmp_path / "joined.ts"
    joined.write_bytes((media / "one.ts").read_bytes() + (media / "other.ts").read_bytes())
    items = read(joined, follow=True)
    found, file = windows(items), list(decode_windows(joined, SPEC, 0.5))
    check_same(found[:6], file[:6])
    assert abs(found[-1].end_s - file[-1].end_s) < 0.1
    for one in found[9:-2]:
        spectrum = np.abs(np.fft.rfft(one.audio.astype(float)))
        assert abs(spectrum.argmax() - 880) <= 2
        assert one.has_visual


def test_another_codec_is_opened_anew(media, tmp_path):
    joined = tmp_path / "joined.ts"
    joined.write_bytes((media / "one.ts").read_bytes() + (media / "mpeg2.ts").read_bytes())
    items = read(joined, follow=True)
    assert any("its format has changed" in note for note in notes(items))
    later = [one for one in windows(items) if one.start_s >= 5.5]
    assert len(later) >= 3
    for one in later[:3]:
        assert abs(np.abs(np.fft.rfft(one.audio.astype(float))).argmax() - 880) <= 2
        assert np.ptp(one.frames) > 100


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("lavfi:testsrc2=s=96x64:r=25", (False, True)),
        ("lavfi:sine=440", (True, False)),
        ("lavfi:testsrc2=s=96x64:r=25+lavfi:sine=440", (True, True)),
    ],
)
def test_devices_alone_and_together(name, kinds):
    found = windows(read(f"device:{name}", most=3))
    assert [one.start_s for one in found[:3]] == [0.0, 0.5, 1.0]
    for one in found[:3]:
        assert (one.has_audio, one.has_visual) == kinds


def test_a_track_that_stops_is_missing(media, tmp_path):
    """The video goes on after the audio has ended."""
    shutil.copy(media / "video.ts", tmp_path / "video.ts")
    shutil.copy(media / "audio.ts", tmp_path / "audio.ts")
    ffmpeg(tmp_path, "-i video.ts -t 1.5 -i audio.ts -c copy -f mpegts short.ts")
    found = windows(read(tmp_path / "short.ts", follow=True))
    assert all(one.has_visual for one in found)
    assert [one.has_audio for one in found if one.start_s < 1] == [True, True]
    assert not any(one.has_audio for one in found if one.start_s >= 2)


def test_hls_is_read_without_drops(media, tmp_path):
    handler = functools.partial(Quiet, directory=str(tmp_path))
    ffmpeg(tmp_path, f"-i {media / 'one.ts'} -c copy -hls_time 1 -hls_list_size 0 list.m3u8")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        items = read(f"http://127.0.0.1:{server.server_address[1]}/list.m3u8")
        server.shutdown()
    assert items[-1].error is None
    check_same(windows(items), list(decode_windows(media / "one.ts", SPEC, 0.5)), num_last=2)
    assert not any(one.is_paced for one in items if one.window is not None)


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        """Say nothing."""
