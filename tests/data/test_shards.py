"""Clips in tar files: the same clips as outside, nothing that leaves the tar, damage listed."""

import io
import json
import tarfile
from pathlib import Path

import av
import numpy as np
import pytest

from cign.data.formats import read_source
from cign.data.media.decode import MediaSpec, decode
from cign.data.prepare.pipeline import prepare
from cign.data.shards import as_file, key_of, media_exists, on_disk, read_index
from cign.data.store import Store
from cign.errors import InputError
from refusals import input_error

SMALL = MediaSpec(frame_px=32, rate_hz=8000, window_s=1.0)


def write_tar(path, members, **kwargs):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", **kwargs) as tar:
        for name, content in members:
            info = name if isinstance(name, tarfile.TarInfo) else tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def record(**columns):
    return json.dumps(columns).encode()


@pytest.fixture(scope="module")
def mp4(tiny):
    return min(tiny[0].rglob("*.mp4")).read_bytes()


def samples(mp4, labels=("a", "b"), per_class=3, start=0):
    """Members of clips with a record each."""
    result = []
    for number in range(len(labels) * per_class):
        key = f"{start + number:06d}"
        result += [
            (f"{key}.mp4", mp4),
            (f"{key}.json", record(labels=[labels[number % len(labels)]])),
        ]
    return result


# ------------------------------------------------------------------------- there and back again


def test_shards_of_a_source_hold_the_same_list_and_decode_to_the_same_bytes(cign, tiny, tmp_path):
    code, _, err = cign(
        *("inspect", tiny[0], "--write-shards", tmp_path / "shards", "--per-shard", "10")
    )
    assert code == 0, err
    names = sorted(path.name for path in (tmp_path / "shards").glob("*.tar"))
    assert names == [f"{s}-{n:06d}.tar" for s, n in (("test", 0), ("test", 1))] + [
        *(f"train-{n:06d}.tar" for n in range(3)),
        "val-000000.tar",
    ]
    before, after = read_source(tiny[0]), read_source(tmp_path / "shards")
    assert after.list_hash == before.list_hash
    assert after.class_names == before.class_names
    by_id = {clip.id: clip for clip in before.clips}
    for clip in after.clips:
        other = by_id[clip.id]
        same = ("labels", "split", "source", "boxes", "sounds", "audio_present", "visual_present")
        assert all(getattr(clip, name) == getattr(other, name) for name in same), clip.id
    spec = Store.open(tiny[1]).spec
    prepare(tmp_path / "shards", tmp_path / "store", spec=spec, num_workers=1)
    ours, theirs = Store.open(tmp_path / "store"), Store.open(tiny[1])
    assert ours.list_hash == theirs.list_hash
    assert ours.info["synth"] == theirs.info["synth"]
    rows = {clip.id: row for row, clip in enumerate(theirs.table.clips)}
    order = np.array([rows[clip.id] for clip in ours.table.clips])
    everything = np.arange(len(order))
    np.testing.assert_array_equal(ours.frames(everything), theirs.frames(order))
    np.testing.assert_array_equal(ours.audio(everything), theirs.audio(order))


def test_the_same_list_gives_the_same_bytes_and_shards_can_be_cut_anew(cign, tiny, tmp_path):
    for name in ("one", "two"):
        assert cign("inspect", tiny[0], "--write-shards", tmp_path / name)[0] == 0
    read = {
        name: {p.name: p.read_bytes() for p in (tmp_path / name).iterdir()}
        for name in ("one", "two")
    }
    assert read["one"] == read["two"]
    again = ("inspect", tmp_path / "one", "--write-shards", tmp_path / "cut", "--per-shard", "7")
    assert cign(*again)[0] == 0
    assert read_source(tmp_path / "cut").list_hash == read_source(tiny[0]).list_hash
    clips = read_source(tmp_path / "cut").clips
    assert {key_of(clip.path.name)[1] for clip in clips} == {"mp4"}


