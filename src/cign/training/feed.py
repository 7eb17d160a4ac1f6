"""Data for the training loop: batches on the device, and exemplars for the memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from cign.data.batches import AHEAD, ClipSource, cut, read_ahead, targets_of
from cign.data.exemplar_memory import ExemplarMemory, FloatArray
from cign.data.tasks import IntArray, TaskClips
from cign.methods.base import Batch, Method, TaskData
from cign.methods.recorded_clips import RecordedClips
from cign.training.distributed.comm import Comm, Share
from cign.training.scoring import score_clips
from cign.utils.progress import Progress
from cign.vocabulary import EVALUATION_BATCH, MODALITIES


@dataclass(frozen=True, kw_only=True)
class Feed:
    """Batches of clips with their targets.

    Attributes:
        clips: Targets and tasks of all clips.
        source: Reads clips by index.
        device: Device of the batches.
        comm: The processes that share batches.
        eval_batch_size: Clips per forward pass where nothing is trained.
    """

    clips: TaskClips
    source: ClipSource
    device: str | torch.device
    comm: Comm = field(default_factory=Comm)
    eval_batch_size: int = EVALUATION_BATCH

    def task_data(
        self, method: Method, task: int, train: IntArray, memory: IntArray, seed: int
    ) -> TaskData:
        """The data of a task that a method may use.

        Args:
            method: The method.
            task: The task.
            train: All training clips of the run.
            memory: The exemplars.
            seed: Seed of the run.
        """
        tasks = self.clips.tasks
        earlier = self.clips.up_to(train, task - 1) if task else train[:0]
        return TaskData(
            task=task,
            num_old=tasks.num_seen(task) - tasks.sizes[task],
            num_new=tasks.sizes[task],
            new=self.clips.of_task(train, task),
            memory=memory,
            earlier=earlier if method.replays_everything else earlier[:0],
            batches=lambda indices: self.batches(cut(indices, self.eval_batch_size), task),
            class_of=self.clips.class_of,
            sources=lambda indices: [self.clips.sources[i] for i in indices],
            features=lambda indices: self.features(method, indices, task),
            bytes_per_clip=self.source.bytes_per_clip,
            seed=seed,
            identity=self.identity(task),
        )

    def identity(self, task: int) -> Callable[[IntArray], RecordedClips] | None:
        """``identity`` of `TaskData`.

        Args:
            task: Current task; labels cover the classes of the tasks up to it.
        """
        clips, num_classes = self.clips, self.clips.tasks.num_seen(task)
        hashes = clips.hashes
        if hashes is None:
            return None

        def of(indices: IntArray) -> RecordedClips:
            shares = clips.targets if clips.shares is None else clips.shares
            return RecordedClips(
                hashes=hashes[indices],
                shares=shares[indices, :num_classes],
                weights=None if clips.weights is None else clips.weights[indices],
                background=None if clips.background is None else clips.background[indices],
            )

        return of

    def shared_batches(
        self, batches: list[IntArray], task: int
    ) -> Iterator[tuple[Batch, Share | None]]:
        """Read this process's part of each batch; a single process reads whole batches.

        Args:
            batches: Clip indices of each batch.
            task: As for `batches`.

        Yields:
            The clips and their share of the batch; None for the whole batch. A process without
            clips in a batch reads the first clip, with a share of 0.
        """
        if self.comm.is_alone:
            yield from ((batch, None) for batch in self.batches(batches, task))
            return
        shares = self.comm.shares(batches)
        own = [batch[share.rows] for batch, share in zip(batches, shares, strict=True)]
        yield from zip(self.batches(own, task), shares, strict=True)

    def batches(self, batches: list[IntArray], task: int) -> Iterator[Batch]:
        """Prefetch batches and copy them to the device.

        Args:
            batches: Clip indices of each batch.
            task: Current task; targets cover the classes of the tasks up to it.
        """
        num_classes = self.clips.tasks.num_seen(task)

        def read(indices: IntArray) -> Batch:
            audio, visual = self.source.read(indices)
            old = torch.from_numpy(self.clips.arrival[indices] < task)
            targets = targets_of(self.clips, indices, num_classes)
            return Batch(
                audio=audio,
                visual=visual,
                targets=targets,
                from_memory=old,
                indices=indices,
                **self._uncertainty(indices, num_classes),
            )

        readers = [lambda i=i: read(i) for i in batches]
        on_cpu = torch.device(self.device).type == "cpu"
        for batch in read_ahead(readers, self.source.ahead if on_cpu else AHEAD):
            yield batch if on_cpu else batch.moved(self.device)

    def _uncertainty(self, indices: IntArray, num_classes: int) -> dict[str, Tensor]:
        """The entries of `Batch` that few stores have."""
        found, clips = {}, self.clips
        if clips.weights is not None:
            found["weights"] = torch.from_numpy(clips.weights[indices])
        if clips.shares is not None:
            found["shares"] = torch.from_numpy(clips.shares[indices, :num_classes])
        if clips.background is not None and clips.background[indices].any():
            found["background"] = torch.from_numpy(clips.background[indices])
        return found

    @torch.no_grad()
    def features(self, method: Method, indices: IntArray, task: int) -> FloatArray:
        """The method's embeddings of clips, float32, shape [N, E]."""
        parts = [
            method.embed(batch.audio, batch.visual).float().cpu().numpy()
            for batch in self.batches(cut(indices, self.eval_batch_size), task)
        ]
        return np.concatenate(parts)

    def choose_exemplars(self, memory: ExemplarMemory, method: Method, data: TaskData) -> None:
        """Let the method choose the exemplars for the memory."""
        if memory.budget.amount == 0:
            return
        if not self.comm.is_alone:
            data = replace(data, features=self._gathering(method, data))
        method.choose_exemplars(memory, data)
        # On different kinds of machines, equal features may differ in the last bit.
        for c, chosen in sorted(memory.by_class.items()):
            tensor = torch.from_numpy(chosen.copy())
            self.comm.take_from_first_([tensor])
            memory.by_class[c] = tensor.numpy()

    def _gathering(self, method: Method, data: TaskData) -> Callable[[IntArray], FloatArray]:
        """A feature function that computes the features of all new clips once, split by class."""
        gathered: dict[int, FloatArray] = {}
        counted = self.clips.class_of(data.new)

        def features(indices: IntArray) -> FloatArray:
            c = int(self.clips.class_of(indices[:1])[0])
            if not np.array_equal(indices, data.new[counted == c]):
                return self.features(method, indices, data.task)
            if not gathered:
                gathered.update(self._by_class(method, data))
            return gathered[c]

        return features

    def _by_class(self, method: Method, data: TaskData) -> dict[int, FloatArray]:
        """Features of the new clips by class; each class is computed by one process."""
        counted = self.clips.class_of(data.new)
        classes = np.unique(counted).tolist()
        own = {
            c: self.features(method, data.new[counted == c], data.task)
            for c in classes[self.comm.rank :: self.comm.size]
            if (counted == c).any()
        }
        width = self.comm.largest(max((x.shape[1] for x in own.values()), default=0))
        result = {}
        for c in classes:
            zeros = np.zeros((int((counted == c).sum()), width), dtype=np.float32)
            tensor = torch.from_numpy(own.get(c, zeros))
            self.comm.sum_([tensor])
            result[c] = tensor.numpy()
        return result

    def scores(
        self, method: Method, source: ClipSource, indices: IntArray, progress: Progress
    ) -> dict[str, FloatArray]:
        """Scores of clips by modality, shape [N, C]; each process scores some of the batches."""
        size = self.eval_batch_size
        if self.comm.is_alone:
            return score_clips(method, source, indices, self.device, progress, size)
        shape = (len(indices), method.num_classes)
        scores = {modality: np.zeros(shape, dtype=np.float32) for modality in MODALITIES}
        for number, place in enumerate(cut(np.arange(len(indices)), size)):
            if number % self.comm.size == self.comm.rank:
                own = score_clips(method, source, indices[place], self.device, batch_size=size)
                for modality in MODALITIES:
                    scores[modality][place] = own[modality]
            progress.advance(len(place))
        self.comm.sum_(torch.from_numpy(scores[modality]) for modality in MODALITIES)
        return scores
