"""scikit-learn estimators: `AnalyticClassifier` for features, `ClipClassifier` for clips."""

from cign.sklearn.clips import ClipClassifier
from cign.sklearn.features import AnalyticClassifier

__all__ = ["AnalyticClassifier", "ClipClassifier"]
