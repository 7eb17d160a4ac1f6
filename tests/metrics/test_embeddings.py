"""Embeddings: their file, and every measure against another implementation or by hand."""

import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy.spatial.distance import cdist
from scipy.stats import entropy

from cign.metrics import embeddings as emb
from cign.metrics.embedded import Embeddings, sample_clips
from refusals import input_error


def clusters(num_classes=4, per_class=12, dim=6, spread=0.3, seed=0):
    generator = np.random.default_rng(seed)
    classes = np.repeat(np.arange(num_classes), per_class)
    centres = generator.normal(size=(num_classes, dim))
    return centres[classes] + spread * generator.normal(size=(len(classes), dim)), classes


def stored(vectors, classes, **about):
    names = tuple(f"c{i}" for i in range(max(classes) + 1))
    return Embeddings(
        clip_ids=[f"clip {i}" for i in range(len(classes))],
        labels=[(names[c],) for c in classes],
        class_names=names,
        task_sizes=about.pop("task_sizes", (len(names),)),
        vectors=vectors,
        num_test=len(classes),
        **about,
    )


# the measures


@pytest.mark.parametrize("spread", [0.1, 1.0, 5.0])
def test_silhouette_and_davies_bouldin_against_loops(spread):
    x, classes = clusters(spread=spread)
    far = cdist(x, x)
    values = []
    for i in range(len(x)):
        own = (classes == classes[i]) & (np.arange(len(x)) != i)
        a = far[i, own].mean()
        b = min(far[i, classes == c].mean() for c in set(classes) - {classes[i]})
        values.append((b - a) / max(a, b))
    assert emb.silhouette(x, classes) == pytest.approx(np.mean(values))
    centres = np.stack([x[classes == c].mean(axis=0) for c in range(4)])
    size = [np.linalg.norm(x[classes == c] - centres[c], axis=1).mean() for c in range(4)]
    worst = [
        max(
            (size[i] + size[j]) / np.linalg.norm(centres[i] - centres[j])
            for j in range(4)
            if j != i
        )
        for i in range(4)
    ]
    assert emb.davies_bouldin(x, classes) == pytest.approx(np.mean(worst))


def test_neighbours_against_loops():
    x, classes = clusters(spread=1.5)
    far = cdist(x, x)
    np.fill_diagonal(far, np.inf)
    right = []
    for i in range(len(x)):
        votes = np.bincount(classes[np.argsort(far[i])[:10]], minlength=4)
        right.append(votes.argmax() == classes[i])
    assert 0.3 < np.mean(right) < 1
    assert emb.knn_accuracy(x, classes) == pytest.approx(np.mean(right))
    assert emb.knn_accuracy(x[:3], np.array([0, 0, 0]), num_neighbours=3) == 1.0  # two others vote


def test_neighbours_are_not_defined_where_more_vote_than_a_class_has_clips():
    x, classes = clusters(num_classes=3, per_class=10)
    assert emb.knn_accuracy(x, classes) is not None
    keep = np.arange(len(x)) != np.flatnonzero(classes == 1)[0]  # nine clips of class 1
    assert emb.knn_accuracy(x[keep], classes[keep]) is None
    assert emb.knn_accuracy(x[keep], classes[keep], num_neighbours=9) is not None


def test_nmi_against_entropies():
    from sklearn.cluster import KMeans

    x, classes = clusters(spread=1.0)
    found = KMeans(4, n_init=4, random_state=0).fit_predict(x)
    joint = np.zeros((4, 4))
    np.add.at(joint, (classes, found), 1 / len(x))
    h_true, h_found = entropy(joint.sum(axis=1)), entropy(joint.sum(axis=0))
    mutual = h_true + h_found - entropy(joint.ravel())
    assert emb.nmi(x, classes) == pytest.approx(mutual / ((h_true + h_found) / 2))
    assert emb.nmi(*clusters(spread=0.01)) == pytest.approx(1.0)


