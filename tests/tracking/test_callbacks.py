"""What callbacks are told, and that a run is the same with and without them."""

import logging

import pytest
import torch

from cign.training.callbacks import Callback, Callbacks, StopRun, task_metrics
from host_waits import HostWaits
from traps.runs import same, state_of

from .runs import EPOCHS, STEPS, TASKS, Recorder, goes_on, killed_after, make, watched


def test_everything_is_told_once_and_in_order():
    told = Recorder(every_steps=3)
    loop = watched(make(), None, told)
    kinds = [name for name, _ in told.events]
    assert kinds[0] == "start"
    assert kinds[-1] == "end"
    assert [one.number for one in told.of("step")] == list(range(3, STEPS + 1, 3))
    assert [one.number for one in told.of("epoch")] == list(range(1, EPOCHS + 1))
    assert [one.number for one in told.of("task")] == [1, 2, 3]
    assert kinds[kinds.index("task") - 1] == "epoch"
    assert [one.step for one in told.of("task")] == [6, 12, 18]
    first = told.of("epoch")[0]
    assert (first.task, first.phase, first.epoch, first.step) == (1, "train", 1, 3)
    recorded = {k: v for k, v in loop.losses[0].items() if k not in ("task", "phase", "epoch")}
    assert first.losses == recorded
    last = told.of("task")[-1]
    assert last.metrics == task_metrics(loop.predictions)
    assert last.classes == loop.clips.tasks.class_order[4:]
    assert {"last_audio_visual", "forgetting_audio", "task_1_visual"} <= set(last.metrics)


def test_losses_of_steps_average_to_those_of_the_epoch():
    told = Recorder()
    watched(make(), None, told)
    for epoch in told.of("epoch"):
        steps = [one for one in told.of("step") if epoch.step - 3 < one.number <= epoch.step]
        assert len(steps) == 3
        for name, mean in epoch.losses.items():
            assert sum(one.losses[name] for one in steps) / 3 == pytest.approx(mean, rel=1e-5)


def test_closed_forms_have_epochs_and_tasks_but_no_losses():
    told = Recorder()
    watched(make(name="analytic"), None, told)
    assert told.of("step") == []
    assert all(not one.losses for one in told.of("epoch"))
    assert len(told.of("task")) == TASKS


class Draws(Callback):
    every_steps = 1

    def on_step_end(self, step):
        torch.rand(7)

    def on_task_end(self, task):
        torch.manual_seed(99)


@pytest.mark.parametrize("name", ["finetune", "cign_analytic"])
def test_a_run_is_the_same_to_the_bit_with_callbacks(name):
    plain = make(name=name)
    plain.run()
    seen = watched(make(name=name), None, Recorder(), Draws())
    assert same(state_of(plain.method), state_of(seen.method))
    assert plain.losses == seen.losses


@pytest.mark.parametrize("stop_after", [1, 5, 6, 7, 16])
def test_numbers_go_on_after_a_resumption(stop_after, tmp_path):
    whole = Recorder()
    plain = watched(make(), None, whole)
    first = Recorder()
    killed_after(tmp_path, stop_after, stop_after, first)
    second = Recorder()
    loop = goes_on(tmp_path, second)
    (start,) = second.of("start")
    assert (start.resumed, start.steps_done) == (True, stop_after)
    assert first.of("step") + second.of("step") == whole.of("step")
    numbers = [one.number for one in second.of("epoch")]
    assert numbers == list(range(start.epochs_done + 1, EPOCHS + 1))
    tasks = [one.number for one in second.of("task")]
    assert tasks == list(range(start.tasks_done + 1, TASKS + 1))
    assert second.of("task")[-1] == whole.of("task")[-1]
    assert same(state_of(plain.method), state_of(loop.method))


class Faulty(Recorder):
    def on_epoch_end(self, epoch):
        super().on_epoch_end(epoch)
        raise OSError(28, "No space left on device")


def test_a_faulty_callback_is_reported_once_and_ends_nothing(caplog):
    faulty, other = Faulty(), Recorder()
    with caplog.at_level(logging.WARNING, "cign"):
        loop = watched(make(), None, faulty, other)
    (record,) = caplog.records
    assert "callback Faulty failed in on_epoch_end and is switched off" in record.message
    assert "No space left on device" in record.message
    assert len(faulty.of("epoch")) == 1
    assert len(other.of("epoch")) == EPOCHS
    assert loop.place.task == TASKS


class Notes:
    def __init__(self):
        self.notes = []

    def start(self, title, total):
        pass

    def advance(self, steps=1):
        pass

    def note(self, text):
        self.notes.append(text)

    def stop(self):
        pass


def test_the_report_goes_to_the_display_if_there_is_one(caplog):
    shown = Notes()
    callbacks = Callbacks([Faulty()], shown)
    callbacks._call("on_epoch_end", None)
    assert callbacks.members == []
    assert len(shown.notes) == 1
    assert not caplog.records


@pytest.mark.parametrize("error", [StopRun("bad"), KeyboardInterrupt(), InterruptedError()])
def test_what_ends_a_run_is_told_to_all(error):
    class Ends(Callback):
        def on_task_end(self, task):
            raise error

    told = Recorder()
    if isinstance(error, Exception) and not isinstance(error, StopRun):
        watched(make(), None, Ends(), told)
        assert told.of("failure") == []
        return
    with pytest.raises(type(error)):
        watched(make(), None, Ends(), told)
    assert told.of("failure") == [error]
    assert told.of("end") == []


def test_nothing_waits_for_the_device_unless_a_step_is_wanted():
    def waits(*callbacks):
        loop = make(num_tasks=1)
        loop.callbacks = Callbacks(list(callbacks))
        with HostWaits() as found:
            loop.run()
        return sum(found.counts.values())

    none = waits()
    assert waits(Recorder(every_steps=0)) == none
    # A step has three losses, and two of the run's six steps are wanted.
    assert waits(Recorder(every_steps=3)) > none
