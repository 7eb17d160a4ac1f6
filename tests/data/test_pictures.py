"""Audio and images in separate files, made and read again by ffmpeg."""

import numpy as np
import pytest
from PIL import Image

from cign.data.media.decode import MediaSpec, decode
from cign.data.media.image_files import pictures_of
from cign.data.media.windows import decode_windows
from cign.data.prepare.pipeline import prepare
from cign.data.store import Store

SPEC = MediaSpec(num_frames=1, frame_px=32, rate_hz=16000)


@pytest.fixture
def make(media, tmp_path):
    """Puts audio of 4 s and images of one grey level each into their folders."""

    def build(levels, name="clip", folder=None):
        sound = tmp_path / "corpus" / "audio" / f"{name}.wav"
        sound.parent.mkdir(parents=True, exist_ok=True)
        sound.write_bytes(media("mono.wav").read_bytes())
        frames = tmp_path / "corpus" / "frames"
        frames.mkdir(exist_ok=True)
        if isinstance(levels, int):
            Image.new("RGB", (60, 40), (levels,) * 3).save(frames / f"{name}.jpg", quality=95)
        else:
            (frames / name).mkdir()
            for number, level in enumerate(levels):
                picture = Image.new("RGB", (60, 40), (level,) * 3)
                picture.save(frames / name / f"{number + 1}.png")
        return sound

    return build


def levels_of(decoded):
    return [round(frame.mean()) for frame in decoded.frames]


def test_one_picture(make):
    decoded = decode(make(120), SPEC)
    assert decoded.has_audio
    assert decoded.has_visual
    assert abs(levels_of(decoded)[0] - 120) <= 2
    assert decoded.still is None
    assert [name for name, _ in decoded.conditions] == ["still not tested", "long"]
    assert np.abs(decoded.audio).max() > 1000


def test_many_pictures_share_the_length_of_the_sound_in_the_order_of_their_numbers(make):
    # 4 s of sound and 12 pictures: 1/3 s each; names 1 ... 12 sort by number, not by letter.
    levels = [20 * number for number in range(12)]
    decoded = decode(make(levels), MediaSpec(num_frames=3, frame_px=32, rate_hz=16000))
    # The window is 0.5 to 3.5 s, its frames at 1, 2 and 3 s: pictures 3, 6 and 9 from 0.
    assert levels_of(decoded) == [60, 120, 180]
    assert decoded.still is False
    assert decode(make([50] * 12, "same"), SPEC).still is True


def test_windows_of_a_long_sound_take_their_own_pictures(make):
    sound = make([10, 60, 110, 160], "a%03d")
    spec = MediaSpec(num_frames=1, frame_px=32, rate_hz=16000, window_s=1.0)
    assert [levels_of(one)[0] for one in decode_windows(sound, spec, 1.0)] == [10, 60, 110, 160]


def test_a_broken_picture_is_told_and_its_neighbour_is_shown(make, tmp_path):
    sound = make([20, 40, 60, 80])
    (tmp_path / "corpus" / "frames" / "clip" / "3.png").write_bytes(b"no picture")
    decoded = decode(sound, MediaSpec(num_frames=3, frame_px=32, rate_hz=16000))
    assert levels_of(decoded) == [40, 40, 80]
    assert dict(decoded.conditions)["damaged"].startswith("1 ")


def test_without_a_good_picture_only_the_sound_is_left(make, tmp_path):
    sound = make(120)
    (tmp_path / "corpus" / "frames" / "clip.jpg").write_bytes(b"no picture")
    decoded = decode(sound, SPEC)
    assert not decoded.has_visual
    assert {"damaged", "one modality"} <= {name for name, _ in decoded.conditions}


@pytest.mark.parametrize(
    "suffix", [".JPG", ".Jpeg", ".PNG", ".BMP", ".WEBP", ".tif", ".TIFF", ".gif"]
)
def test_the_suffix_of_an_image_is_of_any_case_and_format(suffix, make, tmp_path):
    sound = make(120)
    frames = tmp_path / "corpus" / "frames"
    (frames / "clip.jpg").unlink()
    (frames / "clip.txt").write_text("about the clip")
    Image.new("RGB", (60, 40), (200,) * 3).save(frames / f"clip{suffix}")
    decoded = decode(sound, SPEC)
    assert decoded.has_visual
    assert abs(levels_of(decoded)[0] - 200) <= 2
    assert "damaged" not in dict(decoded.conditions)


def test_images_in_a_folder_are_of_any_format_and_the_rest_is_ignored(make, tmp_path):
    sound = make([20, 40, 60, 80])
    folder = tmp_path / "corpus" / "frames" / "clip"
    for number, suffix in ((2, ".TIF"), (3, ".PNG"), (4, ".Gif")):
        (folder / f"{number}.png").rename(folder / f"{number}.old")
        Image.open(folder / f"{number}.old").save(folder / f"{number}{suffix}")
        (folder / f"{number}.old").unlink()
    (folder / "Thumbs.db").write_bytes(b"no image")
    decoded = decode(sound, MediaSpec(num_frames=3, frame_px=32, rate_hz=16000))
    assert levels_of(decoded) == [40, 60, 80]
    assert "damaged" not in dict(decoded.conditions)


def test_a_video_of_the_name_is_no_image(make, media, tmp_path):
    sound = make(120)
    frames = tmp_path / "corpus" / "frames"
    (frames / "clip.jpg").unlink()
    (frames / "clip.mp4").write_bytes(media("plain.mp4").read_bytes())
    assert pictures_of(sound) == []


def test_images_that_are_added_later_are_found(make, tmp_path):
    sound = make(120)
    frames = tmp_path / "corpus" / "frames"
    (frames / "clip.jpg").unlink()
    assert pictures_of(sound) == []
    Image.new("RGB", (60, 40), (200,) * 3).save(frames / "clip.JPG", format="JPEG")
    assert pictures_of(sound) == [frames / "clip.JPG"]


def test_a_sound_elsewhere_has_no_pictures(make, tmp_path):
    sound = make(120)
    assert pictures_of(sound) == [tmp_path / "corpus" / "frames" / "clip.jpg"]
    other = tmp_path / "corpus" / "sounds" / "clip.wav"
    other.parent.mkdir()
    sound.rename(other)
    assert pictures_of(other) == []
    assert not decode(other, SPEC).has_visual


def test_a_table_of_such_clips_is_prepared(make, tmp_path):
    rows = ["path,labels,split"]
    for number in range(8):
        make(20 * number, f"c{number}")
        split = "train" if number < 4 else "test"
        rows.append(f"audio/c{number}.wav,{'ab'[number % 2]},{split}")
    corpus = tmp_path / "corpus"
    (corpus / "clips.csv").write_text("\n".join(rows) + "\n")
    report = prepare(corpus, tmp_path / "store", spec=SPEC, num_workers=0)
    assert report.num_usable == 8
    assert not report.conditions.get("one modality")
    store = Store.open(tmp_path / "store")
    means = store.frames(np.arange(8)).mean(axis=(1, 2, 3, 4))
    np.testing.assert_allclose(means, [20 * number for number in range(8)], atol=2)
