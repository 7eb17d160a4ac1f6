"""A folder of clips as people have it: real names, most clips gone, some broken."""

import json
import os
import time
from collections import defaultdict
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from cign.data.formats import read_source
from cign.data.prepare.inspection import inspect_source
from cign.synthetic import SynthConfig, synthesize

WHERE = os.environ.get("CIGN_TEST_LISTS", "")
LISTS = Path(WHERE) / "vggsound_instruments"
PER_CLASS = {"train": 5, "val": 1, "test": 2}
NUM_EXTRA, NUM_BROKEN = 12, 10

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not WHERE, reason="CIGN_TEST_LISTS does not name a folder with the published lists"
    ),
]


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """300 rendered clips under names of the list, ten of them cut or overwritten."""
    root = tmp_path_factory.mktemp("vggsound")
    table = read_source(LISTS, format="vggsound-instruments", min_classes=1)
    config = SynthConfig(num_classes=36, num_train=6, num_val=1, num_test=2, duration_s=1.0)
    synthesize(root / "rendered", config, num_workers=2)
    rendered = defaultdict(list)
    made = read_source(root / "rendered")
    for clip in made.clips:
        rendered[made.class_names.index(clip.labels[0]), clip.split].append(clip.path)
    there, wanted = (
        [],
        dict.fromkeys(((number, split) for number in range(36) for split in PER_CLASS), 0),
    )
    extra = NUM_EXTRA
    for clip in table.clips:
        number = table.class_names.index(clip.labels[0])
        key = (number, clip.split)
        full = wanted[key] >= PER_CLASS[clip.split]
        if full and (clip.split != "train" or not extra or wanted[key] > PER_CLASS["train"]):
            continue
        extra -= full
        video, _, start = clip.id.rpartition("_")
        # Both conventions of naming are met in the wild.
        name = f"{video}_{start}" if number % 2 else f"{video}_{int(start)}"
        place = root / "clips" / table.class_names[number] / f"{name}.mp4"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(rendered[key][wanted[key]].read_bytes())
        wanted[key] += 1
        there.append((clip, place))
    trained = [pair for pair in there if pair[0].split == "train"]
    broken = trained[:: len(trained) // NUM_BROKEN][:NUM_BROKEN]
    for turn, (_, place) in enumerate(broken):
        place.write_bytes(b"not a film" if turn % 2 else place.read_bytes()[:300])
    return root, table, there, broken


def test_most_clips_gone_some_broken_and_a_report_all_the_same(tree, cign):
    root, table, there, broken = tree
    assert (len(there), len(broken)) == (300, NUM_BROKEN)
    chosen = ("--benchmark", "vggsound-instruments")
    store, run = root / "store", root / "run"
    code, out, _ = cign(
        *("prepare", LISTS, store, "--media", root / "clips", *chosen),
        *("--backbone", "small-random"),
    )
    assert code == 0
    assert f"290 of {len(table.clips)} clips usable" in out
    problems = pq.read_table(store / "problems.parquet").to_pylist()
    lost = defaultdict(set)
    for problem in problems:
        if not problem["kept"]:
            lost[problem["condition"]].add(problem["clip"])
    present = {clip.id for clip, _ in there}
    assert lost["missing"] == {clip.id for clip in table.clips} - present
    assert lost["unreadable"] | lost["damaged"] == {clip.id for clip, _ in broken}
    code, _, _ = cign("train", store, "--out", run, *chosen, "--method", "cign_analytic")
    assert code == 0
    metrics = json.loads((run / "metrics.json").read_text())
    assert [len(group) for group in metrics["tasks"]] == [9, 9, 9, 9]
    assert [name for group in metrics["tasks"] for name in group] == list(table.class_names)
    assert (run / "report.html").stat().st_size > 10_000


def test_a_list_of_200000_rows_is_read_and_checked_in_ten_seconds(tmp_path):
    (tmp_path / "media").mkdir()
    rows = []
    for number in range(200_000):
        label = f"class {number % 309}"
        split = "train" if number % 13 else "test"
        rows.append(f'v{number // 3:09d}xx,{number % 300},"{label}",{split}')
        if number % 100 == 0:
            (tmp_path / "media" / f"v{number // 3:09d}xx_{number % 300:06d}.mp4").touch()
    (tmp_path / "vggsound.csv").write_text("\n".join(rows) + "\n")
    begun = time.process_time()
    found = inspect_source(tmp_path, format="vggsound", media=[tmp_path / "media"])
    assert time.process_time() - begun < 10
    assert found.num_clips == 200_000
    assert found.num_missing == 198_000
