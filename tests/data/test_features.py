"""Stores from precomputed features: the forms of a source, and what is checked."""

from __future__ import annotations

import numpy as np
import pytest

import cign
from cign.data.intact import check_tokens
from cign.data.media.decode import MediaSpec
from cign.data.prepare import features as module
from cign.data.prepare import pipeline
from cign.data.prepare.feature_checks import blocks
from cign.data.prepare.features import prepare_features
from cign.data.store import Store
from cign.errors import InputError

from .feature_arrays import (
    NUM_CLIPS,
    arrays,
    as_files,
    as_fixed_lists,
    as_folder,
    as_lists,
    as_npz,
    as_parquet_folder,
)

FORMS = (as_npz, as_folder, as_parquet_folder, as_lists, as_fixed_lists, as_files)


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """A store of the arrays in memory, and its report."""
    folder = tmp_path_factory.mktemp("reference") / "store"
    return folder, cign.prepare(arrays(), folder, progress=False)


def test_the_store_holds_the_features_as_its_tokens(reference):
    folder, report = reference
    store, values = Store.open(folder), arrays()
    assert (report.num_listed, report.num_usable) == (NUM_CLIPS, NUM_CLIPS)
    assert (report.notes, report.problems) == ((), ())
    assert report.counts["test"] == dict.fromkeys(("ape", "bee", "cat", "dog"), 2)
    assert store.backbones == (report.backbone,) == ("features",)
    tokens = store.tokens()
    every = np.arange(NUM_CLIPS)
    assert np.array_equal(tokens.audio(every)[:, 0], values["audio"].astype(np.float16))
    assert np.array_equal(tokens.visual(every), values["visual"].astype(np.float16))
    assert tokens.info["audio_grid"] is tokens.info["visual_grid"] is None
    assert [clip.id for clip in store.table.clips] == values["id"].tolist()
    assert [clip.split for clip in store.table.clips] == values["split"].tolist()
    assert [clip.labels for clip in store.table.clips] == [(name,) for name in values["labels"]]
    assert check_tokens(store, "features")
    assert not list(folder.glob("*.npy"))
    for read in (store.frames, store.audio):
        with pytest.raises(InputError, match="was prepared from features and holds no frames"):
            read([0])


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)
def test_every_form_of_source_gives_the_same_store(form, tmp_path, reference):
    folder, report = reference
    source = form(tmp_path, arrays())
    found = cign.prepare(source, tmp_path / "store", progress=False)
    assert found.list_hash == report.list_hash
    tokens, others = Store.open(tmp_path / "store").tokens(), Store.open(folder).tokens()
    assert tokens.fingerprint == others.fingerprint
    every = np.arange(NUM_CLIPS)
    assert np.array_equal(tokens.audio(every), others.audio(every))
    assert np.array_equal(tokens.visual(every), others.visual(every))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ">f4"])
def test_every_precision_is_read(dtype, tmp_path):
    values = arrays()
    for kind in ("audio", "visual"):
        values[kind] = values[kind].astype(np.float16).astype(dtype)
    cign.prepare(as_npz(tmp_path, values), tmp_path / "store", progress=False)
    found = Store.open(tmp_path / "store").tokens().audio(np.arange(NUM_CLIPS))
    assert found.dtype == np.float16
    assert np.array_equal(found[:, 0], values["audio"].astype(np.float16))


def test_blocks_do_not_matter(tmp_path, reference, monkeypatch):
    monkeypatch.setattr("cign.data.prepare.feature_checks._BLOCK_BYTES", 5000)
    cign.prepare(arrays(), tmp_path / "store", progress=False)
    first = {p.name: p.read_bytes() for p in (reference[0] / "tokens" / "features").iterdir()}
    second = {p.name: p.read_bytes() for p in (tmp_path / "store/tokens/features").iterdir()}
    assert first == second
    assert len(list(blocks(NUM_CLIPS, _Shape(16), _Shape(72)))) > 5


class _Shape:
    def __init__(self, width):
        self.shape = (NUM_CLIPS, 1, width)


