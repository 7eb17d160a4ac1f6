"""Maps: the same start for the same clips, the same bits, and never a label."""

import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from sklearn.manifold import trustworthiness

from cign.metrics.embedded import Embeddings
from cign.report import maps

from .runs_on_paper import draw_embeddings, draw_predictions


@pytest.fixture(scope="module")
def drawn():
    return draw_embeddings(draw_predictions((2, 2), clips_per_class=25))


def relabelled(one, labels):
    return Embeddings(**(vars(one) | {"labels": labels}))


def test_neighbours_stay_neighbours_and_strangers_stay_out(drawn):
    (layout,) = maps.lay_out([drawn])
    assert len(layout.places) == 100  # not the 25 clips of a class that is never taught
    assert trustworthiness(drawn.vectors[:100], layout.places, n_neighbors=5) > 0.9
    assert layout.places.min() >= 0
    assert layout.places.max() <= maps.SIZE


def test_labels_colour_the_map_and_do_not_make_it(drawn):
    names = drawn.class_names
    mixed = [(names[i % 4],) if own[0] in names else own for i, own in enumerate(drawn.labels)]
    (one,), (other,) = maps.lay_out([drawn]), maps.lay_out([relabelled(drawn, mixed)])
    np.testing.assert_array_equal(one.places, other.places)
    assert one.classes.tolist() != other.classes.tolist()


def test_runs_start_from_the_first_ones_places(drawn, monkeypatch):
    starts = []
    monkeypatch.setattr(maps, "_tsne", lambda vectors, start: starts.append(start) or start)
    second = draw_embeddings(draw_predictions((2, 2), clips_per_class=25), seed=8)
    maps.lay_out([drawn, second])
    np.testing.assert_array_equal(starts[0], starts[1])
    assert starts[0][:, 0].std() == pytest.approx(1e-4)
    centred = drawn.vectors[:100] - drawn.vectors[:100].mean(axis=0)
    values = np.linalg.eigvalsh(np.cov(centred.T))
    assert (starts[0].std(axis=0) / 1e-4) ** 2 == pytest.approx(
        [1, values[-2] / values[-1]], rel=1e-3
    )


def test_equal_embeddings_are_laid_out_once(drawn, monkeypatch):
    calls = []
    monkeypatch.setattr(maps, "_tsne", lambda vectors, start: calls.append(1) or start)
    one, two = maps.lay_out([drawn, drawn])
    assert len(calls) == 1
    np.testing.assert_array_equal(one.places, two.places)


def test_nothing_to_lay_out(drawn):
    few = relabelled(drawn, [("stranger",)] * 121 + [drawn.labels[0]] * 4)
    flat = Embeddings(**(vars(drawn) | {"vectors": np.ones_like(drawn.vectors)}))
    assert maps.lay_out([few, flat]) == [None, None]


def test_every_clip_is_a_dot_of_its_class():
    layout = maps.Layout(places=np.array([[1, 2], [3, 4], [5, 6]]), classes=np.array([0, 1, 0]))
    looks = {"a <b>": 3, "c": 16 + 2}
    svg = str(maps.map_of(layout, ("a <b>", "c"), looks, "t"))
    groups = {g.find("title").text: g for g in ET.fromstring(svg).iter("g")}
    assert groups["a <b>"].find("path").get("d") == "M1 2h0M5 6h0"
    assert groups["a <b>"].get("class") == "k s3 round"
    assert groups["c"].get("class") == "k s2 round hollow"
    assert [p.get("class") for p in groups["c"].iter("path")] == [None, "hole"]


def test_looks_differ_up_to_their_number():
    looks = [maps.dot(i) for i in range(maps.NUM_LOOKS)]
    assert len(set(looks)) == maps.NUM_LOOKS == 32
    assert all(re.fullmatch(r"<svg.*</svg>", look) for look in looks)
