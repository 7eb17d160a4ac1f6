"""What `cign predict` says of clips that no class explains, and of the threshold for them."""

import json
import shutil

from .adding import refused


def test_the_threshold_may_be_given_and_disabled(cign, runs, tiny):
    run = runs / "cign_analytic"
    clips = sorted(map(str, (tiny[0] / "test").rglob("*.mp4")))[:6]

    def called(*options):
        code, out, _ = cign("predict", run, *clips, "--jsonl", *options)
        assert code == 0
        found = [json.loads(line) for line in out.splitlines()]
        return [one["unknown"] for one in found], [one["is_unknown"] for one in found]

    scores, _ = called()
    middle = sorted(scores)[2] + 1e-5
    assert called("--unknown-threshold", middle)[1] == [score > middle for score in scores]
    assert called("--unknown-threshold", 0)[1] == [False] * 6
    assert called("--unknown-threshold", 0.000001)[1] == [True] * 6
    for wrong in ("-1", "1.5", "nan", "x"):
        refused(
            cign("predict", run, clips[0], "--unknown-threshold", wrong),
            f"--unknown-threshold: '{wrong}' is invalid: it must be in [0, 1]; 0 disables it",
        )


def test_why_a_confident_clip_is_unknown_is_said_in_words(cign, runs, tiny):
    clips = sorted(map(str, (tiny[0] / "test").rglob("*.mp4")))
    arguments = ("predict", runs / "cign_analytic", *clips, "--unknown-threshold", 0.000001)
    code, out, err = cign(*arguments)
    assert code == 0
    lines = [line for line in out.splitlines() if "unknown although" in line]
    assert lines
    for line in lines:
        assert "standard deviations" in line
        assert any(name in line for name in ("leverage", "margin", "max_logit"))
    assert "validation clips; --unknown" not in err  # the model's own threshold was not used


def test_on_how_many_clips_the_threshold_is_based_is_said(cign, runs, tiny, tmp_path):
    (clip, *_) = sorted(map(str, (tiny[0] / "test").rglob("*.mp4")))
    place = shutil.copytree(runs / "cign_analytic" / "model", tmp_path / "model")
    about = json.loads((place / "model.json").read_text())
    number = about["unknown"]["num_clips"]
    assert number > 0
    said = "the unknown threshold is based on {} validation clips; --unknown-threshold X"
    assert said.format(number) in cign("predict", place, clip)[2]
    # Models of earlier versions do not say it.
    thresholds, rule = about["unknown"]["thresholds"], about.pop("unknown")
    about["unknown_threshold"] = thresholds["audio_visual"]
    (place / "model.json").write_text(json.dumps(about))
    assert said.format("an unknown number of") in cign("predict", place, clip)[2]
    about["unknown"] = {**rule, "thresholds": {}, "num_clips": 0}
    (place / "model.json").write_text(json.dumps(about))
    err = cign("predict", place, clip)[2]
    assert (
        "no unknown threshold, because it was trained without validation clips: nothing is called"
        in err
    )
