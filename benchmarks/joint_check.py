"""Is `joint` a fair reference? Its last accuracy against scikit-learn's logistic regression.

Both use the same training clips, the regression on their mean tokens; its regularisation is chosen
by cross-validation. If joint is more than 1 point below the regression, it is undertrained.

    python benchmarks/joint_check.py STORE... [--tasks 4] [--out benchmarks/results/joint_check.md]
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegressionCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from cign.data.store import Store
from cign.learner import Learner
from cign.vocabulary import MODALITIES


def mean_tokens(store: Store, indices: np.ndarray) -> dict[str, np.ndarray]:
    """Mean audio token, mean visual token, and both side by side, in float64."""
    cache = store.tokens("small")
    audio = cache.audio(indices).astype(np.float64).mean(axis=1)
    visual = cache.visual(indices).astype(np.float64).mean(axis=1)
    return {"audio": audio, "visual": visual, "audio_visual": np.hstack([audio, visual])}


def regression_accuracy(store: Store) -> dict[str, float]:
    """Test accuracy of logistic regression in percent, for each modality."""
    train, test = store.indices("train"), store.indices("test")
    labels = np.array([clip.labels[0] for clip in store.table.clips])
    x_train, x_test = mean_tokens(store, train), mean_tokens(store, test)
    result = {}
    for modality in MODALITIES:
        model = make_pipeline(
            StandardScaler(),
            LogisticRegressionCV(
                Cs=np.logspace(-4, 1, 6),
                cv=4,
                max_iter=2000,
                scoring="accuracy",
                l1_ratios=(0,),
                use_legacy_attributes=False,
            ),
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(x_train[modality], labels[train])
        result[modality] = 100 * model.score(x_test[modality], labels[test])
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("stores", nargs="+", type=Path)
    parser.add_argument("--tasks", type=int, default=4)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    lines = [
        "| store | classes | test clips | joint A / V / AV | regression A / V / AV "
        "| joint - regression, AV | AV - better single | limit |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for folder in arguments.stores:
        store = Store.open(folder)
        learner = Learner("joint").learn(store, tasks=arguments.tasks)
        joint = {r: learner.metrics["modalities"][r]["last"] for r in MODALITIES}
        regression = regression_accuracy(store)
        gain = joint["audio_visual"] - max(joint["audio"], joint["visual"])
        lines.append(
            f"| {folder.name} | {len(store.class_names)} | {len(store.indices('test'))} "
            f"| {' / '.join(f'{joint[r]:.1f}' for r in MODALITIES)} "
            f"| {' / '.join(f'{regression[r]:.1f}' for r in MODALITIES)} "
            f"| {joint['audio_visual'] - regression['audio_visual']:+.1f} | {gain:+.1f} "
            f"| {learner.metrics['limit']:g} |"
        )
        print(lines[-1], flush=True)
    if arguments.out:
        text = (
            "# `joint` against logistic regression on the same mean tokens\n\n"
            f"`python benchmarks/joint_check.py STORE... --tasks {arguments.tasks}`; percent after "
            "the last task.\nRequirement: joint at most 1 point below the regression.\n\n"
        )
        arguments.out.write_text(text + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
