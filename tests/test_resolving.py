"""Solving models again with other settings, which stay until they are selected again."""

import json

from cign.learner import Learner
from cign.saved_model.folder import load_model, save_model
from cign.updating.edits import add_clips
from cign.updating.resolving import resolve_model
from refusals import input_error, run_error
from summed import MoreClips, model_of
from toy_model import same_answers, scores, toy_model


def test_settings_set_by_hand_stay_when_clips_are_added_until_selected_again():
    model = toy_model()
    chosen = model.method.selected
    changed, report = resolve_model(model, {"ridge": {"audio": 55.0}, "temperature": 0.2})
    assert changed.method.audio.setting.ridge == 55.0
    assert changed.method.visual.setting.ridge == model.method.visual.setting.ridge
    assert {changed.method.of(m).setting.temperature for m in ("audio", "visual")} == {0.2}
    assert report.effect.num_clips == 12
    assert changed.unknown.num_clips == 12
    added, _ = add_clips(changed, MoreClips(model))
    assert added.method.audio.setting == changed.method.audio.setting
    assert added.method.audio.evidence == model.method.audio.evidence + 1
    back, _ = resolve_model(changed, {}, select=True)
    assert back.method.selected == chosen
    assert same_answers(scores(back), scores(model))
    assert not back.method.audio.fixed
    with input_error("conflicting-options", "selected"):
        resolve_model(model, {"ridge": 1.0}, select=True)
    with input_error("missing-option", "ridge"):
        resolve_model(model, {})
    with input_error("conflicting-options", "audio.ridge"):
        resolve_model(model, {"ridge": 3.0, "audio": {"ridge": 2.0}})
    with input_error("unknown-name", "odd.ridge"):
        resolve_model(model, {"odd": {"ridge": 2.0}})


def test_a_singular_solution_leaves_the_learner_as_it_was():
    learner = Learner("cign_analytic")
    learner.model = model = model_of((0,))  # fewer tokens than features
    with run_error("singular"):
        learner.resolve({"ridge": 0.0})
    assert learner.model is model
    assert model.method.ridge_of("audio") == 1.0


def test_a_damaged_list_of_fixed_modalities_is_refused(tmp_path):
    save_model(model_of((0, 1)), tmp_path)
    about = json.loads((tmp_path / "model.json").read_text())
    for fixed in (["smell"], "audio", [["audio"]]):
        (tmp_path / "model.json").write_text(json.dumps({**about, "fixed": fixed}))
        with input_error("damaged", "fixed"):
            load_model(tmp_path)
    del about["fixed"]  # as in models saved before it was recorded
    (tmp_path / "model.json").write_text(json.dumps(about))
    assert not load_model(tmp_path).method.audio.fixed
