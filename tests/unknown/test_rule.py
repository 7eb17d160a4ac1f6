"""A model's rule: its evidence is what the method predicts with, its threshold keeps 95 %."""

import copy
import dataclasses

import numpy as np
import pytest
import torch
from scipy.special import expit, logsumexp
from sklearn.metrics import roc_auc_score

from cign.data.batches import ArraySource
from cign.open_set.evidence import EvidenceReader
from cign.open_set.rule import (
    KNOWN_SHARE,
    MOST_CLIPS,
    SCORES,
    UnknownRule,
    default_score,
    fit_rule,
    possible_scores,
    read_evidence,
    rule_on,
)
from cign.saved_model.folder import load_model, save_model
from cign.saved_model.validation_clips import KeptClips
from cign.vocabulary import MODALITIES
from refusals import input_error
from toy import FIXED, toy_loop, toy_tokens
from toy_model import toy_model

WIDE = {
    "cign_analytic": {"width": 60},
    "analytic": {"width": 60, "ridge": [5.0]},
}
NUM_TAUGHT = 4


def taught(name, options=None):
    """A method that knows four of six classes; tokens of clips it has not seen, and their labels.

    The clips of the last two classes are unknown.
    """
    torch.set_num_threads(1)
    loop = toy_loop(name, options=options or WIDE.get(name), num_tasks=3, per_class=18)
    methods = []
    loop.after_task = lambda: methods.append(copy.deepcopy(loop.method))
    loop.run()
    method = methods[1]
    assert method.num_classes == NUM_TAUGHT
    labels, _, _ = toy_tokens(6, 18)
    return method, loop.source, loop.test, labels[loop.test]


@pytest.mark.parametrize("contrast", [0.0, 0.5])
def test_leverage_is_measured_in_the_space_of_the_gram_matrix(contrast):
    """Of clips alone the sums hold what evidence is made of, so a learned clip is never far."""
    options = {
        **{"width": 60, **FIXED["cign_analytic"]},
        **{"token_share": [0.0], "precision": "float64", "contrast": [contrast]},
    }
    torch.set_num_threads(1)
    loop = toy_loop("cign_analytic", options=options, num_tasks=3, per_class=18)
    loop.run()
    audio, visual = loop.source.read(loop.train)
    features = loop.method.predict(audio, visual).features
    for modality, one in features.items():
        gram = loop.method.gram(modality)
        wanted = one.double().T @ one.double()
        torch.testing.assert_close(torch.tril(gram), torch.tril(wanted), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["cign_analytic", "analytic"])
def test_evidence_has_the_probabilities_that_predict_gives_bit_for_bit(name):
    method, source, test, _ = taught(name)
    audio, visual = source.read(test)
    evidence = EvidenceReader(method).read(audio, visual)
    wanted = method.predict(audio, visual).probabilities
    for modality in MODALITIES:
        assert torch.equal(evidence.probabilities[modality], wanted[modality]), modality
        again = evidence.logits[modality].softmax(dim=1)
        assert torch.allclose(again, wanted[modality], atol=1e-6)
    total = evidence.leverage["audio"] + evidence.leverage["visual"]
    assert torch.equal(evidence.leverage["audio_visual"], total)


@pytest.mark.parametrize("name", ["cign_analytic", "analytic"])
def test_the_default_score_of_a_closed_form_tells_unknown_clips(name):
    method, source, test, labels = taught(name)
    reader = EvidenceReader(method)
    assert default_score(reader) == "combined"
    known, unknown = test[labels < NUM_TAUGHT], test[labels >= NUM_TAUGHT]
    rule = fit_rule(reader, source, known)
    assert rule.score == "combined"
    for modality in MODALITIES:
        (one,), (other,) = (read_evidence(reader, source, x) for x in (known, unknown))
        values = np.r_[rule.values(one, modality), rule.values(other, modality)]
        assert ((values >= 0) & (values <= 1)).all()
        truth = np.r_[np.zeros(len(known)), np.ones(len(unknown))]
        assert roc_auc_score(truth, values) > 0.9, modality
        kept = np.mean(rule.values(one, modality) <= rule.thresholds[modality])
        assert kept >= KNOWN_SHARE - 1 / len(known)


def by_hand(method, audio, visual):
    """The three parts of the combined score, clip by clip, from the output of the method."""
    output = method.predict(audio, visual)
    leverage = {}
    for modality, features in output.features.items():
        lower = np.tril(method.gram(modality).double().numpy())
        gram = lower + np.tril(lower, -1).T
        gram += method.ridge_of(modality) * np.eye(len(gram))
        rows = features.double().numpy()
        leverage[modality] = np.array([row @ np.linalg.solve(gram, row) for row in rows])
    leverage["audio_visual"] = leverage["audio"] + leverage["visual"]
    parts = {}
    for modality in MODALITIES:
        logits = output.logits[modality].double().numpy()
        margins = []
        for row in logits:
            others = np.delete(row, row.argmax())
            margins.append(logsumexp(others) - row.max())
        parts[modality] = {
            "max_logit": np.array([-row.max() for row in logits]),
            "margin": np.array(margins),
            "leverage": np.log(leverage[modality]),
        }
    return parts