def test_webdataset_reads_what_is_written_and_we_read_what_it_writes(cign, tiny, tmp_path, mp4):
    webdataset = pytest.importorskip("webdataset", reason="the test compares with webdataset")
    assert cign("inspect", tiny[0], "--write-shards", tmp_path / "ours")[0] == 0
    clips = {clip.id: clip for clip in read_source(tiny[0]).clips}
    shards = sorted(str(path) for path in (tmp_path / "ours").glob("*.tar"))
    seen = 0
    for sample in webdataset.WebDataset(shards, shardshuffle=False):
        columns = json.loads(sample["json"])
        clip = clips[columns["id"]]
        assert sample["mp4"] == clip.path.read_bytes()
        assert tuple(columns["labels"]) == clip.labels
        seen += 1
    assert seen == len(clips)
    (tmp_path / "theirs").mkdir()
    pattern = str(tmp_path / "theirs" / "train-%06d.tar")
    with webdataset.ShardWriter(pattern, maxcount=4, verbose=0) as writer:
        for number in range(10):
            writer.write({"__key__": f"k{number:03d}", "mp4": mp4, "cls": number % 2})
    (tmp_path / "theirs" / "classnames.txt").write_text("dog\ncat\n")
    table = read_source(tmp_path / "theirs")
    assert [clip.labels[0] for clip in table.clips] == ["dog", "cat"] * 5
    assert table.class_names == ("dog", "cat")
    assert all(media_exists(clip.path) for clip in table.clips)


def test_a_sound_and_a_picture_are_one_clip(tmp_path):
    rng = np.random.default_rng(0)
    sound = (8000 * np.sin(np.arange(16000 * 2) * 0.05)).astype(np.int16)
    picture = np.kron(rng.integers(0, 255, (4, 4, 3)), np.ones((16, 16, 1))).astype(np.uint8)
    wav, jpg = io.BytesIO(), io.BytesIO()
    with av.open(wav, "w", format="wav") as out:
        track = out.add_stream("pcm_s16le", rate=16000, layout="mono")
        frame = av.AudioFrame.from_ndarray(sound[None], format="s16", layout="mono")
        frame.sample_rate = 16000
        out.mux([*track.encode(frame), *track.encode(None)])
    with av.open(jpg, "w", format="mjpeg") as out:
        track = out.add_stream("mjpeg", rate=1)
        track.width = track.height = 64
        track.pix_fmt = "yuvj444p"
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
        out.mux([*track.encode(frame), *track.encode(None)])
    members = []
    for key, label in (("0", "a"), ("1", "b"), ("2", "a"), ("3", "b")):
        members += [(f"{key}.wav", wav.getvalue()), (f"{key}.jpg", jpg.getvalue())]
        members += [(f"{key}.cls", label.encode())]
    write_tar(tmp_path / "train.tar", members)
    table = read_source(tmp_path)
    assert [clip.path.name for clip in table.clips] == [f"{i}.jpg+wav" for i in range(4)]
    spec = MediaSpec(frame_px=64, rate_hz=16000, window_s=1.0)
    with as_file(table.clips[0].path) as path:
        decoded = decode(path, spec)
    assert not path.exists()
    assert decoded.has_audio
    assert decoded.has_visual
    # The middle second of the sound, sample for sample; the picture as JPEG has it.
    np.testing.assert_array_equal(decoded.audio, sound[8000:24000])
    apart = np.abs(decoded.frames[0].astype(int) - picture).mean()
    assert apart < 6, apart


# ----------------------------------------------------------------------------- labels and splits


def test_where_splits_and_classes_come_from(tmp_path, mp4):
    write_tar(tmp_path / "train-000.tar", samples(mp4))
    write_tar(tmp_path / "val" / "0.tar", [("x.mp4", mp4), ("x.cls", b"a\n")])
    named = record(label="b", split="test", start_s=0.2, end_s=0.9, source="film", id="own/name")
    write_tar(tmp_path / "test_0.tar", [("d/y.v1.MP4", mp4), ("d/y.json", named)])
    table = read_source(tmp_path)
    assert table.counts() == {"train": {"a": 3, "b": 3}, "val": {"a": 1}, "test": {"b": 1}}
    last = {clip.id: clip for clip in table.clips}["own/name"]
    assert (last.start_s, last.end_s, last.source) == (0.2, 0.9, "film")
    assert last.path == tmp_path / "test_0.tar" / "d" / "y.v1.MP4"
    assert on_disk(last.path) == tmp_path / "test_0.tar"
    assert table.clips[-1].id == "val/0/x"
    assert read_source(tmp_path / "train-000.tar").counts() == {"train": {"a": 3, "b": 3}}


