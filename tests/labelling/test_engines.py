"""`next` and `audit` over several stores and over parts on a cluster: the answers of one store."""

import dataclasses
import shutil

import numpy as np
import pytest
import torch

from cign.data.batches import cut
from cign.data.located import Located
from cign.data.store import Store
from cign.inference import engines
from cign.labelling import pool_parts
from cign.learner import Learner
from cign.utils import cluster
from cign.vocabulary import EVALUATION_BATCH
from fake_ray import FakeRay
from refusals import input_error, run_error

from .made import Counting, features, parts_of, store_of

OPTIONS = {"width": 40, "ridge": [5.0]}


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    """A store of 60 clips of 20 sources, whole and in two parts, and a model of them."""
    values = features(60, 0)
    values["source"] = np.array([f"recording {number % 20}" for number in range(60)])
    values["labels"][::7] = "ape"
    folder = tmp_path_factory.mktemp("learned")
    store = store_of(folder / "whole", values)
    learner = Learner("cign_analytic", options=OPTIONS).learn(store, tasks=2, progress=False)
    return store, parts_of(folder / "parts", values, [25]), learner


@pytest.fixture(scope="module")
def pools(tmp_path_factory):
    """A pool of 120 clips, some without a modality, whole and in three parts."""
    values = features(120, 1)
    values["audio"][5:20:5] = 0
    values["visual"][6:20:5] = 0
    values["split"][30:40] = "test"
    folder = tmp_path_factory.mktemp("pool")
    return store_of(folder / "whole", values), parts_of(folder / "parts", values, [31, 77])


@pytest.fixture
def small_parts(monkeypatch):
    """Parts of few clips, in the first and the second pass and in the audit."""
    monkeypatch.setattr(pool_parts, "FIRST_PART", 32)
    monkeypatch.setattr(pool_parts, "SECOND_PART", 16)
    monkeypatch.setattr("cign.methods.loo_estimate.BATCH_BYTES", 100_000)


@pytest.fixture
def on(monkeypatch, small_parts):
    """Make `FakeRay` the cluster; the models of earlier tests are forgotten."""

    def use(**how):
        ray = FakeRay(**how)
        monkeypatch.setattr(cluster, "load_ray", lambda: ray)
        engines._loaded.clear()
        return ray

    return use


def values_of(found):
    """All values but the places of the clips."""
    values = found.to_dict()
    for one in values["proposals"]:
        del one["path"]
    return values


@pytest.mark.parametrize("first_pass", [0, 50])
@pytest.mark.parametrize("number", [1, 9, 200])
def test_several_stores_are_one_store(learned, pools, small_parts, first_pass, number):
    whole, parts = pools
    how = {"number": number, "first_pass": first_pass, "progress": False}
    found = learned[2].next(parts, **how)
    assert values_of(found) == values_of(learned[2].next(whole, **how))
    for one in found.proposals:
        (store,) = (part for part in parts if one.clip.id in {c.id for c in part.table.clips})
        assert one.clip in store.table.clips


@pytest.mark.parametrize("first_pass", [0, 50])
@pytest.mark.parametrize("which", ["whole", "parts"])
def test_a_cluster_proposes_the_same(learned, pools, on, first_pass, which):
    ray = on(cpus=(2, 3))
    clips = pools[which == "parts"]
    how = {"number": 9, "first_pass": first_pass, "progress": False}
    local = learned[2].next(clips, **how)
    assert learned[2].next(clips, engine="ray", **how).to_dict() == local.to_dict()
    num_calls = (4 if first_pass else 0) + (4 if first_pass else 7) + (3 if which == "parts" else 1)
    assert ray.attempts == num_calls
    assert set(ray.names) == {"run_part"}


def test_processes_that_die_are_replaced_and_a_call_that_always_fails_ends(learned, pools, on):
    how = {"number": 9, "first_pass": 50, "progress": False}
    local = learned[2].next(pools[1], **how)
    ray = on(dies=lambda attempt: attempt % 3 != 2)
    assert learned[2].next(pools[1], engine="ray", **how).to_dict() == local.to_dict()
    assert ray.attempts == 3 * 11
    on(dies=lambda _: True)
    with run_error("process-failed", "after 4 attempts"):
        learned[2].next(pools[1], engine="ray", **how)


