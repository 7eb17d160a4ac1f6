"""Window predictions for tests of segments."""

from cign.inference.prediction import Prediction
from cign.vocabulary import MODALITIES


def window(start_s, classes, *, size_s=2.0, is_unknown=False, file="long.wav", missing=()):
    """The prediction of a window with some probabilities, the same in all modalities."""
    found = [
        {"label": label, "probability": value}
        for label, value in sorted(classes.items(), key=lambda item: -item[1])
    ]
    return Prediction(
        file=file,
        start_s=start_s,
        end_s=start_s + size_s,
        label=found[0]["label"],
        unknown=0.9 if is_unknown else 0.1,
        is_unknown=is_unknown,
        modalities={name: [] if name in missing else found for name in MODALITIES},
        missing=list(missing),
    )


def push_all(merger, windows):
    """All segments of one recording."""
    return [one for each in windows for one in merger.push(each)] + merger.close()