def test_shuffled_features_know_no_class():
    # Many clips: the nearest of five chance groups is nearer by about 1 / sqrt(clips a class).
    x, classes = clusters(num_classes=6, per_class=150, spread=0.2)
    assert emb.silhouette(x, classes) > 0.5
    shuffled = x[np.random.default_rng(1).permutation(len(x))]
    assert abs(emb.silhouette(shuffled, classes)) < 0.05
    assert emb.knn_accuracy(shuffled, classes) < 0.35
    assert emb.nmi(shuffled, classes) < 0.15


def test_a_class_is_not_near_because_its_label_says_so():
    """The trap of a map made with true labels: measures of noise must not find classes."""
    noise = np.random.default_rng(0).normal(size=(240, 8))
    assert abs(emb.silhouette(noise, np.arange(240) % 6)) < 0.05


def test_retrieval_by_hand():
    audio = np.array([[1.0, 0.0], [0.0, 2.0], [1.0, 1.0]])
    visual = np.array([[3.0, 0.1], [1.0, 0.9], [0.0, 1.0]])
    classes = np.array([0, 1, 1])
    found = emb.retrieval(audio, visual, classes)
    # Nearest: to sound 0 its own picture, to sound 1 picture 2 of its class, to sound 2 picture 1.
    assert found["clip_recall_1"] == pytest.approx(1 / 3)
    assert found["class_recall_1"] == 1.0
    assert found["clip_recall_5"] == found["class_recall_10"] == 1.0
    swapped = emb.retrieval(audio, visual[[0, 2, 1]], np.array([0, 1, 2]))
    assert swapped["clip_recall_1"] == swapped["class_recall_1"] == 1.0


def test_retrieval_against_sorting():
    generator = np.random.default_rng(4)
    audio, visual = generator.normal(size=(2, 50, 7))
    visual += 0.8 * audio
    classes = np.arange(50) % 5
    near = 1 - cdist(audio, visual, "cosine")
    order = np.argsort(-near, axis=1)
    for k in (1, 5, 10):
        own = [i in order[i, :k] for i in range(50)]
        same = [classes[i] in classes[order[i, :k]] for i in range(50)]
        found = emb.retrieval(audio, visual, classes)
        assert found[f"clip_recall_{k}"] == pytest.approx(np.mean(own))
        assert found[f"class_recall_{k}"] == pytest.approx(np.mean(same))


def test_vectors_that_are_all_alike_say_nothing():
    same, classes = np.ones((30, 3)), np.arange(30) % 3
    for measure in (emb.silhouette, emb.davies_bouldin, emb.knn_accuracy, emb.nmi):
        assert measure(same, classes) is None
    assert set(emb.retrieval(same, same, classes).values()) == {0.0}
    assert emb.modality_gap(same, same) == 0.0
    zeros = np.zeros((30, 3))
    assert emb.modality_gap(zeros, same) == pytest.approx(1.0)


def test_modality_gap_by_hand():
    audio = np.array([[2.0, 0.0], [5.0, 0.0]])
    assert emb.modality_gap(audio, -audio) == pytest.approx(2.0)
    assert emb.modality_gap(audio, np.array([[0.0, 1.0]] * 2)) == pytest.approx(np.sqrt(2))
    assert emb.modality_gap(audio, np.ones((2, 3))) is None


@pytest.mark.parametrize("classes", [[], [0], [0, 0, 0], [0, 1, 2]], ids=str)
def test_too_few_of_anything_is_not_defined(classes):
    x = np.random.default_rng(0).normal(size=(len(classes), 4))
    classes = np.asarray(classes, int)
    assert emb.silhouette(x, classes) is None
    assert emb.davies_bouldin(x, classes) is None
    if len(classes) < 2:
        assert emb.knn_accuracy(x, classes) is None
        assert set(emb.retrieval(x, x, classes).values()) == {None}
    assert (emb.nmi(x, classes) is None) == (len(set(classes)) < 2)


# all of them together


