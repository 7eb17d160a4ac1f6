"""Estimators of scikit-learn: `AnalyticClassifier` over features, `ClipClassifier` over clips."""

from cign.sklearn.clips import ClipClassifier
from cign.sklearn.features import AnalyticClassifier

__all__ = ["AnalyticClassifier", "ClipClassifier"]
