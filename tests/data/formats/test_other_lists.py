"""Small made lists of AVE, Kinetics-Sounds and MUSIC; folders with another layout."""

from __future__ import annotations

import json

import pytest

from cign.errors import InputError
from lists import by_id, read, said, write
from refusals import input_error

# --- AVE ---

AVE = "Category&VideoID&Quality&StartTime&EndTime\n"


def ave_lines(start: int, stop: int) -> str:
    return "".join(
        f"{'Bell' if n % 2 else 'Cat'}&video_{n:05d}&good&{n % 3}&10\n" for n in range(start, stop)
    )


def test_ave_with_its_split_files(tmp_path):
    both = "Man speaking&bothbothbot&good&0&6\nWoman speaking&bothbothbot&good&0&6\n"
    write(
        tmp_path,
        trainSet__txt=ave_lines(0, 60) + both,
        valSet__txt=ave_lines(60, 70),
        testSet__txt=ave_lines(70, 80) + "Cat&zzzzzzzzzzz&good&0&0\n",
        Annotations__txt=AVE + "not read",
    )
    table = read(tmp_path)
    counts = table.counts()
    assert counts["train"] == {"Cat": 30, "Bell": 30, "Man speaking": 1, "Woman speaking": 1}
    assert counts["test"] == {"Cat": 6, "Bell": 5}
    clips = by_id(table)
    assert clips["bothbothbot#2"].labels == ("Woman speaking",)
    assert clips["video_00001"].sounds == ((1.0, 10.0),)
    assert clips["zzzzzzzzzzz"].sounds == ()
    assert table.class_names == ("Bell", "Cat", "Man speaking", "Woman speaking")
    table = read(tmp_path, split="corrected")
    assert table.class_names == ("Bell", "Cat")
    assert said(table, "2 clips of recordings with several classes were left out")


def test_ave_with_annotations_alone(tmp_path):
    write(tmp_path, Annotations__txt=AVE + ave_lines(0, 100))
    counts = read(tmp_path).counts()
    assert {split: sum(c.values()) for split, c in counts.items()} == {
        "train": 80,
        "val": 10,
        "test": 10,
    }
    with input_error("missing-option", "--split"):
        read(tmp_path, split="historical")
    write(tmp_path, trainSet__txt=ave_lines(0, 3))
    with pytest.raises(InputError, match=r"lacks valSet\.txt"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("Cat&video_00001&good&0", "is not Category&VideoID"),
        ("Cat&../../secret&good&0&10", "could leave the media folder"),
        ("Cat&video_00001&good&0&ten", "are not seconds"),
    ],
)
def test_ave_refuses(tmp_path, line, message):
    write(tmp_path, Annotations__txt=f"{AVE}{line}\n")
    with pytest.raises(InputError) as caught:
        read(tmp_path)
    assert message in str(caught.value)


# --- Kinetics-Sounds, MUSIC ---

KINETICS = "label,youtube_id,time_start,time_end,split"


def test_kinetics_sounds(tmp_path):
    write(
        tmp_path,
        train__csv=f"{KINETICS}\nsinging,aaaaaaaaaaa,3,13,train\nsurfing,bbbbbbbbbbb,3,13,train\n",
        validate__csv=f"{KINETICS},is_cc\nsinging,ccccccccccc,0,10,validate,0\n",
    )
    table = read(tmp_path, "kinetics-sounds")
    assert table.counts() == {"train": {"singing": 1, "surfing": 1}, "val": {"singing": 1}}
    assert said(table, "all 2 labels were read")
    write(tmp_path, classes__txt="singing\n")
    table = read(tmp_path, "kinetics-sounds")
    assert list(by_id(table)) == ["aaaaaaaaaaa_000003_000013", "ccccccccccc_000000_000010"]
    write(tmp_path, classes__txt="singing\nyodelling\n")
    with input_error("bad-list", "'yodelling'"):
        read(tmp_path, "kinetics-sounds")
    write(tmp_path, train__csv="youtube_id,time_start\n")
    with input_error("wrong-format", "'label'"):
        read(tmp_path, "kinetics-sounds")
    write(tmp_path, train__csv='"label,youtube_id\n')
    with input_error("bad-list", "unexpected end of data", "train.csv"):
        read(tmp_path, "kinetics-sounds")


def test_music(tmp_path):
    solos = {
        "videos": {
            "flute": [f"flute_{n:05d}" for n in range(10)],
            "tuba": [f"tuba__{n:05d}" for n in range(10)],
        }
    }
    duets = {"videos": {"flute tuba": ["duet__00001"]}}
    write(
        tmp_path,
        MUSIC_solo_videos__json=json.dumps(solos),
        MUSIC_duet_videos__json=json.dumps(duets),
    )
    table = read(tmp_path, "music-json")
    assert by_id(table)["duet__00001"].labels == ("flute", "tuba")
    assert {split: sum(c.values()) for split, c in table.counts().items()} == {
        "train": 18,
        "val": 2,
        "test": 2,
    }
    for text in ('{"videos": 3}', "[]"):
        write(tmp_path, MUSIC_solo_videos__json=text)
        with input_error("wrong-format", "MUSIC_solo_videos.json"):
            read(tmp_path, "music-json")


@pytest.mark.parametrize(
    "format",
    [
        *("vggsound", "vggsound-100", "vggsound-instruments", "vgg-sound-sources", "ave"),
        *("kinetics-sounds", "av-cil", "music-json"),
    ],
)
def test_a_folder_with_another_layout(tmp_path, format):
    write(tmp_path / "cat", a__mp4="")
    with pytest.raises(InputError) as caught:
        read(tmp_path, format)
    assert "contains n" in str(caught.value)
    assert "--format" in str(caught.value)
