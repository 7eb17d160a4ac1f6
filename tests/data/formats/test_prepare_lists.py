"""A benchmark's list prepared from files of which some are gone and some broken."""

from __future__ import annotations

import shutil

from cign.data.media.decode import MediaSpec
from cign.data.prepare.pipeline import prepare
from cign.data.store import Store


def test_a_list_with_missing_and_broken_clips(media, tmp_path):
    rows = []
    for number in range(40):
        label = "cat" if number % 2 else "dog"
        rows.append(f"video_{number // 4:05d},{number},{label},{'train' if number % 5 else 'test'}")
        source = {38: "text.mp4", 39: None}.get(number, "second.mp4")
        if source is not None:
            path = tmp_path / "clips" / label / f"video_{number // 4:05d}_{number:06d}.mp4"
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(media(source), path)
    (tmp_path / "vggsound.csv").write_text("\n".join(rows))
    report = prepare(
        tmp_path / "vggsound.csv",
        tmp_path / "store",
        spec=MediaSpec(frame_px=16, rate_hz=800),
        format="vggsound",
        media=[tmp_path / "clips"],
        split="corrected",
        num_workers=0,
    )
    assert (report.num_listed, report.num_usable) == (40, 38)
    lost = {problem.clip: problem.condition for problem in report.problems if not problem.kept}
    assert lost == {"video_00009_000038": "unreadable", "video_00009_000039": "missing"}
    assert report.shared_sources == []
    assert any("VIDEO_000030 39" in note for note in report.notes)
    store = Store.open(tmp_path / "store")
    assert len(store.indices("test")) >= 4
    sources = [
        {store.table.clips[i].source for i in store.indices(split)}
        for split in ("train", "val", "test")
    ]
    assert sum(map(len, sources)) == len(set.union(*sources)) == 10
