"""Traps 11, 13, 14 and 15: what is left out, verified, kept and shared is said."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from cign.backbones.registry import load_backbone
from cign.cli.entry_point import main
from cign.data.prepare.pipeline import prepare
from cign.data.prepare.token_making import make_tokens
from cign.data.store import Store
from cign.data.tasks import split_into_tasks
from cign.learner import Learner
from cign.methods import METHODS
from cign.runs.build import build_loop
from cign.runs.configuration import RunConfig
from cign.runs.training_data import TrainingData
from toy import quick_options
from traps.runs import NAMES, WITH_MEMORY, learned

ROOT = Path(__file__).parents[2]

# ------------------------------------------ trap 11: a clip that fails is replaced by another


@pytest.fixture(scope="module")
def broken(tiny, tmp_path_factory):
    """A store of three training clips and one test clip of two classes; two more are broken."""
    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("broken")
    source = root / "clips"
    classes = sorted(path.name for path in (tiny[0] / "train").iterdir())[:2]
    for split, number in (("train", 4), ("test", 2)):
        for name in classes:
            (source / split / name).mkdir(parents=True)
            for path in sorted((tiny[0] / split / name).iterdir())[:number]:
                shutil.copy(path, source / split / name)
    damaged = []
    for split in ("train", "test"):
        path = sorted((source / split / classes[0]).iterdir())[0]
        path.write_text("not a film\n" * 100)
        damaged.append(path.relative_to(source).as_posix())
    backbone = load_backbone("small-random")
    report = prepare(source, root / "store", backbone=backbone, num_workers=0)
    store = Store.open(root / "store")
    make_tokens(store, load_backbone("small-random-stem"))
    return damaged, report, store


def test_trap_11_a_clip_that_fails_is_listed_and_left_out(broken):
    damaged, report, store = broken
    assert (report.num_listed, report.num_usable) == (12, 10)
    problems = {p.clip: (p.condition, p.kept) for p in report.problems}
    assert {clip: problems[clip] for clip in damaged} == dict.fromkeys(
        damaged, ("unreadable", False)
    )
    assert not set(damaged) & {clip.id for clip in store.table.clips}


def test_trap_11_no_clip_stands_in_for_it(broken):
    _, _, store = broken
    everything = np.arange(store.num_clips)
    assert len(everything) == 10
    pictures = {frame.tobytes() for frame in store.frames(everything)}
    sounds = {sound.tobytes() for sound in store.audio(everything)}
    assert len(pictures) == len(sounds) == 10


@pytest.mark.parametrize("name", NAMES)
def test_trap_11_every_method_has_the_same_clips(name, broken):
    _, _, store = broken
    cls = METHODS[name]
    config = RunConfig.of(
        name,
        options=quick_options(name),
        tasks=split_into_tasks(store.class_names, 2).groups,
        memory="2" if cls.uses_memory else "0",
        backbone="small-random-stem" if cls.needs_blocks else "small-random",
    )
    loop = build_loop(config, TrainingData.open(config, store))
    ids = [clip.id for clip in store.table.clips]
    assert [loop.train.tolist(), loop.test.tolist()] == [
        [i for i, clip in enumerate(store.table.clips) if clip.split == split]
        for split in ("train", "test")
    ]
    assert (len(loop.train), len(loop.test)) == (7, 3)
    assert loop.predictions.clip_ids == [ids[i] for i in loop.test]


# --------------------------------------- trap 13: figures of papers that nobody has verified


def page_of(name):
    """A method's own page, or that of the method it is a variant of, which names it."""
    folder = ROOT / "docs" / "methods"
    own = folder / f"{name}.md"
    if own.is_file():
        return own.read_text()
    page = (folder / f"{name.rpartition('_')[0]}.md").read_text()
    assert f"`{name}`" in page or page.splitlines()[0].endswith(f", {name}")
    return page


@pytest.mark.parametrize("name", NAMES)
def test_trap_13_its_page_says_what_is_verified_and_how(name):
    page = page_of(name)
    sections = re.split(r"^## ", page, flags=re.MULTILINE)[1:]
    (verified,) = [s for s in sections if re.match(r"(Verified|What is verified)", s)]
    text = verified.partition("\n")[2]
    assert len(text.split()) >= 15
    for path in re.findall(r"(?:tests|benchmarks)/[\w/.]+\w/?", page):
        assert (ROOT / path).exists(), path


