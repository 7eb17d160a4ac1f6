"""What is taken from a browser, how it is laid out, and that a page leaves nothing behind."""

import csv
import re

import pytest

from cign.app.look import STYLE
from cign.app.serving import fetches
from cign.app.uploads import Sessions, check_upload, shown_size
from cign.cli.arguments import num_bytes
from cign.data.formats import read_source
from cign.errors import InputError
from cign.serving.clip_tables import lay_out, num_set_aside
from cign.serving.listening import is_local, listen
from refusals import input_error


def clips_in(folder, number):
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"clip {i}.MP4" for i in range(number)]
    for file in files:
        file.write_text(file.name)
    return files


def test_only_media_files_inside_the_folder_are_taken(tmp_path):
    inside, outside = tmp_path / "in", tmp_path / "out"
    (good,) = clips_in(inside, 1)
    (bad,) = clips_in(outside, 1)
    assert check_upload(str(good), inside) == good.resolve()
    (inside / "link.mp4").symlink_to(bad)
    for path in (bad, inside / ".." / "out" / bad.name, inside / "link.mp4", inside / "gone.mp4"):
        with input_error("file-missing"):
            check_upload(path, inside)
    (inside / "notes.txt").write_text("x")
    with input_error("bad-clip", "notes.txt"):
        check_upload(inside / "notes.txt", inside)


@pytest.mark.parametrize(("given", "aside"), [(1, 0), (4, 0), (5, 1), (12, 2), (25, 5), (100, 5)])
def test_one_clip_in_five_is_set_aside(given, aside, tmp_path):
    assert num_set_aside(given) == aside
    table = lay_out(" a bell ", clips_in(tmp_path / "up", given), tmp_path / "work")
    rows = list(csv.DictReader(table.open()))
    assert {row["labels"] for row in rows} == {"a bell"}
    assert [row["split"] for row in rows] == ["train"] * (given - aside) + ["val"] * aside
    assert (table.parent / rows[0]["path"]).read_text() == "clip 0.MP4"


@pytest.mark.parametrize("name", ["none", "a:0.5", "scene:1", "_background", "16:9"])
def test_a_name_like_a_share_or_like_background_is_a_class(name, tmp_path):
    table = lay_out(name, clips_in(tmp_path / "up", 3), tmp_path / "work")
    found = read_source(table, min_classes=1, require_train=False)
    assert found.class_names == (name,)
    assert not any(clip.shares for clip in found.clips)


@pytest.mark.parametrize(
    ("name", "number", "said"),
    [("", 2, "class name"), ("a|b", 2, "class name"), ("a", 0, "no clip"), ("a", 101, "at most")],
)
def test_what_cannot_be_taught_is_one_sentence(name, number, said, tmp_path):
    clips = clips_in(tmp_path / "up", number)
    with pytest.raises(InputError, match=said):
        lay_out(name, clips, tmp_path / "work")
    assert not (tmp_path / "work").exists()


def test_a_closed_page_leaves_nothing_but_what_others_use(tmp_path):
    sessions = Sessions(tmp_path)
    mine, both = clips_in(tmp_path / "up", 2)
    sessions.uses("../../a", [mine, both])
    sessions.uses("b", [both])
    folder = sessions.folder("../../a")
    assert folder.parent == tmp_path
    (folder / "picture.png").write_text("x")
    sessions.close("../../a")
    assert not folder.exists()
    assert not mine.exists()
    assert both.exists()
    sessions.close("b")
    assert not both.exists()


def test_sizes():
    assert (num_bytes("500kB"), num_bytes("200MB"), num_bytes("1gb")) == (
        500 << 10,
        200 << 20,
        1 << 30,
    )
    assert (shown_size(200 << 20), shown_size(1 << 30), shown_size(500)) == (
        "200 MB",
        "1 GB",
        "500 bytes",
    )


def test_addresses():
    assert all(map(is_local, ("127.0.0.1", "::1", "localhost", "127.1.2.3")))
    assert not any(map(is_local, ("0.0.0.0", "192.168.1.2", "example.org")))
    asked = ("/gradio_api/proxy=http://a.b", "/gradio_api/file=http://a.b", "/file=HTTPS://a.b")
    assert all(map(fetches, asked))
    assert not fetches("/gradio_api/file=/tmp/a/b.mp4")
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with input_error("busy", port, "--port"), listen("127.0.0.1", port):
            pass


def test_the_page_has_the_colours_of_the_report():
    """Of paper and ink, and of the classes, in light and in dark."""
    from importlib import resources

    report = (resources.files("cign.report") / "assets" / "report.css").read_text()
    for number in (0, 1):
        wanted, found = (
            dict(
                re.findall(
                    r"--([\w-]+): (#\w+)", re.findall(r"\{[^{}]*--page[^{}]*\}", text)[number]
                )
            )
            for text in (report, STYLE.read_text())
        )
        assert len(wanted) > 12
        assert {name: found.get(name) for name in wanted} == wanted
