"""Corrected, moved and deleted annotations, and versions that were undone."""

from cign.saved_model.versions import undo

from .projects import Studio, annotate, annotation, choice, counts, part, task


def test_an_updated_annotation_replaces_what_was_learned(studio, config, classes, clips):
    first, second = classes[:2]
    before = counts(studio)
    one = task(1, clips[first][0])
    studio.create(config, one, annotation(1, choice(second)))
    studio.learn(config)
    assert counts(studio) == {**before, second: before[second] + 1}
    studio.update(config, one, annotation(1, choice(first)))
    assert studio.batch(config)["learned"] == 1
    assert counts(studio) == {**before, first: before[first] + 1}
    # An older state that arrives late changes nothing.
    studio.update(config, one, annotation(1, choice(second)), updated="2024-01-01T12:00:00Z")
    assert studio.batch(config)["version"] is None


def test_regions_are_clips_and_moved_ones_are_forgotten(studio, config, classes, long_clip):
    first, second, *_ = classes
    before, one = counts(studio), task(1, long_clip)
    parts = (part(1, 30, first), part(41, 70, second))
    studio.create(config, one, annotation(1, *parts, choice(first)))
    assert studio.batch(config)["learned"] == 3
    assert counts(studio) == {
        **before,
        first: before[first] + 2,
        second: before[second] + 1,
    }
    studio.update(config, one, annotation(1, part(1, 30, first), part(46, 75, second)))
    result = studio.batch(config)
    assert (result["learned"], result["forgotten"]) == (1, 2)  # one moved, the choice removed
    assert len(studio.service.versions()) == 3
    assert counts(studio) == {
        **before,
        first: before[first] + 1,
        second: before[second] + 1,
    }


def test_a_region_that_grows_about_its_middle_is_not_forgotten(studio, config, classes, long_clip):
    """The model takes the middle of a clip: both regions have the same content."""
    name, one = classes[0], task(1, long_clip)
    studio.create(config, one, annotation(1, part(11, 50, name)))
    studio.learn(config)
    have = counts(studio)
    studio.update(config, one, annotation(1, part(6, 55, name)))
    studio.learn(config)
    assert counts(studio) == have


def test_deleted_annotations_are_forgotten(studio, config, classes, clips):
    before = counts(studio)
    for number in range(2):
        annotate(studio, config, clips, classes[0], number)
    annotate(studio, config, clips, classes[1], base=10)
    studio.learn(config)
    answer = studio.send("ANNOTATIONS_DELETED", config, annotations=[{"id": 0}, {"id": 99}])
    assert answer["changed"] == 1
    studio.send("TASKS_DELETED", config, tasks=[{"id": 10}])
    assert studio.batch(config)["forgotten"] == 2
    assert counts(studio) == {**before, classes[0]: before[classes[0]] + 1}
    annotate(studio, config, clips, classes[0])  # a creation that arrives after the deletion
    assert studio.batch(config)["version"] is None


def test_what_cannot_be_forgotten_is_said_and_remains(
    model, tiny, config, classes, clips, tmp_path
):
    (tmp_path / "media").mkdir()
    copy = tmp_path / "media" / "copy.mp4"
    copy.write_bytes((tiny[0] / clips[classes[0]][0]).read_bytes())
    with Studio(model, tmp_path / "media", tmp_path / "work") as studio:
        studio.create(config, task(1, "copy.mp4"), annotation(1, choice(classes[0])))
        studio.learn(config)
        have = counts(studio)
        content = copy.read_bytes()
        copy.unlink()
        studio.send("ANNOTATIONS_DELETED", config, annotations=[{"id": 1}])
        result = studio.batch(config)
        (problem,) = result["problems"]
        assert "cannot be forgotten" in problem
        assert "copy.mp4" in problem
        assert counts(studio) == have
        copy.write_bytes(content)
        assert studio.batch(config)["forgotten"] == 1


def test_an_undone_version_is_not_learned_again(studio, config, classes, clips, model):
    annotate(studio, config, clips, classes[-1])
    annotate(studio, config, clips, classes[-1], 1)
    studio.learn(config)
    assert undo(model) == 1
    assert studio.batch(config)["version"] is None
    annotate(studio, config, clips, classes[0], base=10)
    assert studio.batch(config)["learned"] == 1
    assert classes[-1] not in studio.service.model.classes
    # Submitted again, it is learned.
    studio.update(config, task(0, clips[classes[-1]][0]), annotation(0, choice(classes[-1])))
    assert studio.batch(config)["learned"] == 1
    assert counts(studio)[classes[-1]] == 1


def test_annotators_who_disagree_are_told(studio, config, classes, clips):
    before, one = counts(studio), task(1, clips[classes[0]][0])
    studio.create(config, one, annotation(1, choice(classes[0])))
    studio.create(config, one, annotation(2, choice(classes[1])))
    result = studio.batch(config)
    assert result["version"] is None
    (problem,) = result["problems"]
    assert "annotation 2 of task 1" in problem
    assert "ground truth" in problem
    assert counts(studio) == before
    studio.update(config, one, annotation(2, choice(classes[1]), ground_truth=True))
    studio.learn(config)
    assert counts(studio) == {**before, classes[1]: before[classes[1]] + 1}


def test_a_changed_interface_forgets_nothing(studio, config, classes, clips):
    annotate(studio, config, clips, classes[0])
    studio.learn(config)
    have = counts(studio)
    renamed = config.replace("name='class'", "name='other'")
    studio.send("PROJECT_UPDATED", renamed)
    result = studio.batch(renamed)
    assert result["version"] is None
    assert "control 'class'" in result["problems"][0]
    assert counts(studio) == have