@pytest.mark.parametrize("name", [n for n in NAMES if n not in ("finetune", "joint")])
def test_trap_13_its_page_says_how_far_it_is_from_the_paper(name):
    page = page_of(name)
    section = re.search(r"^## (Differences from the paper|Notes on the published code)", page, re.M)
    sentence = re.search(r"[Nn]ot[^.]*\s(paper|author)'?s'?\s+figures|figures: not verified", page)
    assert section or sentence


# ------------------------------------------------ trap 14: a memory that is counted in clips


@pytest.fixture(scope="module")
def both_tokens(tiny, tmp_path_factory):
    """The tiny store with stem tokens beside the finished ones."""
    folder = shutil.copytree(tiny[1], tmp_path_factory.mktemp("both") / "store")
    make_tokens(Store.open(folder), load_backbone("small-random-stem"))
    return folder


@pytest.mark.parametrize("name", NAMES)
def test_trap_14_bytes_of_exemplars_and_statistics_are_reported(name, both_tokens, tmp_path):
    torch.set_num_threads(1)
    training = {"num_epochs": 1, "min_steps": 0, "batch_size": 12}
    learner = Learner(name, options=quick_options(name, training), memory="8")
    learner.learn(both_tokens, tasks=2, out=tmp_path / "run")
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    tokens = both_tokens / "tokens" / learner.config.data.backbone
    arrays = [np.load(tokens / f"{kind}.npy", mmap_mode="r") for kind in ("audio", "visual")]
    clip_bytes = sum(array[0].nbytes for array in arrays)
    num_kept = 8 if name in WITH_MEMORY else 24 if METHODS[name].replays_everything else 0
    expected = num_kept * clip_bytes + learner.model.method.state_bytes
    assert clip_bytes > 10_000
    assert metrics["costs"]["bytes_kept"] == expected


def test_trap_14_statistics_of_old_clips_have_bytes():
    dims = {"audio": 16, "visual": 16, "audio_visual": 32}
    heads = sum(6 * (dim + 1) for dim in dims.values())
    assert learned("ewc").method.state_bytes == 2 * 4 * heads  # importance and anchor
    assert learned("ewc_online").method.state_bytes == 2 * 4 * heads
    assert learned("il2m").method.state_bytes == 4 * 3 * (6 + 6 + 3)
    assert learned("icarl").method.state_bytes == 4 * 6 * sum(dims.values())
    # Sums of two poolings of each modality, and the counts of six classes.
    assert learned("analytic").method.state_bytes == 4 * 8 * (20 * 20 + 20 * 6) + 8 * 6
    assert learned("finetune").method.state_bytes == 0


# --------------------------------------- trap 15: test clips of the same film as training clips


@pytest.fixture
def shared(tiny, tmp_path):
    """A list of clips of which a test and a validation clip come from training recordings."""
    names = sorted(path.name for path in (tiny[0] / "train").iterdir())[:2]
    rows = ["path,labels,split,source"]
    for split, number in (("train", 2), ("val", 1), ("test", 2)):
        for name in names:
            for i, path in enumerate(sorted((tiny[0] / split / name).iterdir())[:number]):
                film = f"{name} film" if i == 0 else ""
                rows.append(f"{path.relative_to(tiny[0]).as_posix()},{name},{split},{film}")
    (tmp_path / "list.csv").write_text("\n".join(rows) + "\n")
    return [tmp_path / "list.csv", "--media", tiny[0]]


OVERLAPS = [
    "2 val clips share a recording with train (2 recordings)",
    "2 test clips share a recording with train (2 recordings)",
    "2 test clips share a recording with val (2 recordings)",
]


def test_trap_15_inspect_and_prepare_report_splits_that_share_recordings(shared, tmp_path, capsys):
    store = tmp_path / "store"
    prepared = ["prepare", shared[0], store, *shared[1:], "--backbone", "none", "--workers", "0"]
    for command in (["inspect", *shared], prepared, ["inspect", store]):
        assert main([str(part) for part in command]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert [line for line in lines if "share a recording" in line] == OVERLAPS
    told = json.loads((store / "report.json").read_text())["shared_sources"]
    assert [(one["split"], one["other"], one["num_clips"]) for one in told] == [
        ("val", "train", 2),
        ("test", "train", 2),
        ("test", "val", 2),
    ]


def test_trap_15_a_source_without_overlap_is_said_to_have_none(tiny, capsys):
    assert main(["inspect", str(tiny[0])]) == 0
    assert "no two splits share a recording" in capsys.readouterr().out
