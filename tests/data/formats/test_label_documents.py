"""Labels in XML and CSV: ELAN, CVAT and VIA, in the form they are exported."""

import shutil
from pathlib import Path

import pytest

from lists import by_id, read, said
from refusals import input_error

from .label_media import recordings, segments, video

WRITTEN = Path(__file__).parent / "written"  # by pympi-ling 1.71 and crowsetta 5.1.2

# --- ELAN ---

EAF = """<?xml version="1.0" encoding="UTF-8"?>
<ANNOTATION_DOCUMENT AUTHOR="" DATE="2024-05-02T11:02:03+02:00" FORMAT="3.0" VERSION="3.0"
    xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
    xsi:noNamespaceSchemaLocation="http://www.mpi.nl/tools/elan/EAFv3.0.xsd">
  <HEADER MEDIA_FILE="" TIME_UNITS="milliseconds">
    <MEDIA_DESCRIPTOR MEDIA_URL="file:///C:/Users/me/rec.wav" MIME_TYPE="audio/x-wav"
        RELATIVE_MEDIA_URL="./rec.wav"/>
    <MEDIA_DESCRIPTOR MEDIA_URL="file:///C:/Users/me/my%20rec.mp4" MIME_TYPE="video/mp4"
        RELATIVE_MEDIA_URL="./my%20rec.mp4" TIME_ORIGIN="500"/>
  </HEADER>
  <TIME_ORDER>
    <TIME_SLOT TIME_SLOT_ID="ts1" TIME_VALUE="1000"/>
    <TIME_SLOT TIME_SLOT_ID="ts2" TIME_VALUE="4000"/>
    <TIME_SLOT TIME_SLOT_ID="ts3"/>
    <TIME_SLOT TIME_SLOT_ID="ts4" TIME_VALUE="5000"/>
  </TIME_ORDER>
  <TIER LINGUISTIC_TYPE_REF="default-lt" TIER_ID="calls">
    <ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a1" TIME_SLOT_REF1="ts1" TIME_SLOT_REF2="ts2">
      <ANNOTATION_VALUE>owl</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION>
    <ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a2" TIME_SLOT_REF1="ts3" TIME_SLOT_REF2="ts4">
      <ANNOTATION_VALUE>owl</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION>
    <ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a3" TIME_SLOT_REF1="ts2" TIME_SLOT_REF2="ts4">
      <ANNOTATION_VALUE></ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION>
  </TIER>
  <TIER LINGUISTIC_TYPE_REF="parts" PARENT_REF="calls" TIER_ID="parts">
    <ANNOTATION><REF_ANNOTATION ANNOTATION_ID="a6" ANNOTATION_REF="a1" PREVIOUS_ANNOTATION="a5">
      <ANNOTATION_VALUE>hoot</ANNOTATION_VALUE></REF_ANNOTATION></ANNOTATION>
    <ANNOTATION><REF_ANNOTATION ANNOTATION_ID="a4" ANNOTATION_REF="a1">
      <ANNOTATION_VALUE>shriek</ANNOTATION_VALUE></REF_ANNOTATION></ANNOTATION>
    <ANNOTATION><REF_ANNOTATION ANNOTATION_ID="a5" ANNOTATION_REF="a1" PREVIOUS_ANNOTATION="a4">
      <ANNOTATION_VALUE>pause</ANNOTATION_VALUE></REF_ANNOTATION></ANNOTATION>
  </TIER>
  <TIER LINGUISTIC_TYPE_REF="note" PARENT_REF="parts" TIER_ID="mood">
    <ANNOTATION><REF_ANNOTATION ANNOTATION_ID="a7" ANNOTATION_REF="a5">
      <ANNOTATION_VALUE>angry</ANNOTATION_VALUE></REF_ANNOTATION></ANNOTATION>
  </TIER>
</ANNOTATION_DOCUMENT>
"""


def elan(folder, text=EAF):
    recordings(folder, "my rec.mp4")
    (folder / "rec.eaf").write_text(text)
    return folder


def test_elan_tiers_and_annotations_that_refer_to_others(tmp_path):
    table = read(elan(tmp_path))
    # The video is at 0.5 s where the annotations are at 0; the parts divide 3 s equally.
    assert {(c.start_s, c.end_s): c.labels for c in table.clips} == {
        (1.5, 4.5): ("owl",),
        (1.5, 2.5): ("shriek",),
        (2.5, 3.5): ("pause", "angry"),
        (3.5, 4.5): ("hoot",),
    }
    assert {clip.source for clip in table.clips} == {"my rec.mp4"}
    assert {one.reason for one in table.ignored} == {"without a label", "without a time"}
    assert said(table, "annotations by tier: calls 3, parts 3, mood 1; --format elan/TIER")