def test_labels_splits_and_ids_may_have_many_forms(tmp_path):
    values = arrays()
    del values["split"], values["id"]
    values["labels"] = [("ape", "bee"), "cat|bee", b"dog", *values["labels"][3:].tolist()]
    values["mood"] = np.zeros(NUM_CLIPS)
    report = cign.prepare(values, tmp_path / "store", progress=False)
    clips = Store.open(tmp_path / "store").table.clips
    assert [clip.labels for clip in clips[:3]] == [("ape", "bee"), ("cat", "bee"), ("dog",)]
    assert [clip.id for clip in clips[:2]] == ["000000", "000001"]
    # By their first label 12 apes, 11 bees, 12 cats and 13 dogs; both second labels are in train.
    num_labels = {split: sum(counts.values()) for split, counts in report.counts.items()}
    assert num_labels == {"train": 37, "val": 4, "test": 2 + 2 + 2 + 3}
    assert any("mood" in note for note in report.notes)
    assert any("no splits are given" in note for note in report.notes)


def test_clips_of_a_recording_stay_in_one_split(tmp_path):
    values = arrays()
    del values["split"]
    values["source"] = [f"{name} {i // 8}" for i, name in enumerate(values["labels"])]
    report = cign.prepare(values, tmp_path / "store", progress=False)
    assert report.shared_sources == []
    assert report.counts["test"]["ape"] == 2


def test_class_numbers_are_names(tmp_path):
    values = arrays()
    values["labels"] = (np.arange(NUM_CLIPS) % 4).astype(float)
    cign.prepare(values, tmp_path / "store", progress=False)
    assert Store.open(tmp_path / "store").class_names == ("0", "1", "2", "3")


def test_corrected_splits_keep_clips_with_their_features(tmp_path):
    values = arrays()
    cign.prepare(values, tmp_path / "store", split="corrected", progress=False)
    store = Store.open(tmp_path / "store")
    row_of = {name: row for row, name in enumerate(values["id"].tolist())}
    rows = [row_of[clip.id] for clip in store.table.clips]
    audio = store.tokens().audio(np.arange(store.num_clips))[:, 0]
    assert np.array_equal(audio, values["audio"][rows].astype(np.float16))
    assert [clip.split for clip in store.table.clips] != values["split"][rows].tolist()


# ---------------------------------------------------------------- missing modalities, duplicates


def test_rows_of_zeros_are_missing_modalities(tmp_path):
    values = arrays()
    values["audio"][3] = 0
    values["visual"][[4, 5]] = 0
    values["audio"][5] = 0
    report = cign.prepare(values, tmp_path / "store", progress=False)
    store = Store.open(tmp_path / "store")
    assert report.conditions == {"no features": 1, "one modality": 2}
    assert (report.num_listed, report.num_usable) == (NUM_CLIPS, NUM_CLIPS - 1)
    without = [
        clip.id for clip, ok in zip(store.table.clips, store.audio_ok, strict=True) if not ok
    ]
    assert without == ["clip 0/3"]
    assert not store.visual_ok[4]
    left_out = [problem.clip for problem in report.problems if not problem.kept]
    assert left_out == ["clip 0/5"]
    # Clips after the one that is left out still have their own features.
    last = store.tokens().audio([store.num_clips - 1])[0, 0]
    assert np.array_equal(last, values["audio"][-1].astype(np.float16))


def test_the_same_features_in_two_splits_are_reported(tmp_path):
    values = arrays()
    for kind in ("audio", "visual"):
        values[kind][[4, 46]] = values[kind][[0, 2]]
    report = cign.prepare(values, tmp_path / "store", progress=False)
    assert (report.num_duplicates, report.num_duplicates_across) == (2, 1)
    assert report.problems[0].clip == "clip 0/46"
    assert report.problems[0].detail == "same content as clip 0/2 in train"


def test_constant_dimensions_are_a_note(tmp_path):
    values = arrays()
    values["audio"][:, [3, 7]] = 1.5
    report = cign.prepare(values, tmp_path / "store", progress=False)
    assert report.notes == ("2 of 16 dimensions of audio of the dictionary are constant",)


# ---------------------------------------------------------------- refusals


def _set(name, change):
    def of(values):
        values[name] = change(values[name])

    return of


def _put(name, row, value):
    def of(values):
        values[name][row] = value

    return of


