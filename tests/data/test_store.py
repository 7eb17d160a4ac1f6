"""Opening and reading stores, and caching tokens."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from cign.data.arrays import RowWriter, create_array, map_array
from cign.data.clips import Clip, ClipTable
from cign.data.media.decode import MediaSpec
from cign.data.prepare import token_making
from cign.data.prepare.finishing import finish_store
from cign.data.prepare.token_making import make_tokens
from cign.data.store import Store, frames_shape
from cign.errors import InputError
from refusals import input_error

SPEC = MediaSpec(num_frames=2, frame_px=16, rate_hz=100, window_s=1.0)
NUM_ROWS = 11
LEFT_OUT = (3, 7)


def make_store(folder: Path) -> Store:
    """A store of random clips, two undecodable, one without audio, one without video."""
    rng = np.random.default_rng(0)
    clips, answers = [], {}
    folder.mkdir(parents=True)
    create_array(folder / "frames.npy", frames_shape(NUM_ROWS, SPEC), "uint8")
    create_array(folder / "audio.npy", (NUM_ROWS, SPEC.num_samples), "int16")
    with RowWriter(folder / "frames.npy") as frames, RowWriter(folder / "audio.npy") as audio:
        frames.write(0, rng.integers(0, 256, frames.shape, np.uint8))
        audio.write(0, rng.integers(-999, 999, audio.shape, np.int16))
    for row in range(NUM_ROWS):
        split = ("train", "val", "test")[row % 3]
        box = ((0.0, 0.0, 0.5, 0.5),) if row == 0 else ()
        path = Path(f"/media/{row}.mp4")
        labels = ("cat",) if row % 2 else ("dog", "cat")
        clips.append(Clip(id=f"{row}.mp4", path=path, labels=labels, split=split, boxes=box))
        answers[row] = {"row": row, "conditions": [["unreadable", "it was made up"]]}
        if row not in LEFT_OUT:
            answers[row] |= {
                **{"conditions": [], "audio_ok": row != 4, "visual_ok": row != 5},
                **{"silent": False, "still": None, "duration_s": 1.0, "window_start_s": 0.0},
                **{"window_end_s": 1.0, "content_hash": f"{row:064x}"},
            }
    table = ClipTable(clips=tuple(clips), class_names=("dog", "cat"))
    finish_store(table, SPEC, folder, "fingerprint", answers, Path("/media"))
    return Store.open(folder)


@pytest.fixture
def store(tmp_path):
    return make_store(tmp_path / "store")


def edit(path: Path, **changes) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_clips_go_by_index_and_not_by_row(store):
    assert store.num_clips == NUM_ROWS - 2 == len(store.table.clips)
    frames = np.load(store.folder / "frames.npy")
    audio = np.load(store.folder / "audio.npy")
    kept = [row for row in range(NUM_ROWS) if row not in LEFT_OUT]
    order = [8, 0, 3, 3]
    assert np.array_equal(store.frames(order), frames[[kept[i] for i in order]])
    assert np.array_equal(store.audio(np.array(order)), audio[[kept[i] for i in order]])
    assert np.array_equal(store.audio(slice(2, 5)), audio[kept[2:5]])
    assert [store.table.clips[i].id for i in order] == [f"{kept[i]}.mp4" for i in order]
    assert store.frames(order).shape == (4, 2, 16, 16, 3)
    assert store.table.clips[0].boxes == ((0.0, 0.0, 0.5, 0.5),)
    assert not frames[list(LEFT_OUT)].any()
    assert np.flatnonzero(~store.audio_ok).tolist() == [3]
    assert np.flatnonzero(~store.visual_ok).tolist() == [4]


def test_indices_of_a_split(store):
    for split in ("train", "val", "test"):
        found = store.indices(split)
        assert len(found) > 0
        assert all(store.table.clips[i].split == split for i in found)
    assert store.indices("unknown").dtype == np.int64
    with input_error("unknown-name", "split", "'dev'"):
        store.indices("dev")


def test_what_is_read_is_a_copy(store):
    store.frames([0])[:] = 0
    store.audio(slice(0, 1))[:] = 0
    assert store.frames([0]).any()
    assert store.audio([0]).any()


@pytest.mark.parametrize("name", ["frames.npy", "audio.npy"])
@pytest.mark.parametrize("size", [0, 10, 128, -1])
def test_a_truncated_array_is_refused(store, name, size):
    path = store.folder / name
    path.write_bytes(path.read_bytes()[:size])
    with input_error("damaged", name):
        Store.open(store.folder)


def test_stores_that_do_not_fit_together_are_refused(store, tmp_path):
    folder = store.folder
    with input_error("file-missing", "nowhere"):
        Store.open(tmp_path / "nowhere")
    (tmp_path / "bare").mkdir()
    with input_error("wrong-format", "bare"):
        Store.open(tmp_path / "bare")
    for number, changes in enumerate(
        [
            {"format": 3},
            {"format": None},
            {"num_rows": NUM_ROWS + 1},
            {"num_rows": 2},
            {"spec": {**SPEC.to_dict(), "frame_px": 32}},
            {"spec": {"colour": 1}},
        ]
    ):
        broken = tmp_path / f"broken{number}"
        shutil.copytree(folder, broken)
        edit(broken / "store.json", **changes)
        with pytest.raises(InputError) as error:
            Store.open(broken)
        assert "\n" not in str(error.value)
        assert str(broken) in str(error.value)
    with input_error("wrong-version", "3", "2"):
        Store.open(tmp_path / "broken0")
    np.save(folder / "audio.npy", np.zeros((NUM_ROWS, 99), np.int16))
    with input_error("damaged", "int16", "[11, 99]", "[11, 100]"):
        Store.open(folder)
    (folder / "audio.npy").unlink()
    with pytest.raises(InputError, match=r"lacks audio.npy"):
        Store.open(folder)
    (folder / "clips.parquet").write_bytes(b"PAR1")
    with pytest.raises(InputError, match="damaged"):
        Store.open(folder)


def test_pickled_arrays_are_never_read(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{"a": 1}], object), allow_pickle=True)
    with input_error("damaged", "a.npy"):
        map_array(tmp_path / "a.npy", (1,), "int16", "array")


# --- tokens ---


class Toy:
    """A backbone whose weights are one number."""

    name = "hub/toy"
    spec = SPEC
    audio_dim = 3
    visual_dim = 5
    audio_grid = (1, 4)
    visual_grid = (2, 1)
    num_audio_tokens = 4
    num_visual_tokens = 4

    def __init__(self, weight: float = 1.0) -> None:
        self.weight = weight
        self.batches: list[int] = []
        self.fail_at = -1

    @property
    def fingerprint(self) -> str:
        return f"toy of weight {self.weight}"

    def audio_tokens(self, audio: torch.Tensor) -> torch.Tensor:
        assert audio.dtype == torch.int16
        assert torch.is_inference_mode_enabled()
        if len(self.batches) == self.fail_at:
            raise KeyboardInterrupt
        self.batches.append(len(audio))
        return self.weight * audio[:, :12].reshape(-1, 4, 3).float() / 7

    def visual_tokens(self, frames: torch.Tensor) -> torch.Tensor:
        assert frames.dtype == torch.uint8
        return frames.flatten(1)[:, :20].reshape(-1, 4, 5).float() / 7


def test_tokens_are_those_of_the_backbone(store):
    cache = make_tokens(store, Toy(), batch_size=4)
    everything = np.arange(store.num_clips)
    expected = Toy()
    with torch.inference_mode():
        audio = expected.audio_tokens(torch.from_numpy(store.audio(everything))).half().numpy()
        visual = expected.visual_tokens(torch.from_numpy(store.frames(everything))).half().numpy()
    audio[3] = 0  # no sound track
    visual[4] = 0  # no picture track
    assert np.array_equal(cache.audio(everything), audio)
    assert np.array_equal(cache.visual([2, 0]), visual[[2, 0]])
    assert cache.audio([0]).dtype == np.float16
    assert cache.info["audio_grid"] == [1, 4]
    assert cache.fingerprint == "toy of weight 1.0"
    assert store.backbones == ("hub/toy",)
    assert np.array_equal(store.tokens().audio([1]), cache.audio([1]))
    assert np.array_equal(store.tokens("hub/toy").visual([1]), cache.visual([1]))


def test_a_finished_cache_is_not_computed_again(store):
    make_tokens(store, Toy())
    again = Toy()
    make_tokens(store, again)
    assert again.batches == []


def test_interrupted_tokens_go_on_and_are_the_same(store, tmp_path, monkeypatch):
    whole = make_store(tmp_path / "other")
    make_tokens(whole, Toy(), batch_size=2)
    monkeypatch.setattr(token_making, "CLIPS_PER_BLOCK", 2)
    broken = Toy()
    broken.fail_at = 3
    with pytest.raises(KeyboardInterrupt):
        make_tokens(store, broken, batch_size=2)
    with pytest.raises(InputError, match="contains no tokens"):
        store.tokens("hub/toy")
    again = Toy()
    make_tokens(store, again, batch_size=2)
    assert again.batches == [2, 2]  # of five; all batches have the same size
    for name in ("audio.npy", "visual.npy", "tokens.json"):
        one, two = (s.folder / "tokens" / "hub--toy" / name for s in (store, whole))
        assert one.read_bytes() == two.read_bytes()
    assert not (store.folder / "tokens" / "hub--toy" / "partial.json").exists()


@pytest.mark.parametrize("change", ["weights", "batch size"])
def test_an_unfinished_cache_of_other_work_is_begun_anew(store, monkeypatch, change):
    monkeypatch.setattr(token_making, "CLIPS_PER_BLOCK", 2)
    broken = Toy(2.0 if change == "weights" else 1.0)
    broken.fail_at = 3
    with pytest.raises(KeyboardInterrupt):
        make_tokens(store, broken, batch_size=2)
    again = Toy()
    cache = make_tokens(store, again, batch_size=3 if change == "batch size" else 2)
    assert sum(again.batches) >= store.num_clips
    with torch.inference_mode():
        audio = torch.from_numpy(store.audio([0]))
        assert np.array_equal(cache.audio([0]), Toy().audio_tokens(audio).half().numpy())


def test_tokens_of_other_weights_are_never_replaced(store):
    make_tokens(store, Toy())
    with pytest.raises(InputError, match=r"other weights.*new store folder"):
        make_tokens(store, Toy(2.0))


def test_a_backbone_of_other_input_is_refused(store):
    other = Toy()
    other.spec = MediaSpec(num_frames=2, frame_px=32, rate_hz=100, window_s=1.0)
    with input_error("store-mismatch", "2 x 32 px", "2 x 16 px"):
        make_tokens(store, other)


def test_values_that_float16_cannot_hold_are_refused(store):
    with pytest.raises(InputError, match="65504"):
        make_tokens(store, Toy(1e6))
    assert store.backbones == ()


def test_which_tokens(store):
    with input_error("missing-option", "of no backbone"):
        store.tokens()
    make_tokens(store, Toy())
    other = Toy(3.0)
    other.name = "second"
    make_tokens(store, other)
    with input_error("missing-option", "of hub/toy, second"):
        store.tokens()
    with input_error("store-mismatch", "'third'", "hub/toy, second"):
        store.tokens("third")


def test_damaged_tokens_are_refused(store):
    make_tokens(store, Toy())
    path = store.folder / "tokens" / "hub--toy" / "visual.npy"
    path.write_bytes(path.read_bytes()[:-2])
    with input_error("damaged", "visual.npy"):
        store.tokens()


def test_tokens_do_not_depend_on_the_batch(tmp_path):
    """A network's tokens agree whatever clips share the batch, to float16's last place."""
    torch.manual_seed(0)
    network = torch.nn.Sequential(
        torch.nn.Conv1d(1, 6, 25, 25), torch.nn.GELU(), torch.nn.Conv1d(6, 3, 1)
    ).eval()

    class Net(Toy):
        def audio_tokens(self, audio: torch.Tensor) -> torch.Tensor:
            return network(audio.float()[:, None] / 1000).transpose(1, 2)

    found = []
    for batch_size in (1, 4, 9):
        store = make_store(tmp_path / str(batch_size))
        cache = make_tokens(store, Net(), batch_size=batch_size)
        found.append(cache.audio(np.arange(store.num_clips)).astype(np.float32))
    assert found[0].std() > 0.01
    for other in found[1:]:
        np.testing.assert_allclose(other, found[0], rtol=2e-3, atol=1e-4)
