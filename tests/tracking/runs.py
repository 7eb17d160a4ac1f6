"""Toy runs with callbacks; some are stopped and go on in a new loop."""

from cign.metrics.predictions import Predictions
from cign.training.callbacks import Callback, Callbacks, RunStart
from toy import quick_options, toy_loop

OPTIONS = {"training": {"num_epochs": 2, "min_steps": 0, "batch_size": 5}}
STEPS, EPOCHS, TASKS = 18, 6, 3  # of the run below


def make(folder=None, name="finetune", **kwargs):
    """Three tasks of 16 clips: three steps an epoch."""
    options = OPTIONS if name == "finetune" else quick_options(name)
    return toy_loop(name, options=options, folder=folder, **kwargs)


def start_of(loop, folder, *, resumed=False):
    return RunStart(
        name="toy",
        folder=folder,
        group="",
        config={"method": loop.method.name, "options": {"training": {"batch_size": 5}}},
        classes=loop.clips.tasks.class_order,
        num_tasks=3,
        num_train=len(loop.train),
        num_test=len(loop.test),
        resumed=resumed,
        steps_done=loop.num_steps,
        epochs_done=len(loop.losses),
        tasks_done=loop.place.task,
    )


def watched(loop, folder, *callbacks, resumed=False, metrics=None):
    """Run a loop with callbacks from start to end."""
    loop.callbacks = Callbacks(list(callbacks))
    with loop.callbacks.during(start_of(loop, folder, resumed=resumed)):
        loop.run()
        if not loop._stopping():
            costs = dict.fromkeys(
                ("seconds", "peak_memory_mb", "bytes_kept", "trainable_parameters"), 2.0
            )
            loop.callbacks.run_end(metrics or {"tasks": [1, 2, 3], "costs": costs})
    return loop


def goes_on(folder, *callbacks, **kwargs):
    """A new loop that goes on from the checkpoint in a folder."""
    loop = make(folder, **kwargs)
    if loop.predictions_path.exists():
        loop.predictions = Predictions.load(loop.predictions_path)
    loop.resume()
    return watched(loop, folder, *callbacks, resumed=True)


def killed_after(folder, num_steps, saved_after, *callbacks):
    """A run whose process dies some steps after its last checkpoint: nothing is closed."""
    loop = make(folder, checkpoint_every_s=1e9, stop_after=num_steps)
    loop.callbacks = Callbacks([*callbacks, SavesAfter(loop, saved_after)])
    loop.callbacks._call("on_run_start", start_of(loop, folder))
    loop.run()
    loop.callbacks.checkpoint()  # what was logged beyond the checkpoint has reached the disk
    assert loop.num_steps == num_steps


class SavesAfter(Callback):
    """Makes a loop write its checkpoint after a step."""

    every_steps = 1

    def __init__(self, loop, number):
        self.loop, self.number = loop, number

    def on_step_end(self, step):
        if step.number == self.number:
            self.loop.save()


class Recorder(Callback):
    """Keeps what it is told."""

    def __init__(self, every_steps=1):
        self.every_steps, self.events = every_steps, []

    def _keep(self, *event):
        self.events.append(event)

    def on_run_start(self, run):
        self._keep("start", run)

    def on_step_end(self, step):
        self._keep("step", step)

    def on_epoch_end(self, epoch):
        self._keep("epoch", epoch)

    def on_task_end(self, task):
        self._keep("task", task)

    def on_run_end(self, metrics):
        self._keep("end", metrics)

    def on_failure(self, error):
        self._keep("failure", error)

    def of(self, kind):
        return [event for name, event in self.events if name == kind]
