"""The toy problem for methods on pooled tokens: runs, features and labels."""

import numpy as np
import torch

from cign.data.batches import ArraySource
from cign.methods.base import Batch, TaskData
from toy import toy_loop, toy_method, toy_tokens


def run(name, num_tasks=3, order=0, **options):
    """A loop that has learned the toy problem."""
    loop = toy_loop(name, options=options, num_tasks=num_tasks, order=order)
    loop.run()
    loop.method.eval()
    return loop


def means(loop, indices):
    """Pooled tokens of clips in float64, audio and visual, as the method rounds them to float32."""
    with torch.no_grad():
        features, _ = loop.method.pooled(*loop.source.read(indices))
    return [features[name].double().numpy() for name in ("audio", "visual")]


def labels_of(loop, indices):
    """Labels in the order of learning."""
    return loop.clips.targets[indices].argmax(axis=1)


def logits(loop, indices):
    """Logits by modality, float64."""
    with torch.no_grad():
        output = loop.method.predict(*loop.source.read(indices))
    return {name: values.double().numpy() for name, values in output.logits.items()}


def by_name(loop):
    """Last scores with columns in the order of the class names."""
    columns = np.argsort(loop.predictions.class_names)
    return {name: scores[:, columns] for name, scores in loop.predictions.scores[-1].items()}


def run_changed(name, change, *, num_tasks=3, train=None, **options):
    """A run on tokens that a function of labels, audio and visual changes in place.

    Args:
        name: The method.
        change: Changes the tokens.
        num_tasks: Number of tasks.
        train: Chooses the training clips from their labels and indices; None takes all.
        **options: Of the method.
    """
    loop = toy_loop(name, options=options, num_tasks=num_tasks)
    labels, audio, visual = toy_tokens()
    change(labels, audio, visual)
    loop.source = ArraySource(lambda i: audio[i], lambda i: visual[i], bytes_per_clip=224)
    if train is not None:
        loop.train = loop.train[train(labels[loop.train], np.arange(len(loop.train)))]
    loop.run()
    loop.method.eval()
    return loop


def multi_label(name, num_tasks=1, **options):
    """A method that learned clips of two labels each, and their features and targets."""
    method = toy_method(name, options, multi_label=True)
    labels, audio, visual = toy_tokens()
    targets = np.eye(6, dtype=bool)[labels]
    targets |= np.roll(targets, 1, axis=1)
    audio, visual = torch.from_numpy(audio), torch.from_numpy(visual)
    known = 0
    for task, group in enumerate(np.array_split(np.arange(6), num_tasks)):
        old, known = known, known + len(group)
        method.grow(len(group))
        new = np.flatnonzero(np.isin(labels, group))

        def batches(indices, known=known):
            for some in np.array_split(indices, 3):
                yield Batch(
                    audio=audio[some],
                    visual=visual[some],
                    targets=torch.from_numpy(targets[some][:, :known]),
                    from_memory=torch.zeros(len(some), dtype=torch.bool),
                    indices=some,
                )

        data = TaskData(
            task=task,
            num_old=old,
            num_new=len(group),
            new=new,
            memory=new[:0],
            earlier=new[:0],
            batches=batches,
            class_of=lambda i: labels[i],
            sources=lambda i: [(str(k),) for k in i],
            features=lambda i: None,
            bytes_per_clip=1,
            seed=0,
        )
        (phase,) = method.phases(data)
        for batch in batches(new):
            method.learn(batch, phase)
        method.after_task(data)
    method.eval()
    features, _ = method.pooled(audio, visual)
    parts = [features[name].double().numpy() for name in ("audio", "visual")]
    return method, (audio, visual), parts, targets