@pytest.mark.parametrize("name", ["cign_analytic", "analytic"])
def test_the_combined_score_and_its_thresholds_by_hand(name):
    method, source, test, labels = taught(name)
    reader = EvidenceReader(method)
    known, others = test[labels < NUM_TAUGHT], test[labels >= NUM_TAUGHT]
    rule = fit_rule(reader, source, known)
    on_known, on_others = (by_hand(method, *source.read(some)) for some in (known, others))
    (evidence,) = read_evidence(reader, source, others)
    for modality in MODALITIES:
        standardised, values = {}, {}
        for part, numbers in on_known[modality].items():
            mean, std = numbers.mean(), np.sqrt(((numbers - numbers.mean()) ** 2).mean())
            assert rule.moments[modality][part] == pytest.approx((mean, std), rel=1e-5)
            values[part] = (numbers - mean) / std
            standardised[part] = (on_others[modality][part] - mean) / std
        threshold = np.quantile(expit(sum(values.values()) / 3), 0.95)
        assert rule.thresholds[modality] == pytest.approx(threshold, abs=1e-5)
        found = rule.standardised_parts(evidence, modality)
        assert found.keys() == standardised.keys()
        for part, numbers in standardised.items():
            np.testing.assert_allclose(found[part], numbers, rtol=1e-4, atol=1e-4)
        score = expit(sum(standardised.values()) / 3)
        np.testing.assert_allclose(rule.values(evidence, modality), score, atol=1e-5)
    assert rule.num_clips == len(known)


def test_the_score_of_the_highest_probability_by_hand():
    method, source, test, labels = taught("finetune")
    reader = EvidenceReader(method)
    rule = fit_rule(reader, source, test[labels < NUM_TAUGHT])
    (evidence,) = read_evidence(reader, source, test[labels < NUM_TAUGHT])
    for modality in MODALITIES:
        wanted = [1 - float(row.max()) for row in evidence.probabilities[modality]]
        np.testing.assert_allclose(rule.values(evidence, modality), wanted, atol=1e-6)
        assert rule.thresholds[modality] == pytest.approx(np.quantile(wanted, 0.95), abs=1e-6)


def test_every_possible_score_of_a_method_gives_a_rule_that_survives_a_file():
    method, source, test, _ = taught("cign_analytic")
    reader = EvidenceReader(method)
    assert set(possible_scores(reader)) == set(SCORES)
    batches = read_evidence(reader, source, test)
    for score in possible_scores(reader):
        rule = rule_on(batches, score, multi_label=False)
        assert UnknownRule.from_dict(rule.to_dict(), reader, "model m") == rule
        assert set(rule.thresholds) == set(MODALITIES)
    with input_error("unknown-name", "'odd'"):
        UnknownRule.from_dict({**rule.to_dict(), "score": "odd"}, reader, "model m")


def test_a_method_that_gives_probabilities_alone_falls_back():
    fast = {"training": {"num_epochs": 2, "min_steps": 0, "batch_size": 8}}
    method, source, test, labels = taught("finetune", fast)
    reader = EvidenceReader(method)
    assert not reader.has_statistics
    rule = fit_rule(reader, source, test[labels < NUM_TAUGHT])
    assert rule.score == "max_probability"
    assert rule.moments == {}
    (evidence,) = read_evidence(reader, source, test)
    wanted = 1 - evidence.probabilities["audio"].amax(dim=1)
    assert np.allclose(rule.values(evidence, "audio"), wanted, atol=1e-7)
    assert set(possible_scores(reader)) == {"max_probability"}


def test_without_validation_clips_there_is_no_threshold():
    method, source, _, _ = taught("cign_analytic")
    rule = fit_rule(EvidenceReader(method), source, np.zeros(0, dtype=np.int64))
    assert rule == UnknownRule()
    assert rule.thresholds == {}


def test_many_validation_clips_are_thinned_evenly():
    method, source, test, _ = taught("cign_analytic")
    many = np.repeat(test, 40)
    read = []

    def modality(which):
        return lambda i: read.append(i) or which(i)

    counting = ArraySource(
        modality(lambda i: source.audio(i)), lambda i: source.visual(i), bytes_per_clip=1
    )
    rule = fit_rule(EvidenceReader(method), counting, many)
    assert rule.num_clips == MOST_CLIPS == len(np.concatenate(read))
    assert set(np.concatenate(read)) == set(test)


def test_several_labels_use_no_margin():
    method, source, test, _ = taught("cign_analytic")
    method.setup = dataclasses.replace(method.setup, multi_label=True)
    reader = EvidenceReader(method)
    rule = fit_rule(reader, source, test)
    assert set(rule.moments["audio"]) == {"max_logit", "leverage"}


def test_a_model_keeps_its_rule_and_one_of_before_reads_its_threshold(tmp_path):
    model = toy_model()
    reader = EvidenceReader(model.method)
    kept: KeptClips = model.kept
    model.unknown = fit_rule(reader, kept.source, np.arange(kept.num_clips))
    save_model(model, tmp_path / "new")
    assert load_model(tmp_path / "new").unknown == model.unknown
    assert "combined" in (tmp_path / "new" / "README.md").read_text()
    from cign.utils.files import read_json, write_json

    about = read_json(tmp_path / "new" / "model.json", "model")
    assert about["unknown"]["score"] == "combined"
    assert about["unknown_threshold"] == model.unknown.thresholds["audio_visual"]
    del about["unknown"]
    write_json(tmp_path / "new" / "model.json", {**about, "unknown_threshold": 0.25})
    old = load_model(tmp_path / "new").unknown
    assert old.score == "max_probability"
    assert old.thresholds == dict.fromkeys(MODALITIES, 0.25)
