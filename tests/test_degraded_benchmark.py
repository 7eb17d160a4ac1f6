"""Copies of test clips with noise in one modality, or without it: as loud as said, and stores."""

import numpy as np
import pytest

from benchmark_scripts import script
from cign.backbones.registry import load_backbone
from cign.data.intact import check_media, check_tokens
from cign.data.store import Store


@pytest.fixture(scope="module")
def degraded():
    return script("degraded")


@pytest.mark.parametrize("ratio_db", [20, 0, -10])
def test_noise_is_as_far_below_the_sound_as_said(degraded, ratio_db):
    rng = np.random.default_rng(0)
    audio = (1000 * np.sin(np.arange(48000) / 20)).astype(np.int16)
    noise = degraded.with_sound_noise(audio, rng, ratio_db) - audio.astype(float)
    measured = 20 * np.log10(np.std(audio) / np.std(noise))
    assert measured == pytest.approx(ratio_db, abs=0.1)


def test_noise_that_would_be_cut_off_turns_the_whole_down(degraded):
    audio = (32767 * np.sign(np.sin(np.arange(48000) / 20))).astype(np.int16)
    noisy = degraded.with_sound_noise(audio, np.random.default_rng(0), 0)
    assert np.abs(noisy.astype(int)).max() == 32767
    assert (np.abs(noisy.astype(int)) == 32767).sum() < 10
    assert not degraded.with_sound_noise(0 * audio, np.random.default_rng(0), 0).any()


def test_copies_are_stores_of_the_test_clips_with_one_thing_changed(degraded, tiny, tmp_path):
    store, backbone = Store.open(tiny[1]), load_backbone("small-random")
    test = store.indices("test")
    made = {}
    for name in ("sound10db", "picture32", "soundless"):
        degraded.degrade(store, tmp_path / name, degraded.variants()[name], backbone)
        made[name] = one = Store.open(tmp_path / name)
        check_media(one)
        check_tokens(one, "small-random")
        assert one.class_names == store.class_names
        every = np.arange(one.num_clips)
        assert [c.id for c in one.table.clips] == [store.table.clips[i].id for i in test]
        assert np.array_equal(one.frames(every), store.frames(test)) == (name != "picture32")
        assert np.array_equal(one.audio(every), store.audio(test)) == (name == "picture32")
    every = np.arange(len(test))
    assert not made["soundless"].audio(every).any()
    assert not made["soundless"].audio_ok.any()
    assert made["soundless"].visual_ok.all()
    before = store.tokens("small-random").visual(test)
    np.testing.assert_allclose(
        made["sound10db"].tokens("small-random").visual(every), before, atol=1e-2, rtol=1e-2
    )
    assert np.abs(made["picture32"].tokens("small-random").visual(every) - before).max() > 0.1
    noise = made["picture32"].frames(every) - store.frames(test).astype(float)
    assert 20 < noise.std() < 33
