"""Labelling interfaces: controls, labels, frame rates, and what is refused."""

from fractions import Fraction

import pytest

from cign.data.formats.label_tools.label_studio_values import choices_result, region_result
from cign.integrations.label_studio.interface import read_interface
from cign.integrations.label_studio.names import match_names
from refusals import input_error

AUDIO = """<View>
  <Header value="Mark the sounds"/>
  <!-- a comment -->
  <Labels name="label" toName="audio" choice="multiple">
    <Label value="Dog" alias="dog" background="red"/>
    <Label value="Vehicle" predicted_values="car, truck"/>
    <Label value="owl"/>
  </Labels>
  <Choices name="quality" toName="audio" choice="single" model_score_threshold="0.4">
    <View><Choice value="DOG"/><Choice value="new thing" predicted_values="gadget"/></View>
  </Choices>
  <TextArea name="note" toName="audio"/>
  <Audio name="audio" value="$audio" zoom="true"/>
</View>"""
VIDEO = """<View>
  <Video name="video" value="$video" frameRate="{}"/>
  <TimelineLabels name="parts" toName="video"><Label value="dog"/><Label value="cat"/>
  </TimelineLabels>
  <Choices name="scene" toName="video" choice="multiple"><Choice value="dog"/></Choices>
</View>"""


def test_controls_are_read():
    labels, quality = read_interface(AUDIO).controls
    assert (labels.target, labels.kind, labels.field) == (("label", "audio"), "labels", "audio")
    assert [label.name for label in labels.labels] == ["dog", "Vehicle", "owl"]
    assert [label.predicted for label in labels.labels] == [(), ("car", "truck"), ()]
    assert labels.takes_regions
    assert not quality.takes_regions
    assert quality.min_probability == 0.4
    assert read_interface(AUDIO).ignored == ("TextArea 'note' is of another kind",)
    parts, scene = read_interface(VIDEO.format(25)).controls
    assert (parts.kind, parts.rate({})) == ("timelinelabels", 25)
    assert scene.is_multiple
    assert scene.rate({}) is None


def test_the_frame_rate_is_a_number_a_field_or_the_default():
    (control, _) = read_interface(VIDEO.format("$fps")).controls
    assert control.rate({"fps": "29.97"}) == Fraction("29.97")
    assert control.rate({"fps": 30}) == 30
    assert control.rate({}) == 24
    assert read_interface(VIDEO.format(0.04)).controls[0].rate({}) == 25  # duration of a frame
    with input_error("bad-value", "fast", "frameRate"):
        control.rate({"fps": "fast"})


def test_labels_stand_for_classes():
    labels, quality = read_interface(AUDIO).controls
    names = match_names(labels, ["dog", "car", "truck", "bus"])
    assert names.label_of == {"dog": "dog", "car": "Vehicle", "truck": "Vehicle"}
    assert (names.new, names.unlabelled) == (("owl",), ("bus",))
    assert (names.learned_as("dog"), names.learned_as("owl")) == ("dog", "owl")
    with input_error("bad-value", "Vehicle", "predicted_values"):
        names.learned_as("Vehicle")
    with input_error("unknown-name", "cat"):
        names.learned_as("cat")
    names = match_names(quality, ["dog", "car"])
    assert names.label_of == {"dog": "DOG"}  # but for case
    assert names.learned_as("DOG") == "dog"
    assert names.learned_as("new thing") == "gadget"  # a new class with the name it stands for
    assert match_names(quality, ["dog", "Dog"]).label_of == {}  # it could be either
    french = read_interface(AUDIO.replace("owl", "e\u0301lan")).controls[0]
    assert match_names(french, ["\u00e9lan"]).label_of == {"\u00e9lan": "e\u0301lan"}


@pytest.mark.parametrize(
    ("text", "code", "parts"),
    [
        (None, "missing-option", ["empty"]),
        ("  ", "missing-option", ["empty"]),
        ("<View>", "file-unreadable", ["not valid XML"]),
        ('<!DOCTYPE a [<!ENTITY b "c">]><View/>', "wrong-format", ["document type"]),
        ("<View/>", "unsupported", ["no control", "TimelineLabels"]),
        ("<View>" + " " * 2**20 + "</View>", "bad-value", ["bytes"]),
        (
            '<View><Image name="i" value="$i"/><Choices name="c" toName="i"><Choice value="a"/>'
            "</Choices></View>",
            "unsupported",
            ["Choices 'c' labels no audio or video"],
        ),
        (
            '<View><Video name="v" value="$v"/><Labels name="c" toName="v"><Label value="a"/>'
            "</Labels></View>",
            "unsupported",
            ["Labels 'c' labels no audio"],
        ),
        (
            '<View><Audio name="a" value="fixed.wav"/><Choices name="c" toName="a">'
            '<Choice value="x"/></Choices></View>',
            "unsupported",
            ["not a field such as $video"],
        ),
        (
            '<View><Audio name="a" value="$a"/><Choices name="c" toName="a" value="$list"/></View>',
            "unsupported",
            ["lists no label"],
        ),
        (
            '<View><Audio name="a" value="$a"/><Choices name="c" toName="a" perRegion="true">'
            '<Choice value="x"/></Choices></View>',
            "unsupported",
            ["no control that the model can fill"],
        ),
    ],
)
def test_unusable_interfaces_are_one_sentence(text, code, parts):
    with input_error(code, *parts):
        read_interface(text)


@pytest.mark.parametrize("text", [AUDIO, VIDEO.format(25)])
def test_the_sdk_reads_the_same(text):
    config = pytest.importorskip(
        "label_studio_sdk._extensions.label_studio_tools.core.label_config",
        reason="needs label-studio-sdk",
    )
    parsed = config.parse_config(text)
    for control in read_interface(text).controls:
        other = parsed[control.target.from_name]
        assert other["type"].lower() == control.kind
        assert other["to_name"] == [control.target.to_name]
        assert other["labels"] == [label.name for label in control.labels]
        assert other["inputs"][0]["value"] == control.field


@pytest.mark.parametrize("text", [AUDIO, VIDEO.format(25)])
def test_the_sdk_accepts_results(text):
    sdk = pytest.importorskip("label_studio_sdk.label_interface", reason="needs label-studio-sdk")
    results = []
    for control in read_interface(text).controls:
        label = control.labels[0].name
        if control.takes_regions:
            rate = control.rate({})
            results.append(region_result(control.target, "a", (0.5, 2.0), rate, label, 0.9))
        else:
            results.append(choices_result(control.target, "b", [label], 0.8))
    prediction = {"result": results, "score": 0.85, "model_version": "v1-0123abcd"}
    interface = sdk.LabelInterface(text)
    assert interface.validate_prediction(prediction)
    wrong = {**results[0], "to_name": "another"}
    assert not interface.validate_prediction({**prediction, "result": [wrong]})