@pytest.mark.parametrize("which", ["whole", "parts"])
def test_a_cluster_audits_the_same(learned, on, which):
    store, parts, learner = learned
    clips = parts if which == "parts" else store
    local = learner.audit(clips, progress=False)
    assert len(local.doubts) == 60
    assert local.left_out == "sources"
    ray = on(dies=lambda attempt: attempt % 2 == 0)
    assert learner.audit(clips, engine="ray", progress=False).to_dict() == local.to_dict()
    assert ray.attempts >= 2 * 6  # each call twice
    of_whole = learner.audit(store, progress=False)
    assert local.doubts == of_whole.doubts
    assert [clip.id for clip in local.clips] == [clip.id for clip in of_whole.clips]


def test_large_sources_are_subtracted_in_every_call(learned, on, monkeypatch):
    monkeypatch.setattr("cign.methods.loo_estimate.LARGE_SHARE", 0.01)
    store, _, learner = learned
    local = learner.audit(store, progress=False)
    on()
    assert learner.audit(store, engine="ray", progress=False).to_dict() == local.to_dict()


def test_validation_clips_of_the_model_are_left_out_and_counted(learned, pools, on, tmp_path):
    values = features(40, 7)
    values["split"][::4] = "val"
    learner = Learner("cign_analytic", options=OPTIONS)
    learner.learn(learned[0], tasks=1, progress=False)
    learner.add(store_of(tmp_path / "added", values), progress=False)
    again = {name: array.copy() for name, array in values.items()}
    again["split"][:] = "train"
    again["id"] = np.array([f"again {number}" for number in range(40)])
    pool = store_of(tmp_path / "again", again)
    on()
    for first_pass in (0, 30):
        how = {"number": 5, "first_pass": first_pass, "progress": False}
        local = learner.next([pools[0], pool], **how)
        assert local.num_known == 40
        assert local.notes[-1] == "left out, which are validation clips of the model: 10 clips"
        there = learner.next([pools[0], pool], engine="ray", **how)
        assert there.to_dict() == local.to_dict()


def test_the_model_is_sent_once_and_few_parts_wait(learned, pools, on):
    ray = on(cpus=(2, 2))
    learned[2].next(pools[0], number=5, engine="ray", num_workers=3, progress=False)
    assert (ray.puts, ray.most_pending) == (1, 3)


def test_calls_have_the_threads_of_this_process_if_a_machine_has_as_many(learned, on):
    model = learned[2].model
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        for cpus, threads, limit in (((4, 8), 3, 4), ((2, 2), 2, 2), ((1,), 1, 1)):
            on(cpus=cpus)
            with engines.engine_of("ray", model) as engine:
                assert (engine.threads, engine.limit) == (threads, limit)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("number", [1, 255, 256, 257, 4096, 4097, 4098, 9000, 9217])
@pytest.mark.parametrize("size", [pool_parts.FIRST_PART, pool_parts.SECOND_PART])
def test_batches_do_not_depend_on_the_parts(number, size):
    indices = np.arange(number)
    in_parts = [
        batch.tolist() for part in cut(indices, size) for batch in cut(part, EVALUATION_BATCH)
    ]
    assert in_parts == [batch.tolist() for batch in cut(indices, EVALUATION_BATCH)]


def test_progress_counts_every_clip(learned, pools, on):
    on()
    counting = Counting()
    learned[2].next(pools[1], number=5, first_pass=50, engine="ray", progress=counting)
    learned[2].audit(learned[0], engine="ray", progress=counting)
    wanted = [["mean tokens", 110, 110], ["scoring", 50, 50], ["predicting", 60, 60]]
    assert counting.stages == wanted


# ------------------------------------------------------------------------- refusals