WRONG = {
    "nan": (_put("audio", (7, 2), np.nan), r"NaN or infinite values in 1 of 48 clips.*clip 0/7"),
    "infinite": (_put("visual", slice(2, 5), -np.inf), r"visual.* in 3 of 48 clips.*clip 0/2"),
    "large": (_put("audio", (1, 1), 7e4), r"values up to 7e\+04.*float16, up to 65504: divide"),
    "small": (_set("visual", lambda x: x * 1e-7), r"too small for float16.*: multiply"),
    "constant": (_set("audio", lambda x: x * 0 + 2), r"audio.* same values for all 48 clips"),
    "same tokens": (_set("visual", lambda x: x[:1].repeat(48, 0)), "same values for all 48 clips"),
    "rows": (_set("audio", lambda x: x[:-1]), "47 of audio, 48 of visual, 48 of labels"),
    "labels": (_set("labels", lambda x: x[:-2]), "48 of visual, 46 of labels"),
    "one dimension": (_set("audio", lambda x: x[:, 0]), r"shape \[48\]: give \[clips, width\]"),
    "four dimensions": (_set("visual", lambda x: x[:, None]), r"shape \[48, 1, 3, 24\]"),
    "no width": (_set("audio", lambda x: x[:, :0]), r"shape \[48, 0\].*each at least 1"),
    "integers": (_set("audio", lambda x: x.astype(int)), "values of type int64: save float16"),
    "complex": (_set("audio", lambda x: x.astype("c8")), "values of type complex64"),
    "objects": (_set("audio", lambda x: x.astype(object)), "values of type object"),
    "ragged": (_set("audio", lambda x: [[1.0], [1.0, 2.0]]), "is not an array.*same number"),
    "table of labels": (_set("labels", lambda x: np.eye(48)), r"shape \[48, 48\]: give one text"),
    "one label": (_set("labels", lambda x: "ape"), "labels is a value of type str"),
    "no label": (_put("labels", 5, ""), "row 5: class name '' is empty"),
    "odd split": (_put("split", 5, "dev"), "unknown split in .*row 5 'dev'"),
    "id twice": (_put("id", 9, "clip 0/2"), r"id 'clip 0/2' twice \(.*row 2 and .*row 9\)"),
    "no id": (_put("id", 9, ""), "row 9: the id is missing"),
    "one class": (_set("labels", lambda x: ["ape"] * 48), "only the class 'ape'"),
    "bytes": (_set("labels", lambda x: [b"\xff"] * 48), "labels has text that is not UTF-8"),
    "no clips": (lambda v: [v.update({k: x[:0]}) for k, x in [*v.items()]], r"shape \[0, 16\]"),
    "all zero": (lambda v: [v[k].fill(0) for k in ("audio", "visual")], "has no usable clip"),
    "lacking": (lambda v: v.pop("visual"), "has no 'visual' .it has audio, labels, split, id"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_arrays_are_refused_before_anything_is_written(name, tmp_path):
    change, message = WRONG[name]
    values = arrays()
    change(values)
    with pytest.raises(InputError, match=message) as caught:
        cign.prepare(values, tmp_path / "store", progress=False)
    assert "\n" not in str(caught.value)
    assert caught.value.code in ("bad-list", "no-clips", "unknown-name")
    written = [p.name for p in tmp_path.rglob("*") if p.is_file() and p.name != ".lock"]
    assert written == []
    # After the correction the same folder can be used.
    assert cign.prepare(arrays(), tmp_path / "store", progress=False).num_usable == NUM_CLIPS


def test_pickled_archives_are_not_read(tmp_path):
    values = arrays()
    values["labels"] = values["labels"].astype(object)
    with pytest.raises(InputError, match="holds objects, which are pickled and not read"):
        cign.prepare(as_npz(tmp_path, values), tmp_path / "store", progress=False)


def test_damaged_files_are_named(tmp_path):
    source = as_npz(tmp_path, arrays())
    source.write_bytes(source.read_bytes()[:3000])
    with pytest.raises(InputError, match=r"features\.npz is truncated or damaged"):
        cign.prepare(source, tmp_path / "store", progress=False)
    folder = as_folder(tmp_path, arrays())
    whole = (folder / "audio.npy").read_bytes()
    (folder / "audio.npy").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"audio\.npy is truncated or damaged"):
        cign.prepare(folder, tmp_path / "store", progress=False)
    (folder / "audio.npy").write_bytes(whole)
    (folder / "clips.csv").unlink()
    with pytest.raises(InputError, match=r"no clips\.csv or clips\.parquet: add a table"):
        cign.prepare(folder, tmp_path / "store", progress=False)


def test_files_of_clips_must_agree(tmp_path):
    source = as_files(tmp_path, arrays())
    np.save(tmp_path / "visual" / "5.npy", np.ones((2, 24), np.float32))
    with pytest.raises(InputError, match=r"5\.npy has shape \[2, 24\], but .*0\.npy has \[3, 24\]"):
        cign.prepare(source, tmp_path / "store", progress=False)
    (tmp_path / "visual" / "5.npy").unlink()
    with pytest.raises(InputError, match=r"5\.npy does not exist"):
        cign.prepare(source, tmp_path / "store", progress=False)


def test_lists_must_agree(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    source = as_lists(tmp_path, arrays())
    table = pq.read_table(source)
    for wrong, message in (
        ([1.0], r"column visual .* lists of different lengths \(1, 3\)"),
        (None, r"column visual .* lists of different lengths \(3, null\)"),
    ):
        rows = table.column("visual").to_pylist()
        rows[4] = None if wrong is None else [wrong * 24]
        changed = table.set_column(table.column_names.index("visual"), "visual", pa.array(rows))
        pq.write_table(changed, source)
        with pytest.raises(InputError, match=message):
            cign.prepare(source, tmp_path / "store", progress=False)


# ---------------------------------------------------------------- names, reuse, interruption


def test_named_encoders_connect_stores(tmp_path):
    prints = []
    for seed, name in ((0, "openl3"), (1, "openl3"), (1, "vggish"), (0, None), (1, None)):
        place = tmp_path / str(len(prints))
        report = cign.prepare(arrays(seed=seed), place, backbone=name, progress=False)
        assert report.backbone == ("features" if name is None else f"features:{name}")
        prints.append(Store.open(place).tokens().fingerprint)
    assert prints[0] == prints[1]
    assert len(set(prints)) == 4
    for wrong in ("", "a b", "../a", "features:"):
        with pytest.raises(InputError, match="name of encoders"):
            cign.prepare(arrays(), tmp_path / "new", backbone=wrong, progress=False)


def test_a_store_is_reused_only_for_the_same_features(tmp_path):
    first = cign.prepare(arrays(), tmp_path / "store", progress=False)
    files = [p for p in (tmp_path / "store").rglob("*.*") if p.name != ".lock"]
    written = [p.stat().st_mtime_ns for p in files]
    assert cign.prepare(arrays(), tmp_path / "store", progress=False) == first
    assert [p.stat().st_mtime_ns for p in files] == written
    for source, name in ((arrays(seed=1), None), (arrays(), "openl3")):
        with pytest.raises(InputError, match="made from another list or with other settings"):
            cign.prepare(source, tmp_path / "store", backbone=name, progress=False)


def test_an_interrupted_store_is_finished(tmp_path, reference, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(module, "finish_store", stop)
        with pytest.raises(KeyboardInterrupt):
            prepare_features(arrays(), tmp_path / "store", progress=False)
    with pytest.raises(InputError, match="not finished"):
        Store.open(tmp_path / "store")
    prepare_features(arrays(), tmp_path / "store", progress=False)
    for name in ("clips.parquet", "report.json", "tokens/features/audio.npy"):
        assert (tmp_path / "store" / name).read_bytes() == (reference[0] / name).read_bytes()
    assert not (tmp_path / "store" / "journal.jsonl").exists()


def test_clips_and_features_are_told_apart(tmp_path):
    source = as_npz(tmp_path, arrays())
    with pytest.raises(InputError, match="holds features and not clips"):
        pipeline.prepare(source, tmp_path / "store", spec=MediaSpec())
    with pytest.raises(InputError, match="num_workers has no effect on features"):
        cign.prepare(source, tmp_path / "store", num_workers=2)
    with pytest.raises(InputError, match="backbone is missing"):
        cign.prepare(tmp_path, tmp_path / "store")
    with pytest.raises(InputError, match="--media has no effect"):
        cign.prepare(source, tmp_path / "store", media=[tmp_path])