def test_summary_takes_modalities_and_old_and_new_classes_apart():
    x, classes = clusters(num_classes=6, per_class=10, dim=8)
    one = stored(x, classes, split=4, task_sizes=(2, 2, 2))
    found = emb.summarise(one)
    assert found["audio"]["silhouette"] == pytest.approx(
        emb.silhouette(np.float32(x[:, :4]), classes)
    )
    assert found["visual"]["knn"] == pytest.approx(
        100 * emb.knn_accuracy(np.float32(x[:, 4:]), classes)
    )
    old, new = classes < 4, classes >= 4
    together = found["audio_visual"]
    assert together["nmi_old"] == pytest.approx(emb.nmi(np.float32(x[old]), classes[old]))
    assert together["silhouette_new"] == pytest.approx(
        emb.silhouette(np.float32(x[new]), classes[new])
    )
    assert together["clip_recall_1"] is not None
    assert "clip_recall_1" not in found["audio"]


def test_summary_of_what_cannot_be_taken_apart_and_of_strangers():
    x, classes = clusters()
    one = stored(x, classes)
    whole = emb.summarise(one)
    assert set(whole["audio"].values()) == {None}
    assert "modality_gap" not in whole["audio_visual"]
    one.labels[0], one.labels[1] = ("stranger",), ("c0", "c1")
    rows, kept, _ = emb.taught(one)
    assert rows.tolist() == list(range(2, 48))
    assert emb.summarise(one)["audio_visual"]["silhouette"] == pytest.approx(
        emb.silhouette(np.float32(x[2:]), kept)
    )
    one.labels[:] = [("stranger",)] * 48
    assert set(emb.summarise(one)["audio_visual"].values()) == {None}


# the file


@pytest.mark.parametrize("size", [1e-6, 1.0, 1e6])
def test_file_round_trip_keeps_float16_precision_at_any_size(tmp_path, size):
    x, classes = clusters()
    one = stored(size * x, classes, split=2, mixed=("visual",), task_sizes=(3, 1))
    one.save(tmp_path / "e.parquet")
    again = Embeddings.load(tmp_path / "e.parquet")
    np.testing.assert_allclose(again.vectors, one.vectors, rtol=1e-3, atol=1e-6 * size)
    for name in ("clip_ids", "labels", "class_names", "task_sizes", "split", "mixed", "num_test"):
        assert getattr(again, name) == getattr(one, name)
    assert again.part("audio").shape[1] == 2
    again.save(tmp_path / "2.parquet")
    assert (tmp_path / "2.parquet").read_bytes() == (tmp_path / "e.parquet").read_bytes()


def test_zeros_survive(tmp_path):
    stored(np.zeros((2, 3)), [0, 0]).save(tmp_path / "e.parquet")
    assert not Embeddings.load(tmp_path / "e.parquet").vectors.any()


def test_what_is_wrong_is_refused(tmp_path):
    x, classes = clusters()
    x[5, 1] = np.nan
    with input_error("diverged", "clip 5"):
        stored(x, classes)
    with input_error("bad-value", "(47, 6)", "48"):
        stored(clusters()[0][:47], classes)
    with input_error("bad-value", "split at 6"):
        stored(clusters()[0], classes, split=6)
    path = tmp_path / "e.parquet"
    with input_error("file-missing", "e.parquet"):
        Embeddings.load(path)
    path.write_bytes(b"PAR1")
    with input_error("file-unreadable", "e.parquet"):
        Embeddings.load(path)
    stored(clusters()[0], classes).save(path)
    table = pq.read_table(path)
    pq.write_table(table.drop_columns(["embedding"]), path)
    with input_error("file-unreadable", "lacks the columns embedding"):
        Embeddings.load(path)
    pq.write_table(table.replace_schema_metadata(None), path)
    with input_error("file-unreadable", "its metadata is missing or invalid"):
        Embeddings.load(path)


def test_the_same_clips_are_drawn_in_any_order():
    names = [f"clip {i}" for i in range(50)]
    chosen = {names[i] for i in sample_clips(names, 20)}
    assert len(chosen) == 20
    turned = names[::-1]
    assert {turned[i] for i in sample_clips(turned, 20)} == chosen
    assert sample_clips(names, 50).tolist() == list(range(50))
    assert (np.diff(sample_clips(names, 20)) > 0).all()