def test_clips_without_any_split_are_divided(tmp_path, mp4):
    write_tar(tmp_path / "shard-0.tar", samples(mp4, per_class=10))
    counts = read_source(tmp_path).counts()
    assert counts == {
        split: {"a": n, "b": n} for split, n in (("train", 7), ("val", 1), ("test", 2))
    }
    write_tar(tmp_path / "test-0.tar", samples(mp4, start=100))
    with input_error("bad-list", "KEY.json"):
        read_source(tmp_path)


def test_shards_in_hidden_folders_are_none_and_linked_ones_are_read(tmp_path, mp4):
    (tmp_path / "far").mkdir()
    write_tar(tmp_path / "far" / "1.tar", samples(mp4, start=50))
    write_tar(tmp_path / "s" / "train" / "0.tar", samples(mp4))
    write_tar(tmp_path / "s" / ".trash" / "train-2.tar", samples(mp4, start=100))
    write_tar(tmp_path / "s" / ".train-3.tar", samples(mp4, start=150))
    (tmp_path / "s" / "val").symlink_to(tmp_path / "far")
    assert read_source(tmp_path / "s").counts() == {
        "train": {"a": 3, "b": 3},
        "val": {"a": 3, "b": 3},
    }


def test_members_whose_names_are_not_utf8_are_clips(tmp_path, mp4):
    odd = b"caf\xe9".decode("utf-8", "surrogateescape")
    more = [(f"{odd}.mp4", mp4), (f"{odd}.cls", b"a")]
    write_tar(tmp_path / "train-0.tar", [*samples(mp4), *more])
    (clip,) = [clip for clip in read_source(tmp_path).clips if "caf" in clip.id]
    assert clip.id == r"train-0/caf\xe9"
    assert media_exists(clip.path)
    report = prepare(tmp_path / "train-0.tar", tmp_path / "store", spec=SMALL, num_workers=1)
    assert (report.num_listed, report.num_usable) == (7, 7)


# ------------------------------------------------------------------------ what must not be trusted


def test_names_that_leave_the_tar_and_links_are_left_out(tmp_path, mp4):
    secret = tmp_path / "secret.mp4"
    secret.write_bytes(mp4)
    members = samples(mp4)
    for name in ("../secret.mp4", "/etc/passwd.mp4", "a/../../secret.mp4", "a\nb.mp4"):
        members.append((name, mp4))
    for name, kind in (("link.mp4", tarfile.SYMTYPE), ("hard.mp4", tarfile.LNKTYPE)):
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, str(secret)
        members.append((info, b""))
    pipe = tarfile.TarInfo("pipe.mp4")
    pipe.type = tarfile.FIFOTYPE
    members.append((pipe, b""))
    write_tar(tmp_path / "shards" / "train-0.tar", members)
    table = read_source(tmp_path / "shards")
    assert len(table.clips) == 6
    assert any("7 files links or have names that leave" in note for note in table.notes)
    assert not media_exists(tmp_path / "shards" / "train-0.tar" / "link.mp4")
    bad = record(labels=["a"], id="../../outside")
    write_tar(tmp_path / "shards" / "train-1.tar", [("z.mp4", mp4), ("z.json", bad)])
    with input_error("bad-list", "train-1.tar/z.json", "'../../outside'", "shards"):
        read_source(tmp_path / "shards")


@pytest.mark.parametrize("cut", ["member", "header", "end", "garbage", "empty"])
def test_a_damaged_shard_is_listed_and_what_stands_before_is_used(cut, tmp_path, mp4):
    whole = write_tar(tmp_path / "whole.tar", samples(mp4)).read_bytes()
    index = read_index(tmp_path / "whole.tar")
    assert index.damage == ""
    last = index.members["000005.mp4"]
    end = index.members["000005.json"][0] + 512
    content = {
        "member": whole[: last[0] + 100],
        "header": whole[: last[0] - 400],
        "end": whole[:end],
        "garbage": whole[: last[0] - 512] + b"x" * 5000,
        "empty": b"",
    }[cut]
    (tmp_path / "shards").mkdir()
    (tmp_path / "shards" / "train-0.tar").write_bytes(content)
    write_tar(tmp_path / "shards" / "train-1.tar", samples(mp4, start=50))
    table = read_source(tmp_path / "shards")
    (note,) = [note for note in table.notes if "damaged" in note]
    assert note.startswith("shard train-0.tar is damaged (")
    assert len(table.clips) == 6 + {"end": 6, "empty": 0}.get(cut, 5)