def test_one_tier_of_elan(tmp_path):
    folder = elan(tmp_path)
    assert segments(folder, "elan/mood") == {("my rec.mp4", 2.5, 3.5): ("angry",)}
    with input_error("unknown-name", "'mod'", "mood"):
        read(folder, "elan/mod")


def test_of_video_and_audio_the_one_that_exists(tmp_path):
    folder = recordings(elan(tmp_path), "rec.wav")
    (folder / "my rec.mp4").unlink()
    table = read(folder, "elan/calls")
    assert set(by_id(table)) == {"rec.wav@1-4"}


def test_a_document_of_another_package(tmp_path):
    recordings(tmp_path, "c.wav")
    shutil.copy(WRITTEN / "c.eaf", tmp_path)
    assert segments(tmp_path) == {
        ("c.wav", 1.0, 2.0): ("dog", "loud"),
        ("c.wav", 3.0, 4.5): ("cat & mouse",),
    }


BOMB = """<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">
<!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;">]><x>&c;</x>"""
EXTERNAL = """<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>
<ANNOTATION_DOCUMENT>&a;</ANNOTATION_DOCUMENT>"""


@pytest.mark.parametrize("text", [BOMB, EXTERNAL, '<!DOCTYPE x SYSTEM "http://a.b/c"><x/>'])
@pytest.mark.parametrize("name", ["elan", "cvat"])
def test_entities_are_never_expanded(tmp_path, name, text):
    path = tmp_path / f"rec.{'eaf' if name == 'elan' else 'xml'}"
    path.write_text(text)
    with input_error("wrong-format", path.name, "DOCTYPE"):
        read(path, name)


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ('TIME_VALUE="1000"', 'TIME_VALUE="soon"', "bad-list"),
        ('TIME_SLOT_REF1="ts1"', 'TIME_SLOT_REF1="ts9"', "bad-list"),
        ('ANNOTATION_REF="a5"', 'ANNOTATION_REF="a9"', "bad-list"),
        ('ANNOTATION_REF="a5"', 'ANNOTATION_REF="a7"', "bad-list"),  # to itself
        ('TIME_VALUE="4000"', 'TIME_VALUE="1"', "bad-list"),  # ends before it starts
        ('TIME_ORIGIN="500"', 'TIME_ORIGIN="-1500"', "bad-list"),
        ("milliseconds", "PAL-frames", "unsupported"),
        ("</HEADER>", "", "file-unreadable"),
        ("ANNOTATION_DOCUMENT", "document", "wrong-format"),
        ('encoding="UTF-8"', 'encoding="klingon"', "file-unreadable"),
    ],
)
def test_a_damaged_document_is_one_sentence(tmp_path, old, new, code):
    with input_error(code, "rec.eaf"):
        read(elan(tmp_path, EAF.replace(old, new)), "elan")


# --- CVAT ---

CVAT = """<?xml version="1.0" encoding="utf-8"?>
<annotations>
  <version>1.1</version>
  <meta><task><id>7</id><name>first task</name><size>20</size><mode>interpolation</mode>
    <start_frame>10</start_frame><stop_frame>48</stop_frame><frame_filter>step=2</frame_filter>
    <labels><label><name>owl</name></label></labels><source>rec.mp4</source></task></meta>
  <track id="0" label="owl" source="manual">
    <box frame="10" keyframe="1" outside="0" occluded="0" xtl="1" ytl="1" xbr="9" ybr="9"/>
    <box frame="12" keyframe="0" outside="0" occluded="0" xtl="1" ytl="1" xbr="9" ybr="9"/>
    <box frame="14" keyframe="1" outside="1" occluded="0" xtl="1" ytl="1" xbr="9" ybr="9"/>
    <box frame="30" keyframe="1" outside="0" occluded="0" xtl="1" ytl="1" xbr="9" ybr="9"/>
    <box frame="32" keyframe="0" outside="0" occluded="0" xtl="1" ytl="1" xbr="9" ybr="9"/>
  </track>
  <track id="1" label="jay" source="manual">
    <points frame="10" keyframe="1" outside="1" occluded="0" points="1,1"/>
  </track>
</annotations>
"""


