"""Metrics of embeddings: separation of classes, and alignment of audio and visual features.

All metrics use the vectors themselves, not a 2-D projection: projections for display (t-SNE)
preserve neighbours but not distances. Distances are Euclidean; audio and visual vectors are
compared by cosine similarity. Only clips with exactly one class of the run are used.

Legend: M clips, E columns.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from cign.metrics.catalogue import MetricGroup, Numbers, Stored, register_metrics
from cign.metrics.embedded import Embeddings
from cign.vocabulary import MODALITIES

NUM_NEIGHBOURS = 10
RANKS = (1, 5, 10)
_NUM_STARTS = 4

DEFINITIONS: dict[str, str] = {
    "silhouette": "mean over clips of (b - a) / max(a, b), -1..1; a = mean distance to the other "
    "clips of its class, b = the smallest mean distance to those of another class (Rousseeuw 1987)",
    "davies_bouldin": "mean over classes i of max over j of (s_i + s_j) / d_ij, lower is "
    "better; s = mean distance to the class centre, d = distance between centres (Davies & "
    "Bouldin 1979)",
    "knn": f"share of clips whose class is the majority among their {NUM_NEIGHBOURS} nearest "
    "other test clips, in percent; ties: the class learned first; not defined if a class has "
    f"fewer than {NUM_NEIGHBOURS} test clips",
    "nmi": "mutual information of the true classes and the same number of k-means clusters, "
    f"divided by the mean of their entropies, 0..1 (best of {_NUM_STARTS} starts, fixed seed)",
    "clip_recall_1": "share of clips whose own visual vector is the nearest to their audio vector "
    "by cosine, in percent; ties count as misses",
    "clip_recall_5": "the same among the 5 nearest",
    "clip_recall_10": "the same among the 10 nearest",
    "class_recall_1": "share of clips where the visual vector nearest to their audio vector is of "
    "the same class, in percent; ties count as misses",
    "class_recall_5": "the same for at least one among the 5 nearest",
    "class_recall_10": "the same for at least one among the 10 nearest",
    "modality_gap": "distance between the mean audio vector and the mean visual vector, each "
    "vector normalised to length 1, 0..2 (Liang 2022)",
}
_OF_CLASSES = ("silhouette", "davies_bouldin", "knn", "nmi")
_UNITLESS = ("silhouette", "davies_bouldin", "nmi")
SUBSETS = {"": "all", "_old": "classes of tasks 1..T-1 only", "_new": "those of the last task"}

Floats = npt.NDArray[np.floating[Any]]
Classes = npt.NDArray[np.int64]


def silhouette(vectors_ME: Floats, classes_M: Classes) -> float | None:
    """Mean silhouette, in [-1, 1]; None for fewer than two classes or no class with two clips."""
    from sklearn.metrics import silhouette_score

    num_classes = len(np.unique(classes_M))
    if not 2 <= num_classes < len(classes_M) or _is_one_point(vectors_ME):
        return None
    return float(silhouette_score(vectors_ME.astype(np.float64), classes_M))


def davies_bouldin(vectors_ME: Floats, classes_M: Classes) -> float | None:
    """Davies-Bouldin index, at least 0, lower is better; None where `silhouette` is None.

    Also None if two classes have the same centre: the index divides by the distance of centres.
    """
    from sklearn.metrics import davies_bouldin_score

    names = np.unique(classes_M)
    if not 2 <= len(names) < len(classes_M) or _is_one_point(vectors_ME):
        return None
    vectors_ME = vectors_ME.astype(np.float64)
    centres = np.stack([vectors_ME[classes_M == name].mean(axis=0) for name in names])
    if len(np.unique(centres, axis=0)) < len(names):
        return None
    return float(davies_bouldin_score(vectors_ME, classes_M))


def knn_accuracy(
    vectors_ME: Floats, classes_M: Classes, num_neighbours: int = NUM_NEIGHBOURS
) -> float | None:
    """Leave-one-out accuracy, in [0, 1], of the majority class of the nearest other clips.

    Args:
        vectors_ME: Embeddings of the clips.
        classes_M: Their classes, from 0 in the order of learning.
        num_neighbours: Number of neighbours that vote; all other clips if there are fewer.

    Returns:
        The accuracy. None for fewer than two clips, if all vectors are equal, and if some class has
        fewer clips than ``num_neighbours``: it is outvoted however close its clips are.
    """
    from sklearn.neighbors import NearestNeighbors

    if len(vectors_ME) < 2 or _is_one_point(vectors_ME):
        return None
    if np.unique(classes_M, return_counts=True)[1].min() < num_neighbours:
        return None
    count = min(num_neighbours, len(vectors_ME) - 1)
    search = NearestNeighbors(n_neighbors=count, algorithm="brute")
    search.fit(vectors_ME.astype(np.float64))
    neighbours = search.kneighbors(return_distance=False)  # [M, count], without the clip itself
    votes = np.zeros((len(vectors_ME), int(classes_M.max()) + 1), dtype=np.int64)
    for column in neighbours.T:
        votes[np.arange(len(votes)), classes_M[column]] += 1
    return float((votes.argmax(axis=1) == classes_M).mean())


def nmi(vectors_ME: Floats, classes_M: Classes) -> float | None:
    """Normalised mutual information of classes and as many k-means clusters, in [0, 1].

    Returns:
        The value; None for fewer than two classes or fewer distinct vectors than classes.
    """
    from sklearn.cluster import KMeans
    from sklearn.metrics import normalized_mutual_info_score

    num_classes = len(np.unique(classes_M))
    if num_classes < 2 or len(np.unique(vectors_ME, axis=0)) < num_classes:
        return None
    k_means = KMeans(num_classes, n_init=_NUM_STARTS, random_state=0)
    clusters = k_means.fit_predict(vectors_ME.astype(np.float64))
    return float(normalized_mutual_info_score(classes_M, clusters))


def retrieval(audio_ME: Floats, visual_ME: Floats, classes_M: Classes) -> dict[str, float | None]:
    """Audio-to-visual recall at `RANKS`, in [0, 1], of the same clip and of the same class.

    Visual vectors at equal similarity count as nearer, so that identical vectors have a recall
    of 0.
    """
    names = [f"{kind}_recall_{k}" for kind in ("clip", "class") for k in RANKS]
    if len(audio_ME) < 2 or audio_ME.shape != visual_ME.shape:
        return dict.fromkeys(names)
    near_MM = _unit(audio_ME) @ _unit(visual_ME).T
    own_M = near_MM.diagonal()
    before_clip_M = (near_MM >= own_M[:, None]).sum(axis=1) - 1
    same_MM = classes_M[:, None] == classes_M
    best_M = np.where(same_MM, near_MM, -np.inf).max(axis=1)
    before_class_M = ((near_MM >= best_M[:, None]) & ~same_MM).sum(axis=1)
    ranks = {"clip": before_clip_M, "class": before_class_M}
    return {
        f"{kind}_recall_{k}": float((before_M < k).mean())
        for kind, before_M in ranks.items()
        for k in RANKS
    }


def modality_gap(audio_ME: Floats, visual_ME: Floats) -> float | None:
    """Distance between the mean unit vectors of both modalities (Liang et al. 2022)."""
    if len(audio_ME) == 0 or audio_ME.shape[1] != visual_ME.shape[1]:
        return None
    difference = _unit(audio_ME).mean(axis=0) - _unit(visual_ME).mean(axis=0)
    return float(np.linalg.norm(difference))


def taught(embeddings: Embeddings) -> tuple[npt.NDArray[np.int64], Classes, Classes]:
    """Rows, classes and tasks (all from 0) of the clips with exactly one class of the run."""
    index = {name: i for i, name in enumerate(embeddings.class_names)}
    own = [[index[name] for name in names if name in index] for names in embeddings.labels]
    rows = np.asarray([row for row, classes in enumerate(own) if len(classes) == 1], np.int64)
    classes = np.asarray([own[row][0] for row in rows], dtype=np.int64)
    tasks = np.repeat(np.arange(len(embeddings.task_sizes)), embeddings.task_sizes)
    return rows, classes, tasks[classes]


def summarise(embeddings: Embeddings) -> dict[str, dict[str, float | None]]:
    """Compute the metrics of `DEFINITIONS`; class metrics also for old and new classes alone.

    Returns:
        modality -> name -> value; None where a metric is not defined. ``NAME_old`` is over the
        clips of the classes of all tasks but the last, ``NAME_new`` over those of the last task.
        Metrics that compare both modalities are under ``audio_visual``. ``knn`` and the recalls
        are in percent.
    """
    from threadpoolctl import threadpool_limits

    rows, classes_M, tasks_M = taught(embeddings)
    last = len(embeddings.task_sizes) - 1
    groups = {"": rows >= 0, "_old": tasks_M < last, "_new": tasks_M == last}
    result: dict[str, dict[str, float | None]] = {}
    with threadpool_limits(1):  # fixed order of summation: bit-exact on any number of cores
        for modality in MODALITIES:
            part = embeddings.part(modality)
            result[modality] = {}
            for suffix, mask in groups.items():
                found = (
                    dict.fromkeys(_OF_CLASSES)
                    if part is None
                    else _of_classes(part[rows][mask], classes_M[mask])
                )
                result[modality] |= {name + suffix: value for name, value in found.items()}
        audio, visual = embeddings.part("audio"), embeddings.part("visual")
        if audio is not None and visual is not None:
            recalls = retrieval(audio[rows], visual[rows], classes_M)
            result["audio_visual"] |= {name: _percent(value) for name, value in recalls.items()}
            result["audio_visual"]["modality_gap"] = modality_gap(audio[rows], visual[rows])
    return result


def _of_classes(vectors_ME: Floats, classes_M: Classes) -> dict[str, float | None]:
    return {
        "silhouette": silhouette(vectors_ME, classes_M),
        "davies_bouldin": davies_bouldin(vectors_ME, classes_M),
        "knn": _percent(knn_accuracy(vectors_ME, classes_M)),
        "nmi": nmi(vectors_ME, classes_M),
    }


def _percent(value: float | None) -> float | None:
    return None if value is None else 100.0 * value


def _is_one_point(vectors_ME: Floats) -> bool:
    return len(vectors_ME) == 0 or bool((vectors_ME == vectors_ME[0]).all())


def _unit(vectors_ME: Floats) -> npt.NDArray[np.float64]:
    """Vectors normalised to length 1; a zero vector stays zero."""
    vectors = vectors_ME.astype(np.float64)
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(length > 0, length, 1.0))


@register_metrics("embeddings")
class EmbeddingMetrics(MetricGroup):
    """Separation of classes and alignment of modalities, with class metrics of old and new ones."""

    title = "Embeddings of the final model"
    position = 60
    definitions = DEFINITIONS | {
        f"{name}{suffix}": f"{name} of {classes}"
        for suffix, classes in SUBSETS.items()
        for name in _OF_CLASSES
        if suffix
    }
    decimals = {f"{name}{suffix}": 3 for suffix in SUBSETS for name in _UNITLESS} | {
        "modality_gap": 3
    }

    @staticmethod
    def compute(stored: Stored) -> Numbers:
        """See `MetricGroup`."""
        return {} if stored.embeddings is None else dict(summarise(stored.embeddings))