def test_clips_that_lack_something_are_counted(tmp_path, mp4):
    more = [("n1.mp4", mp4), ("n2.json", record(labels=["a"])), ("n3.txt", b"hello")]
    write_tar(tmp_path / "train-0.tar", samples(mp4) + more)
    notes = " / ".join(read_source(tmp_path).notes)
    assert "have no KEY.json or KEY.cls and were left out" in notes
    assert "have no video or audio of the same key and were left out" in notes


def test_a_broken_clip_in_a_shard_is_a_line_in_the_report(tmp_path, mp4):
    members = [*samples(mp4), ("bad.mp4", b"not a film"), ("bad.cls", b"a")]
    write_tar(tmp_path / "shards" / "train-0.tar", members)
    report = prepare(tmp_path / "shards", tmp_path / "store", spec=SMALL, num_workers=0)
    assert (report.num_listed, report.num_usable) == (7, 6)
    assert report.conditions["unreadable"] == 1
    # A tar that was replaced since is decoded again, and a member that went is missing.
    assert not media_exists(tmp_path / "shards" / "train-0.tar" / "gone.mp4")


@pytest.mark.parametrize(
    ("members", "sentence"),
    [
        ([], "contain no clip (they are empty)"),
        ([("a.mp4", b"x"), ("a.json", b"{")], "a.json cannot be read"),
        ([("a.mp4", b"x"), ("a.json", b"[1]")], "it is not an object"),
        ([("a.mp4", b"x"), ("a.json", b"[" * 100_000)], "a.json cannot be read"),
        ([("a.mp4", b"x"), ("a.cls", b"\xff\xfe")], "a.cls is not UTF-8"),
        ([("a.mp4", b"x"), ("a.json", b'{"labels": ["a"], "split": "dev"}')], "use one of train"),
    ],
)
def test_what_is_wrong_is_one_sentence(members, sentence, tmp_path):
    write_tar(tmp_path / "train-0.tar", members)
    with pytest.raises(InputError) as caught:
        read_source(tmp_path, format="webdataset")
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_cannot_be_read_by_index_or_has_no_meaning_is_refused(cign, tiny, tmp_path):
    write_tar(tmp_path / "train-0.tar", [])
    with input_error("conflicting-options", "--media"):
        read_source(tmp_path, media=[tmp_path])
    (tmp_path / "train-1.tar.gz").write_bytes(b"")
    with input_error("wrong-format", "train-1.tar.gz"):
        read_source(tmp_path)
    (tmp_path / "none").mkdir()
    with pytest.raises(InputError, match=r"contains no .tar file"):
        read_source(tmp_path / "none", format="webdataset")
    code, _, err = cign("inspect", tiny[0], "--per-shard", "5")
    assert (code, "--per-shard has no effect without --write-shards" in err) == (2, True)
    code, _, err = cign("inspect", tiny[0], "--write-shards", tiny[0])
    assert (code, "which is not a shard of this list: give a new folder" in err) == (2, True)
    code, _, err = cign("inspect", tiny[1], "--write-shards", tmp_path / "x")
    assert (code, "--write-shards does not apply to a prepared store" in err) == (2, True)


def test_a_class_number_beyond_the_names_is_refused(tmp_path, mp4):
    write_tar(tmp_path / "train-0.tar", [("a.mp4", mp4), ("a.cls", b"2")])
    (tmp_path / "classnames.txt").write_text("dog\ncat\n")
    with input_error("bad-list", "a.cls", "2", "classnames.txt"):
        read_source(tmp_path)


def test_files_that_are_no_longer_there_are_left_out_and_told(cign, tiny, tmp_path):
    import shutil

    clips = Path(shutil.copytree(tiny[0], tmp_path / "clips"))
    read_source(clips).clips[0].path.unlink()
    code, out, _ = cign("inspect", clips, "--write-shards", tmp_path / "shards")
    assert code == 0
    assert "written: 43 clips" in out
    assert "1 of 44 files are missing" in out
