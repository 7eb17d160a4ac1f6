"""What a run writes of its final model: which clips, and which columns are audio and images."""

import numpy as np
import pytest
import torch

from cign.metrics.embedded import FILE, Embeddings
from cign.runs.embeddings import embed_clips, modality_split, write_embeddings
from toy import quick_options, toy_loop

METHODS = ["cign", "cign_analytic", "analytic", "finetune", "av_cil", "l2p"]


def finished(name, **about):
    loop = toy_loop(name, options=quick_options(name), memory="6", **about)
    loop.run()
    return loop


@pytest.mark.parametrize("name", METHODS)
def test_halves_are_of_one_modality_or_say_that_they_are_not(name):
    loop = finished(name)
    audio, visual = loop.source.read(loop.test)
    split, mixed = modality_split(loop.method, audio, visual)
    with torch.inference_mode():
        as_is = loop.method.embed(audio, visual)
        silent = loop.method.embed(torch.zeros_like(audio), visual)
        dark = loop.method.embed(audio, torch.zeros_like(visual))
    assert split == 16
    assert torch.allclose(as_is[:, :split], dark[:, :split], atol=1e-5)
    assert torch.allclose(as_is[:, split:], silent[:, split:], atol=1e-5) == (not mixed)
    assert not torch.allclose(as_is[:, :split], silent[:, :split], atol=1e-3)
    assert mixed == (("visual",) if name == "av_cil" else ())


class Side(torch.nn.Module):
    """Embeds by a given function, with tokens of 4 and 6 columns."""

    def __init__(self, embed):
        super().__init__()
        self.embed = embed
        shape = type("Shape", (), {"audio_dim": 4, "visual_dim": 6})
        self.setup = type("Setup", (), {"shape": shape})


@pytest.mark.parametrize(
    ("embed", "wanted"),
    [
        (lambda a, v: torch.cat([a, v], 1), (4, ())),
        (lambda a, v: torch.cat([a, v[:, :4]], 1), (4, ())),
        (lambda a, v: torch.cat([a.repeat(1, 2)[:, :5], v[:, :5]], 1), (5, ())),  # 5 + 5 = 4 + 6
        (lambda a, v: torch.cat([a, v + a[:, :1]], 1), (4, ("visual",))),
        (lambda a, v: torch.cat([v, a], 1), (None, ())),
        (lambda a, v: torch.cat([a[:, :1], v], 1), (None, ())),
        (lambda a, v: torch.zeros(len(a), 10), (None, ())),
    ],
    ids=["tokens", "common", "common by chance", "mixed", "turned", "odd", "constant"],
)
def test_split_is_where_the_columns_change(embed, wanted):
    generator = torch.Generator().manual_seed(0)
    audio, visual = (torch.randn(8, dim, generator=generator) for dim in (4, 6))
    assert modality_split(Side(embed), audio, visual) == wanted


def test_file_holds_the_final_models_vectors(tmp_path):
    loop = finished("cign_analytic")
    write_embeddings(tmp_path, loop)
    found = Embeddings.load(tmp_path / FILE)
    assert found.clip_ids == loop.predictions.clip_ids
    assert found.labels == loop.predictions.labels
    assert (found.split, found.num_test) == (16, len(loop.test))
    wanted = embed_clips(loop.method, loop.source, loop.test)
    np.testing.assert_allclose(found.vectors, wanted, rtol=2e-3, atol=1e-5)


def test_few_clips_are_drawn_by_their_names(tmp_path):
    loop = finished("finetune")
    write_embeddings(tmp_path, loop, most=5)
    found = Embeddings.load(tmp_path / FILE)
    assert len(found.clip_ids) == 5
    assert found.num_test == len(loop.test)
    rows = [loop.predictions.clip_ids.index(name) for name in found.clip_ids]
    wanted = embed_clips(loop.method, loop.source, loop.test[rows])
    np.testing.assert_allclose(found.vectors, wanted, rtol=2e-3, atol=1e-5)
    loop.test = loop.test[:1]
    write_embeddings(tmp_path / "one", loop)
    assert not (tmp_path / "one").exists()
