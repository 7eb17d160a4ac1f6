"""Tasks for a closed-form method without the loop, and its tallies by training again."""

import math
from collections import Counter

import numpy as np

from cign.data.batches import ArraySource
from cign.data.tasks import TaskClips, TaskSequence
from cign.methods.base import TaskData
from cign.methods.phases import Phase, TrainingOptions
from cign.training.feed import Feed
from cign.vocabulary import UNIMODAL
from summed import hashes_of
from toy import toy_method, toy_tokens

CANDIDATES = {
    "width": 24,
    "pooling": ["tokens", "mean", "statistics"],
    "contrast": [0.0, 0.5],
    "saliency": [2.0],
    "token_share": [0.3, 0.0],
    "ridge": [1.0, 20.0],
    "assignment_temperature": [0.3, None],
    "temperature": [0.1, 0.3],
    "count_power": [0.5, 0.0],
    "num_single": 2,
    "precision": "float64",
}


class Problem:
    """A method that learns tasks of given clips, without the loop."""

    def __init__(self, labels, sources, groups, options=CANDIDATES, noise=2.0, **setup):
        names = [f"class {c}" for c in range(6)]
        _, audio, visual = toy_tokens(6, 12, noise=noise)
        self.rows = np.array([12 * c[0] + n % 12 for n, c in enumerate(labels)])
        self.clips = TaskClips.of(
            [tuple(names[c] for c in some) for some in labels],
            TaskSequence(tuple(tuple(names[c] for c in group) for group in groups)),
            sources,
            hashes_of(range(len(labels))),
        )
        self.source = ArraySource(lambda i: audio[self.rows[i]], lambda i: visual[self.rows[i]], 0)
        self.method = toy_method("cign_analytic", options, **setup)

    def data(self, task, new=None):
        feed = Feed(clips=self.clips, source=self.source, device="cpu")
        none = np.zeros(0, dtype=np.int64)
        every = np.arange(len(self.rows))
        return TaskData(
            task=task,
            num_old=self.method.num_classes,
            num_new=self.clips.tasks.sizes[task],
            new=self.clips.of_task(every, task) if new is None else np.asarray(new, dtype=np.int64),
            memory=none,
            earlier=none,
            batches=lambda indices: feed.batches([indices], task),
            class_of=self.clips.class_of,
            sources=lambda indices: [self.clips.sources[i] for i in indices],
            features=lambda indices: np.zeros((0, 0), np.float32),
            bytes_per_clip=0,
            seed=0,
            identity=feed.identity(task),
        )

    def teach(self, task, new=None):
        data = self.data(task, new)
        self.method.grow(data.num_new)
        phase = Phase(name="s", indices=data.new, options=TrainingOptions(), updates=False)
        for batch in data.batches(data.new) if len(data.new) else ():
            self.method.learn(batch, phase)
        self.method.after_task(data)
        return self.method


def small(**how):
    """Two tasks of three classes with unequal counts; most sources have two clips."""
    counts = (9, 3, 6, 5, 8, 4)
    labels = [(c,) for c, number in enumerate(counts) for _ in range(number)]
    sources = [f"recording {n // 2}" for n in range(len(labels))]
    return Problem(labels, sources, [[0, 1, 2], [3, 4, 5]], **how)


def explicit(problem, modality, tasks=(0, 1), multi_label=False, forgotten=()):
    """The tallies by training again without the sources of each clip, setting by setting.

    Clips that were forgotten later had a part in the solutions, but are not scored.

    Returns the sums of losses, and the sums over sources of squared differences from the default.
    """
    settings, one = problem.method.options.settings, problem.method.of(modality)
    clips = problem.clips
    tallies, squares = np.zeros(settings.size), np.zeros(settings.size)
    for task in tasks:
        of_default = None
        known = clips.up_to(np.arange(len(problem.rows)), task)
        num_classes = sum(clips.tasks.sizes[: task + 1])
        targets = clips.targets[:, :num_classes]
        own = [i for i in known if clips.task_of_clip[i] == task]
        tokens = problem.source.read(np.arange(len(problem.rows)))[UNIMODAL.index(modality)]
        for number in range(settings.size):
            setting = settings[number]
            first = next(n for n in range(settings.size) if settings[n] == setting)
            if first != number:
                tallies[number] = squares[number] = math.inf
                continue
            view = setting.view
            features = one.projection(view)(view.vectors(tokens.double())).numpy()
            shares = view.shares(tokens.double()).numpy()
            found, scored = {}, {}
            for i in own:
                # Clips of earlier tasks are not stored, so they stay.
                gone = [j for j in own if set(clips.sources[i]) & set(clips.sources[j])]
                others = [j for j in known if j not in gone]
                x, y = [], []
                for j in others:
                    pooled = shares[j] @ features[j]
                    x.append(math.sqrt(1 - setting.token_share) * pooled)
                    y.append(math.sqrt(1 - setting.token_share) * targets[j])
                    if setting.token_share and view.has_tokens:
                        best = np.argsort(-shares[j])[:2]
                        part = setting.token_share * shares[j][best] / shares[j][best].sum()
                        x += list(np.sqrt(part)[:, None] * features[j][best])
                        y += list(np.sqrt(part)[:, None] * targets[j])
                x, y = np.array(x), np.array(y, float)
                solution = np.linalg.solve(x.T @ x + setting.ridge * np.eye(x.shape[1]), x.T @ y)
                counts = targets[others].sum(axis=0)
                at_least = np.maximum(targets[known].sum(axis=0), 1)
                of_task = targets[own].any(axis=0)
                means = [at_least[~of_task].mean() if task else 0, at_least[of_task].mean()]
                balance = (np.where(of_task, *means[::-1]) / at_least) ** setting.count_power
                scores = features[i] @ solution * balance
                weight = np.repeat(shares[i][:, None], num_classes, axis=1)
                if math.isfinite(setting.assignment_temperature):
                    weight = weight * np.exp(scores / setting.assignment_temperature)
                    weight = weight / weight.sum(axis=0)
                clip = (weight * scores).sum(axis=0)
                if multi_label:
                    logits = (clip - 0.5) / setting.temperature
                    each = np.logaddexp(0, logits) - targets[i] * logits
                    loss = each.mean()
                else:
                    logits = clip / setting.temperature
                    loss = np.logaddexp.reduce(logits) - logits[targets[i]].sum()
                found[i] = loss
                scored[i] = [c for c in np.flatnonzero(targets[i]) if counts[c] > 0]
            found = {i: loss for i, loss in found.items() if i not in forgotten}
            scored = {i: some for i, some in scored.items() if i not in forgotten}
            number_of = Counter(c for some in scored.values() for c in some)
            for i, some in scored.items():
                found[i] *= sum(1 / number_of[c] for c in some)
            tallies[number] += sum(found.values())
            if of_default is None:
                of_default = found
            together = Counter()
            for i, loss in found.items():
                source = clips.sources[i] if all(len(x) == 1 for x in clips.sources) else i
                together[source] += loss - of_default[i]
            squares[number] += sum(value**2 for value in together.values())
    return tallies, squares


def check_tallies(problem, modality, rtol=1e-6, **how):
    """The tallies of the method equal the explicit ones."""
    one = problem.method.of(modality)
    tallies, squares = explicit(problem, modality, **how)
    np.testing.assert_allclose(one.losses.flatten().numpy(), tallies, rtol=rtol)
    atol = 1e-12 if rtol == 1e-6 else rtol * squares[np.isfinite(squares)].max()
    np.testing.assert_allclose(one.squares.flatten().numpy(), squares, rtol=rtol, atol=atol)
    return tallies, squares
