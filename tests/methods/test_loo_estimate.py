"""Leave-one-out predictions against training again without the sources, kind of data by kind."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from cign.data.batches import ArraySource
from cign.data.tasks import TaskClips, TaskSequence
from cign.methods import loo_estimate
from cign.methods.capabilities import leaves_out
from cign.methods.left_out import ClipsToLeaveOut
from cign.methods.loo_estimate import predictions_left_out
from cign.methods.phases import Phase, TrainingOptions
from cign.training.feed import Feed
from cign.vocabulary import MODALITIES, UNIMODAL
from toy import FIXED, toy_method, toy_tokens

NUM_CLASSES, NUM_SOURCES, WIDTH = 6, 50, 24
OPTIONS = {
    "cign_analytic": {**FIXED["cign_analytic"], "num_single": 2},
    "analytic": FIXED["analytic"],
}


class Clips:
    """Clips of 50 sources."""

    def __init__(self, labels, sources, noise=1.0, clutter=0.0, seed=3):
        names = [f"class {c}" for c in range(NUM_CLASSES)]
        rng = np.random.default_rng(seed)
        _, audio, visual = toy_tokens(NUM_CLASSES, 1, noise=0.0)
        rows = [rng.choice(c) for c in labels]
        self.tokens = []
        for tokens in (audio, visual):
            x = tokens[rows] + noise * rng.normal(size=(len(rows), *tokens.shape[1:]))
            if clutter:  # all tokens but one show something else
                others = rng.permutation(len(rows))
                x[:, 1:] = (1 - clutter) * x[:, 1:] + clutter * x[others, 1:]
            self.tokens.append(x.astype(np.float16))
        self.clips = TaskClips.of(
            [tuple(names[c] for c in some) for some in labels],
            TaskSequence((tuple(names),)),
            [" + ".join(some) for some in sources],
        )
        self.several = any(len(some) > 1 for some in labels)
        audio, visual = self.tokens
        self.source = ArraySource(lambda i: audio[i], lambda i: visual[i], 0)
        assert len({name for some in self.clips.sources for name in some}) == NUM_SOURCES

    def __len__(self):
        return len(self.clips.sources)

    def batches(self, indices):
        feed = Feed(clips=self.clips, source=self.source, device="cpu")
        return feed.batches(np.array_split(indices, max(1, len(indices) // 40)), 0)

    def learned(self, indices, name="cign_analytic", **options):
        """A method that learned some clips."""
        options = {"width": WIDTH, "precision": "float64", **OPTIONS[name], **options}
        method = toy_method(name, options, multi_label=self.several)
        method.grow(NUM_CLASSES)
        phase = Phase(name="s", indices=indices, options=TrainingOptions(), updates=False)
        for batch in self.batches(np.asarray(indices)):
            method.learn(batch, phase)
        method.solve()
        return method

    def all(self):
        return ClipsToLeaveOut(
            indices=np.arange(len(self)), sources=self.clips.sources, batches=self.batches
        )


def plain():
    labels = [(source % NUM_CLASSES,) for source in range(NUM_SOURCES) for _ in range(2)]
    return Clips(labels, [(f"recording {n // 2}",) for n in range(len(labels))])


def clutter():
    """Every source has one to four clips."""
    sizes = [1 + source % 4 for source in range(NUM_SOURCES)]
    of_clip = np.repeat(np.arange(NUM_SOURCES), sizes)
    labels = [(int(source) % NUM_CLASSES,) for source in of_clip]
    return Clips(labels, [(f"recording {n}",) for n in of_clip], noise=0.5, clutter=0.7)


def duets():
    """Each clip mixes two sources of different classes, and most sources are in three or more."""
    rng = np.random.default_rng(0)
    pairs = [tuple(rng.permutation(NUM_SOURCES)[:2]) for _ in range(40)]
    pairs += [(n, (n + 1) % NUM_SOURCES) for n in range(NUM_SOURCES)]
    pairs = [(int(a), int(b)) for a, b in pairs if a % NUM_CLASSES != b % NUM_CLASSES]
    labels = [(a % NUM_CLASSES, b % NUM_CLASSES) for a, b in pairs]
    return Clips(labels, [(f"recording {a}", f"recording {b}") for a, b in pairs])


def long_tail():
    """Classes of 25, 12, 6, 4, 2 and 1 sources; the last class is never recognised."""
    sizes = (25, 12, 6, 4, 2, 1)
    labels = [(c,) for c, size in enumerate(sizes) for _ in range(2 * size)]
    return Clips(labels, [(f"recording {n // 2}",) for n in range(len(labels))])


KINDS = {"plain": plain, "clutter": clutter, "duets": duets, "long tail": long_tail}


def retrained(clips, name, **options):
    """Logits of every clip by a method trained without its sources, in float64 and plain numpy."""
    every = np.arange(len(clips))
    logits = {m: np.zeros((len(clips), NUM_CLASSES)) for m in MODALITIES}
    predicted = {m: np.zeros((len(clips), NUM_CLASSES)) for m in MODALITIES}
    sources = clips.clips.sources
    for own in sorted(set(sources)):
        gone = [i for i in every if set(own) & set(sources[i])]
        method = clips.learned(np.setdiff1d(every, gone), name, **options)
        scored = np.array([i for i in every if sources[i] == own])
        counts = method.class_clips.numpy().clip(1)
        for modality, tokens in zip(UNIMODAL, clips.source.read(scored), strict=True):
            one = method.of(modality)
            setting = one.setting
            gram = one.fitted_gram.numpy()
            gram = np.tril(gram) + np.tril(gram, -1).T
            system = gram + setting.ridge * np.eye(len(gram))
            solution = np.linalg.solve(system, method.cross(modality).numpy())
            solution = solution * (counts.mean() / counts) ** setting.count_power
            view = setting.view
            features = one.projection(view)(view.vectors(tokens.double())).numpy()
            scores = features @ solution
            weight = np.repeat(view.shares(tokens.double()).numpy()[..., None], NUM_CLASSES, axis=2)
            weight = weight * np.exp(scores / setting.assignment_temperature)
            weight = weight / weight.sum(axis=1, keepdims=True)
            found = (weight * scores).sum(axis=1) - (0.5 if clips.several else 0.0)
            logits[modality][scored] = found / setting.temperature
        output = method.predict(*clips.source.read(scored)).probabilities
        for modality in MODALITIES:
            predicted[modality][scored] = output[modality].numpy()
    logits["audio_visual"] = logits["audio"] + logits["visual"]
    return logits, predicted


def probabilities_of(logits, several):
    if several:
        return 1 / (1 + np.exp(-logits))
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    return shares / shares.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("name", list(OPTIONS))
@pytest.mark.parametrize("kind", list(KINDS))
def test_predictions_equal_training_again_without_the_source(kind, name):
    clips = KINDS[kind]()
    found = predictions_left_out(clips.learned(np.arange(len(clips)), name), clips.all())
    logits, predicted = retrained(clips, name)
    for modality in MODALITIES:
        mine = found.probabilities[modality].numpy()
        wanted = probabilities_of(logits[modality], clips.several)
        np.testing.assert_allclose(mine, wanted, rtol=0, atol=1e-8)
        # The product itself predicts with weights in float32.
        np.testing.assert_allclose(mine, predicted[modality], rtol=0, atol=2e-5)
    assert found.are_all
    assert not found.is_singular.any()
    np.testing.assert_array_equal(found.targets.numpy(), clips.clips.targets)
    others = clips.learned(np.arange(len(clips)))
    plain_ones = others.predict(*clips.source.read(np.arange(len(clips)))).probabilities
    difference = (plain_ones["audio_visual"] - found.probabilities["audio_visual"]).abs().max()
    assert difference > 0.01  # leaving out does make a difference


def uncertain():
    """Weights, shares of two labels, and background; some of it shares sources with other clips."""
    clips = plain()
    draw = np.random.default_rng(5)
    targets = clips.clips.targets
    shares = targets * draw.uniform(0.4, 1.0, targets.shape)
    shares[::3] = 0.6 * targets[::3] + 0.25 * np.roll(targets[::3], 1, axis=1)
    background = draw.random(len(clips)) < 0.2
    shares[background] = 0.0
    clips.clips = replace(
        clips.clips,
        targets=shares > 0,
        shares=shares,
        weights=draw.uniform(0.1, 1.0, len(clips)),
        background=background,
    )
    return clips


@pytest.mark.parametrize("large", [1.5, 0.0])  # of 0: each source is subtracted from the sums
@pytest.mark.parametrize("name", list(OPTIONS))
def test_uncertain_clips_are_left_out_as_they_were_learned(name, large, monkeypatch):
    monkeypatch.setattr(loo_estimate, "LARGE_SHARE", large)
    clips = uncertain()
    found = predictions_left_out(clips.learned(np.arange(len(clips)), name), clips.all())
    logits, _ = retrained(clips, name)
    for modality in MODALITIES:
        mine = found.probabilities[modality].numpy()
        wanted = probabilities_of(logits[modality], several=False)
        np.testing.assert_allclose(mine, wanted, rtol=0, atol=1e-8)
    assert found.are_all
    labelled = ~clips.clips.background
    likely = clips.clips.shares.argmax(axis=1)
    np.testing.assert_array_equal(found.targets.numpy()[labelled].argmax(axis=1), likely[labelled])
    np.testing.assert_array_equal(found.targets.numpy().sum(axis=1), labelled)
    assert found.has_class_left.all()


@pytest.mark.parametrize("kind", ["clutter", "duets"])
def test_estimates_have_the_fusion_of_the_predictions(kind):
    clips = KINDS[kind]()
    fusion = {"fusion": {"kind": "mean", "temperature": 2.0}}
    method = clips.learned(np.arange(len(clips)), **fusion)
    found = predictions_left_out(method, clips.all()).probabilities
    p = {m: found[m].numpy() for m in ("audio", "visual")}
    if clips.several:
        odds = [np.log(p[m] / (1 - p[m])) for m in p]
        wanted = sum(1 / (1 + np.exp(-one / 2.0)) for one in odds) / 2
    else:
        wanted = sum(np.sqrt(p[m]) / np.sqrt(p[m]).sum(axis=1, keepdims=True) for m in p) / 2
    np.testing.assert_allclose(found["audio_visual"].numpy(), wanted, rtol=0, atol=1e-9)


def test_a_clip_of_a_class_with_a_single_source_has_no_class_left():
    clips = long_tail()
    found = predictions_left_out(clips.learned(np.arange(len(clips))), clips.all())
    alone = clips.clips.targets[:, -1]
    assert alone.sum() == 2
    np.testing.assert_array_equal(~found.has_class_left.numpy(), alone)
    # Its class cannot be recognised.
    assert (found.probabilities["audio_visual"][alone].argmax(dim=1) != NUM_CLASSES - 1).all()


@pytest.mark.parametrize("kind", ["clutter", "duets"])
@pytest.mark.parametrize(
    "change", [("BATCH_BYTES", 1), ("BATCH_BYTES", 40_000), ("LARGE_SHARE", 0.2)]
)
def test_batches_and_large_sources_change_nothing(kind, change, monkeypatch):
    clips = KINDS[kind]()
    method = clips.learned(np.arange(len(clips)))
    wanted = predictions_left_out(method, clips.all())
    monkeypatch.setattr(loo_estimate, *change)
    found = predictions_left_out(method, clips.all())
    for modality in MODALITIES:
        torch.testing.assert_close(
            found.probabilities[modality], wanted.probabilities[modality], rtol=0, atol=1e-9
        )
    assert torch.equal(found.targets, wanted.targets)
    assert torch.equal(found.has_class_left, wanted.has_class_left)


def test_batches_hold_few_clips(monkeypatch):
    """Each batch names no more clips than fit, except the clips of a single set."""
    clips = clutter()
    method = clips.learned(np.arange(len(clips)))
    size = 10
    monkeypatch.setattr(loo_estimate, "BATCH_BYTES", size * loo_estimate._bytes_per_clip(method))
    read = []

    def batches(indices):
        read.append(len(indices))
        return clips.batches(indices)

    some = ClipsToLeaveOut(
        indices=np.arange(len(clips)), sources=clips.clips.sources, batches=batches
    )
    predictions_left_out(method, some)
    assert max(read) <= size
    assert sum(read) == len(clips)


@pytest.mark.parametrize("precision", ["bfloat16", "float32"])
def test_rounded_products_give_nearly_the_same(precision):
    clips = plain()
    every = np.arange(len(clips))
    exact = predictions_left_out(clips.learned(every), clips.all())
    found = predictions_left_out(clips.learned(every, precision=precision), clips.all())
    assert found.are_all
    bound = {"bfloat16": 0.05, "float32": 1e-4}[precision]
    for modality in MODALITIES:
        difference = found.probabilities[modality] - exact.probabilities[modality]
        assert difference.abs().max() < bound


@pytest.mark.parametrize("precision", ["bfloat16", "float32", "float64"])
def test_other_clips_of_the_same_classes_are_noticed(precision):
    clips = plain()
    every = np.arange(len(clips))
    method = clips.learned(every, precision=precision)
    audio, visual = (tokens.copy() for tokens in clips.tokens)
    visual[7] = visual[7 + 2 * NUM_CLASSES]  # a clip of the same class
    clips.source = ArraySource(lambda i: audio[i], lambda i: visual[i], 0)
    assert not predictions_left_out(method, clips.all()).are_all


def test_only_closed_form_methods_leave_out():
    assert leaves_out(plain().learned(np.arange(4))) is not None
    assert leaves_out(toy_method("finetune")) is None


def test_a_singular_solution_has_no_predictions():
    clips = Clips(
        [(n % NUM_CLASSES,) for n in range(NUM_SOURCES)], [(f"r{n}",) for n in range(NUM_SOURCES)]
    )
    # Four times as many features as clips.
    method = toy_method("analytic", {**FIXED["analytic"], "width": 200, "ridge": [1e-300]})
    method.grow(NUM_CLASSES)
    for batch in clips.batches(np.arange(NUM_SOURCES)):
        method.absorb(batch)
    found = predictions_left_out(method, clips.all())
    assert found.is_singular.all()