def test_only_different_prepared_stores_are_taken_together(learned, pools, on, tmp_path):
    learner, (whole, parts) = learned[2], pools
    folder = tmp_path / "clips"
    folder.mkdir()
    with input_error("wrong-format", "clips", "several sources", "cign prepare"):
        learner.next([whole, folder], number=3)
    with input_error("conflicting-options", "named twice"):
        learner.next([whole, str(whole.folder)], number=3)
    with input_error("missing-option"):
        learner.next([], number=3)
    with input_error("conflicting-options", "--workers"):
        learner.next(whole, number=3, num_workers=2)
    on()
    for call in (learner.next, learner.audit):
        more = {"number": 3} if call == learner.next else {}
        with input_error("unknown-name", "'spark'", "local, ray"):
            call(folder, engine="spark", **more)
        with input_error("wrong-format", "clips", "--engine ray", "cign prepare"):
            call(folder, engine="ray", **more)
        with input_error("conflicting-options", "--format"):
            call(parts, engine="ray", format="table", **more)


def test_a_machine_without_the_store_or_with_another_one_is_named(pools, tmp_path):
    whole = pools[0]
    place = tmp_path / "store"
    shutil.copytree(whole.folder, place)
    located = Located.of([Store.open(place)], "features:made", 1)
    info = (place / "store.json").read_text()
    (place / "store.json").write_text(info.replace(whole.list_hash, "0" * 64))
    with run_error("process-failed", "another store", str(place), "mount"):
        located.source()
    shutil.rmtree(place)
    with run_error("process-failed", "machine", str(place), "mount"):
        located.source()


def test_tokens_that_were_changed_are_found_on_the_cluster(learned, pools, on, tmp_path):
    place = tmp_path / "store"
    shutil.copytree(pools[0].folder, place)
    (array,) = place.glob("tokens/*/visual.npy")
    content = bytearray(array.read_bytes())
    content[-1] ^= 1
    array.write_bytes(content)
    on()
    with input_error("damaged", "visual.npy"):
        learned[2].next(place, number=3, engine="ray", progress=False)


def test_clips_of_another_model_are_refused_on_the_cluster(learned, pools, on):
    on()
    with input_error("store-mismatch"):
        learned[2].audit(pools[1], engine="ray", progress=False)


def test_the_commands_take_several_stores_and_a_cluster(learned, pools, on, cign, tmp_path):
    store, parts, learner = learned
    learner.save(tmp_path / "model")
    folders = [part.folder for part in pools[1]]
    code, local, _ = cign("next", tmp_path / "model", *folders, "--number", 4, "--json")
    assert code == 0
    ray = on()
    there = ("--engine", "ray", "--workers", 2)
    code, out, _ = cign("next", tmp_path / "model", *folders, "--number", 4, "--json", *there)
    assert (code, out) == (0, local)
    assert ray.most_pending == 2
    audited = [part.folder for part in parts]
    code, local, _ = cign("audit", tmp_path / "model", *audited, "--json")
    assert code == 0
    code, out, _ = cign("audit", tmp_path / "model", store.folder, "--json", *there)
    assert code == 0
    code, out, _ = cign("audit", tmp_path / "model", *audited, "--json", *there)
    assert (code, out) == (0, local)
    for words in (("next", "model", "clips", "--number", 1), ("audit", "model", "clips")):
        code, _, err = cign(*words, *there, "--device", "cuda")
        assert code == 2
        assert "--device" in err
        assert "--engine" in err


# ------------------------------------------------------------------ places of clips


def test_located_media_are_those_of_the_stores(tiny):
    store = Store.open(tiny[1])
    some = np.array([0, 3, store.num_clips - 1])
    one = Located.of([store], None, 1).take(some)
    source = one.source()
    assert np.array_equal(source.audio(np.arange(3)), store.audio(some))
    assert np.array_equal(source.visual(np.arange(3)), store.frames(some))
    other = dataclasses.replace(one, row=one.row[::-1].copy()).source()
    assert np.array_equal(other.audio(np.array([2])), store.audio(some[:1]))
