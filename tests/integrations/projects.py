"""What Label Studio sends for projects with videos, as its version 1.23 does."""

import time

from cign.integrations.label_studio.backend import Backend
from cign.integrations.label_studio.media import MediaFiles
from cign.integrations.label_studio.predicting import PredictionOptions
from cign.learner import Learner
from cign.methods.capabilities import sums_of_views
from cign.serving.model_service import ModelService

UID = "7.1629208174"
CREATED = "2021-08-17T13:49:34.326416Z"


def choices(labels, **attributes):
    listed = "".join(f"<Choice value='{label}'/>" for label in labels)
    more = "".join(f" {name}='{value}'" for name, value in attributes.items())
    return f"<Choices name='class' toName='video'{more}>{listed}</Choices>"


def timeline(labels):
    listed = "".join(f"<Label value='{label}'/>" for label in labels)
    return f"<TimelineLabels name='parts' toName='video'>{listed}</TimelineLabels>"


def interface(*controls, rate=10):
    video = f"<Video name='video' value='$video' frameRate='{rate}'/>"
    return f"<View>{video}{''.join(controls)}</View>"


def task(number, video, **data):
    return {"id": number, "data": {"video": f"/data/local-files/?d={video}", **data}}


def choice(*labels):
    value = {"choices": list(labels)}
    return {"from_name": "class", "to_name": "video", "type": "choices", "value": value}


def part(first, last, *labels):
    value = {"ranges": [{"start": first, "end": last}], "timelinelabels": list(labels)}
    return {"from_name": "parts", "to_name": "video", "type": "timelinelabels", "value": value}


def annotation(number, *results, updated="2024-01-01T00:00:00.000000Z", **more):
    return {
        "id": number,
        "result": list(results),
        "was_cancelled": False,
        "ground_truth": False,
        "updated_at": updated,
        **more,
    }


def project(config):
    return {"id": 7, "created_at": CREATED, "label_config": config, "title": "test"}


def event(action, config, of_task=None, given=None, **more):
    body = {"action": action, "project": project(config), **more}
    if of_task is not None:
        body |= {"task": of_task, "annotation": {**given, "task": of_task["id"]}}
    return body


class Studio:
    """A backend for a model whose clips are below a folder, without a server."""

    def __init__(self, model, root, work=None, *, service=None, keep=None, **options):
        self.told = []
        settings = {
            name: options.pop(name)
            for name in ("every_s", "unknown", "min_probability")
            if name in options
        }
        self.service = service or ModelService(model, teach=work is not None)
        self.backend = Backend(
            self.service,
            MediaFiles([root], keep=keep),
            PredictionOptions(**settings),
            work=work,
            tell=self.told.append,
            **options,
        )

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.backend.close()

    def predict(self, config, *tasks):
        return self.backend.predict({"tasks": list(tasks), "label_config": config})["results"]

    def send(self, action, config, of_task=None, given=None, **more):
        return self.backend.webhook(event(action, config, of_task, given, **more))

    def create(self, config, of_task, given):
        return self.send("ANNOTATION_CREATED", config, of_task, given)

    def update(self, config, of_task, given, updated="2024-01-02T00:00:00Z"):
        return self.send("ANNOTATION_UPDATED", config, of_task, {**given, "updated_at": updated})

    def learn(self, config):
        """Start training and wait for it."""
        return self.wait(self.send("START_TRAINING", config)["job"])

    def batch(self, config):
        """What the training did."""
        state = self.learn(config)
        assert state["job_status"] == "finished", state
        return state["result"]

    def wait(self, job):
        while True:
            state = self.backend.job(job)
            if state["job_status"] in ("finished", "failed"):
                return state
            time.sleep(0.02)


def counts(studio):
    """Number of learned clips by class."""
    model = studio.service.model
    clips = sums_of_views(model.method).class_clips
    return dict(zip(model.classes, map(int, clips.tolist()), strict=True))


def predicted(place, *files):
    """The probabilities of files by the model in a folder."""
    learner = Learner.load(place)
    found = learner.predict(files, top=len(learner.model.classes))
    return [one.modalities for one in found]


def annotate(studio, config, clips, name, number=0, *, base=0):
    """Choose a class for a clip of it."""
    studio.create(
        config, task(base + number, clips[name][number]), annotation(base + number, choice(name))
    )
