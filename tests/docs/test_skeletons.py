"""The skeletons of docs/contributing, completed and used as a contributor would use them."""

import json
import re
import sys

import pytest

from cign.backbones.registered import BACKBONES
from cign.backbones.registry import load_backbone
from cign.data.formats.registry import FORMATS, MARKS
from cign.methods import METHODS
from cign.metrics.catalogue import METRICS
from pages import DOCS

WORDS = re.compile(r"TODO:? ?[^\n\"]*")


def skeleton(page, language, code, number=0):
    """A block of a page, completed.

    Args:
        page: Name of the page.
        language: Language of the block.
        number: Which of the page's blocks in that language.
        code: What replaces each place that needs code. Places for words become "done".
    """
    text = (DOCS / "contributing" / f"{page}.md").read_text()
    block = re.findall(rf"^```{language}\n(.*?)^```$", text, re.M | re.S)[number]
    for place, replacement in code.items():
        assert block.count(place) == 1, f"{page}.md: {place!r}"
        block = block.replace(place, replacement)
    left = [line for line in block.splitlines() if line.strip().startswith("# TODO")]
    assert left == [], f"{page}.md has marked places that this test does not complete"
    return WORDS.sub("done", block)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of modules on the path; what they register is removed afterwards."""
    monkeypatch.syspath_prepend(str(tmp_path))
    registries = (METHODS, BACKBONES, FORMATS, METRICS, MARKS)
    before = [(registry, set(registry)) for registry in registries]
    yield tmp_path
    for registry, names in before:
        for name in set(registry) - names:
            del registry[name]
    for module in ("name_method", "name_backbone", "name_format", "name_metric"):
        sys.modules.pop(module, None)


def done(result):
    code, out, err = result
    assert code == 0, err
    return out


METHOD = {
    "        # TODO: prepare state for the task, or remove this function\n": """\
        self.num_before = data.num_old
""",
    "            # TODO: add the method's own loss\n": """\
            if self.num_before:
                old = logits[modality][:, : self.num_before]
                losses[f"{modality}_old"] = self.options.weight * old.square().mean()
""",
}


def test_method_is_trained_saved_and_predicts(folder, tiny, cign):
    (folder / "name_method.py").write_text(skeleton("method", "python", METHOD))
    recipe = skeleton("method", "yaml", {"# TODO: the method in one line.": "# Small outputs."})
    (folder / "name.yaml").write_text(recipe)  # the method's own recipe, beside its module
    run = folder / "run"
    named = ("--method", "name_method:Name", "--tasks", 2, "--seed", 1)
    done(cign("train", tiny[1], "--out", run, *named))
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["method"] == "name_method:Name"
    assert metrics["config"]["options"]["weight"] == 1.0
    first, last = metrics["losses"][0], metrics["losses"][-1]
    assert "audio_old" not in first
    assert {"audio", "audio_old", "visual_old", "audio_visual_old"} <= set(last)
    clip = next((tiny[0] / "test").rglob("*.mp4"))
    (found,) = json.loads(done(cign("predict", run, clip, "--json")))
    assert found["label"] in metrics["classes"]


BACKBONE = {
    "        # TODO: the decoding that the encoders were trained with\n": "",
    """\
        # TODO: the networks: [B * K, 3, P, P] to [B * K, D, rows, columns], and
        # [B, L] to [B, D, frequencies, times]
        self.visual: nn.Module = nn.Identity()
        self.audio: nn.Module = nn.Identity()
""": """\
        self.visual: nn.Module = nn.Conv2d(3, 32, 16, stride=16)
        self.audio: nn.Module = nn.Sequential(
            nn.Unflatten(1, (1, -1)), nn.Conv1d(1, 32, 2000, stride=2000), nn.Unflatten(2, (1, -1))
        )
""",
    "            ...  # TODO: load the weights\n": """\
            generator = torch.Generator().manual_seed(0)
            for parameter in self.parameters():
                nn.init.normal_(parameter, std=0.1, generator=generator)
