"""Annotations become labelled clips of the model, each once."""

import shutil

from cign.learner import Learner
from cign.saved_model.versions import list_versions
from cign.utils.files import folder_lock
from commands.adding import write
from refusals import input_error

from .projects import Studio, annotate, annotation, choice, counts, event, part, predicted, task


def test_a_new_class_is_learned_in_one_version_as_cign_add_does(
    studio, config, classes, clips, root, trained, tmp_path
):
    new, before = classes[-1], counts(studio)
    for number in range(2):
        annotate(studio, config, clips, new, number)
    assert len(studio.service.versions()) == 1  # collected, not learned
    assert studio.backend.health()["learning"]["annotations_to_learn"] == 2
    state = studio.learn(config)
    assert state["job_status"] == "finished"
    assert state["result"] == {
        "learned": 2,
        "forgotten": 0,
        "new_classes": (new,),
        "version": 2,
        "problems": [],
    }
    assert counts(studio) == {**before, new: 2}
    table = [{"path": path, "labels": new, "split": "train"} for path in clips[new][:2]]
    other = Learner.load(trained)
    other.add(write(tmp_path / "new.csv", table), media=[root], keep=False, num_workers=0)
    other.save(tmp_path / "other")
    files = [root / clips[name][2] for name in classes]
    assert predicted(studio.service.place, *files) == predicted(tmp_path / "other", *files)
    assert studio.told[-1] == f"version 2: learned 2 clips; new classes: {new}"
    assert studio.backend.health()["learning"]["annotations_to_learn"] == 0


def test_the_same_annotation_is_learned_once(studio, config, classes, clips, model, root, tmp_path):
    annotate(studio, config, clips, classes[0])
    studio.learn(config)
    have = counts(studio)
    annotate(studio, config, clips, classes[0])  # sent again
    assert studio.backend.health()["learning"]["annotations_to_learn"] == 0
    assert studio.batch(config)["version"] is None
    studio.backend.close()
    with Studio(model, root, tmp_path / "work") as again:  # a restart
        annotate(again, config, clips, classes[0])
        assert again.batch(config)["version"] is None
        assert counts(again) == have
        # Another task with the same recording.
        again.create(config, task(9, clips[classes[0]][0]), annotation(9, choice(classes[0])))
        assert again.batch(config)["version"] is None
    assert len(list_versions(model)) == 2


def test_a_process_that_ended_before_it_recorded_the_batch_learns_nothing_twice(
    studio, config, classes, clips, monkeypatch
):
    annotate(studio, config, clips, classes[0])
    before = counts(studio)
    ledger = studio.backend._ledger
    with monkeypatch.context() as patch:
        patch.setattr(ledger, "add_batch", lambda *_: (_ for _ in ()).throw(OSError("killed")))
        assert studio.learn(config)["job_status"] == "failed"
    assert counts(studio)[classes[0]] == before[classes[0]] + 1
    assert studio.learn(config)["job_status"] == "finished"
    assert counts(studio)[classes[0]] == before[classes[0]] + 1


def test_another_model_learns_everything_again(
    studio, config, classes, clips, root, old_store, tmp_path
):
    annotate(studio, config, clips, classes[0])
    studio.learn(config)
    studio.backend.close()
    run = tmp_path / "run"
    Learner("slda").learn(old_store, tasks=1, out=run)
    other = shutil.copytree(run / "model", tmp_path / "other")
    with Studio(other, root, tmp_path / "work") as again:
        assert again.batch(config)["learned"] == 1


def test_one_unusable_annotation_does_not_stop_the_others(studio, config, classes, clips):
    name = classes[0]
    broken = {**choice(name), "from_name": "gone"}
    bad = [
        (choice("no label"), "'no label' is not in the labelling interface"),
        (choice(*classes[:2]), "one label each"),
        (broken, "control 'gone'"),
        (part(5, "x", name), "not a range of frames"),
        (part(9, 3, name), "3"),
    ]
    for number, (result, _) in enumerate(bad, 20):
        studio.create(config, task(number, clips[classes[1]][1]), annotation(number, result))
    studio.create(config, task(30, "gone.mp4"), annotation(30, choice(name)))
    address = {"id": 33, "data": {"video": "http://[x/a.mp4"}}
    studio.create(config, address, annotation(33, choice(name)))
    studio.create(
        config, task(31, clips[name][1]), annotation(31, choice(name), was_cancelled=True)
    )
    note = {"type": "textarea", "from_name": "note", "to_name": "video", "value": {"text": ["x"]}}
    studio.create(config, task(32, clips[name][0]), annotation(32, choice(name), note))
    result = studio.batch(config)
    assert result["learned"] == 1
    unusable = [
        "clips of /data/local-files/?d=gone.mp4 cannot be learned",
        "clips of http://[x/a.mp4 cannot be learned",
    ]
    for text in [*(text for _, text in bad), *unusable]:
        assert any(text in problem for problem in result["problems"]), text
    assert len(result["problems"]) == len(bad) + len(unusable)


def test_another_process_that_changes_the_model_is_waited_for(
    studio, config, classes, clips, model
):
    annotate(studio, config, clips, classes[0])
    studio.backend._jobs._patience_s = 0.6
    with folder_lock(model, "model"):
        state = studio.learn(config)
    assert state["job_status"] == "failed"
    assert state["error_code"] == "busy"
    assert studio.told[-1].startswith("not learned: ")
    studio.backend._jobs._patience_s = 30.0
    with folder_lock(model, "model"):
        job = studio.send("START_TRAINING", config)["job"]
        while studio.backend.job(job)["job_status"] == "queued":
            pass
        assert studio.backend.is_training()["is_training"]
    assert studio.wait(job)["result"]["learned"] == 1


def test_it_learns_by_itself_after_a_number_of_annotations(
    model, root, config, classes, clips, tmp_path
):
    with Studio(model, root, tmp_path / "work", learn_after=2) as studio:
        one = event(
            "ANNOTATION_CREATED",
            config,
            task(1, clips[classes[0]][0]),
            annotation(1, choice(classes[0])),
        )
        assert "job" not in studio.backend.webhook(one)
        assert "job" not in studio.backend.webhook(one)  # nothing new
        two = event(
            "ANNOTATION_CREATED",
            config,
            task(2, clips[classes[1]][0]),
            annotation(2, choice(classes[1])),
        )
        job = studio.backend.webhook(two)["job"]
        assert studio.wait(job)["result"]["learned"] == 2


def test_annotations_of_an_export_are_learned(studio, config, classes, clips):
    tasks = [
        {**task(n, clips[classes[n]][1]), "annotations": [annotation(n, choice(classes[n]))]}
        for n in range(2)
    ]
    body = {"annotations": tasks, "project": "7.1629208174", "label_config": config}
    answer = studio.backend.train(body)
    assert answer["changed"] == 2
    assert studio.wait(answer["job"])["result"]["learned"] == 2


def test_without_teaching_nothing_is_collected(model, root, config, classes, clips):
    with Studio(model, root) as studio:
        one = task(1, clips[classes[0]][0])
        answer = studio.create(config, one, annotation(1, choice(classes[0])))
        assert answer["status"] == "ignored"
        with input_error("unsupported", "--teach"):
            studio.send("START_TRAINING", config)
        with input_error("unsupported", "--teach"):
            studio.backend.train({"project": "1.1"})