def test_cvat_tracks_are_ranges_of_frames_of_the_video(tmp_path):
    video(tmp_path / "rec.mp4", "30000/1001")
    (tmp_path / "annotations.xml").write_text(CVAT)
    assert segments(tmp_path) == {
        ("rec.mp4", 10 * 1001 / 30000, 14 * 1001 / 30000): ("owl",),
        ("rec.mp4", 30 * 1001 / 30000, 34 * 1001 / 30000): ("owl",),
    }


def test_cvat_needs_the_video_and_tracks(tmp_path):
    path = tmp_path / "annotations.xml"
    path.write_text(CVAT)
    with input_error("file-missing", "rec.mp4", "--media"):
        read(path)
    path.write_text("<annotations><version>1.1</version><image id='0'/></annotations>")
    with input_error("wrong-format", "CVAT for video 1.1"):
        read(path)
    path.write_text(CVAT.replace("task>", "project>"))
    with input_error("unsupported", "project"):
        read(path)
    path.write_text(CVAT.replace('frame="12"', 'frame="-2"'))
    with input_error("bad-list", "track 0", "'-2'"):
        read(path)


# --- VIA ---

VIA = """# Exported using VGG Image Annotator (http://www.robots.ox.ac.uk/~vgg/software/via)
# Notes:
# - temporal coordinate of [4.633] denotes a still video frame at 4.633 sec.
# SHAPE_ID = {"POINT":1,"RECTANGLE":2}
# FLAG_ID = {"RESERVED_FOR_FUTURE":1}
# ATTRIBUTE = {"1":{"aname":"sound","anchor_id":"FILE1_Z2_XY0","type":1,"options":{}},\
"2":{"aname":"kind","anchor_id":"FILE1_Z2_XY0","type":4,"options":{"0":"bird, small","1":"dog"}}}
# CSV_HEADER = metadata_id,file_list,flags,temporal_coordinates,spatial_coordinates,metadata
"1_a","[""rec.mp4""]",0,"[1.25,2.5]","[]","{""1"":""owl"",""2"":""0""}"
"1_b","[""rec.mp4""]",0,"[3,4]","[]","{""2"":""1""}"
"1_c","[""rec.mp4""]",0,"[3.5]","[]","{""1"":""owl""}"
"1_d","[""rec.mp4""]",0,"[3.5,4]","[2,1,1,9,9]","{""1"":""owl""}"
"1_e","[""rec.mp4""]",0,"[]","[]","{""1"":""whole""}"
"""
SIMPLE = """# Exported using VGG Image Annotator (http://www.robots.ox.ac.uk/~vgg/software/via)
# CSV_HEADER = metadata_id,file_list,temporal_segment_start,temporal_segment_end,metadata
"1_a","[""rec.mp4""]",1.25,2.5,"{""TEMPORAL-SEGMENTS"":""owl""}"
"1_b","[""rec.mp4""]",3,4.125,"{""TEMPORAL-SEGMENTS"":""jay""}"
"""


def via(folder, text):
    recordings(folder, "rec.mp4")
    (folder / "via.csv").write_text(text)
    return folder


def test_via_attributes_and_options(tmp_path):
    folder = via(tmp_path, VIA)
    assert segments(folder) == {
        ("rec.mp4", 1.25, 2.5): ("owl", "bird, small"),
        ("rec.mp4", 3.0, 4.0): ("dog",),
        ("rec.mp4", None, None): ("whole",),
    }
    table = read(folder)
    assert [(one.path, one.reason) for one in table.ignored] == [
        ("via.csv line 10", "of zero length"),
        ("via.csv line 11", "a region in a frame"),
    ]
    assert segments(folder, "via/kind") == {
        ("rec.mp4", 1.25, 2.5): ("bird, small",),
        ("rec.mp4", 3.0, 4.0): ("dog",),
    }


def test_via_segments_only(tmp_path):
    assert segments(via(tmp_path, SIMPLE)) == {
        ("rec.mp4", 1.25, 2.5): ("owl",),
        ("rec.mp4", 3.0, 4.125): ("jay",),
    }


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("1.25", "soon", "bad-list"),
        ("1.25", "9", "bad-list"),
        ('"[""rec.mp4""]"', "rec.mp4", "bad-list"),
        ('"[""rec.mp4""]"', "[]", "bad-list"),
        (",2.5,", ",2.5,3,", "bad-list"),
        ("temporal_segment_start", "start", "wrong-format"),
    ],
)
def test_a_damaged_export_of_via_is_one_sentence(tmp_path, old, new, code):
    with input_error(code, "via.csv"):
        read(via(tmp_path, SIMPLE.replace(old, new)), "via")