""",
    "        # TODO: normalise x as the network expects\n": "        x = 2 * x - 1\n",
}


def test_backbone_encodes_and_a_model_on_it_predicts(folder, tiny, cign):
    (folder / "name_backbone.py").write_text(skeleton("backbone", "python", BACKBONE))
    backbone = load_backbone("name_backbone:Name")
    assert backbone.fingerprint == load_backbone("name_backbone:Name").fingerprint
    store, run = folder / "store", folder / "run"
    named = ("--backbone", "name_backbone:Name", "--workers", 0)
    done(cign("prepare", tiny[0], store, *named))
    done(cign("train", store, "--out", run, "--method", "analytic", "--set", "width=50"))
    clip = next((tiny[0] / "test").rglob("*.mp4"))
    (found,) = json.loads(done(cign("predict", run, clip, "--json")))
    assert found["error"] is None
    assert found["label"] is not None


LINE = (
    "        # TODO: parse the line; count lines that are excluded, refuse lines that are wrong\n"
)
FORMAT = {
    LINE: """\
        if not line.strip():
            num_excluded += 1
            continue
""",
    '    raise InputError("bad-list", f"{where}: TODO: what is wrong, and the remedy")\n': """\
    fields = line.split("&")
    if len(fields) != 3:
        raise InputError("bad-list", f"{where}: write file&class&split")
    return fields[0], fields[1], fields[2]
""",
}


def test_format_is_inspected_prepared_and_found_by_its_file_name(folder, tiny, cign):
    (folder / "name_format.py").write_text(skeleton("format", "python", FORMAT))
    lists = folder / "lists"
    lists.mkdir()
    clips = sorted(tiny[0].rglob("*.mp4"))
    lines = [f"{p.relative_to(tiny[0])}&{p.parent.name}&{p.parent.parent.name}" for p in clips]
    (lists / "name.txt").write_text("\n".join(lines) + "\n\n")
    reader = ("--format", "name_format:read_name", "--media", tiny[0])
    code, _, err = cign("inspect", lists, *reader)
    assert code == 0
    assert "1 lines are excluded" in err
    # It has been imported now, so that its file name is enough.
    found = json.loads(done(cign("inspect", lists, "--media", tiny[0], "--json")))
    assert found["num_clips"] == len(clips)
    store = folder / "store"
    done(cign("prepare", lists, store, *reader, "--backbone", "small-random", "--workers", 0))
    assert json.loads((store / "store.json").read_text())["num_clips"] == len(clips)
    (lists / "name.txt").write_text("one&two\n")
    code, _, err = cign("inspect", lists, *reader)
    assert code == 2
    assert "line 1: write file&class&split" in err


METRIC = {
    "    return None  # TODO: compute it\n": """\
    return 100.0 * float(targets_NC[:, 0].mean())
""",
}


def test_metric_is_among_the_metrics_of_a_run_and_in_its_report(folder, tiny, cign):
    (folder / "name_metric.py").write_text(skeleton("metric", "python", METRIC))
    run = folder / "run"
    done(cign("train", tiny[1], "--out", run, "--method", "analytic", "--set", "width=50"))
    groups = ("--groups", "name_metric:Name,costs")
    (found,) = json.loads(done(cign("metrics", run, *groups, "--json")))
    assert set(found["numbers"]) == {"name_metric:Name", "costs"}
    assert found["numbers"]["name_metric:Name"]["visual"] == {"name": 25.0}  # of four classes
    # Once imported it is registered, like a group with an entry point.
    assert "name = done" in done(cign("metrics", run))
    done(cign("report", run, "--out", folder / "report.html"))
    assert "done" in (folder / "report.html").read_text()


def test_the_test_of_the_metric_page_passes_and_can_fail(folder):
    (folder / "name_metric.py").write_text(skeleton("metric", "python", METRIC))
    names = {"cign.metrics.NAME": "name_metric"}
    for value, passes in (("200 / 3", True), ("60.0", False)):
        code = names | {"approx(0.0)  # TODO: the value by hand": f"approx({value})"}
        written: dict = {}
        exec(skeleton("metric", "python", code, number=1), written)
        if passes:
            written["test_value_by_hand"]()
        else:
            with pytest.raises(AssertionError):
                written["test_value_by_hand"]()
