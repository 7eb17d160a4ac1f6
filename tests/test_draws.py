"""A clip's random numbers do not depend on which process has it, nor do a batch's gradients."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from cign.methods import METHODS
from cign.methods.base import Batch, GradientMethod
from cign.methods.phases import Phase, TrainingOptions
from cign.training.place import Place
from cign.utils.seeding import per_clip, rows_of_batch
from refusals import run_error
from toy import quick_options, toy_loop

ROWS = np.array([1, 3])
GRADIENT = [name for name, method in METHODS.items() if issubclass(method, GradientMethod)]
# Whatever a method draws within a step.
MORE = {
    "finetune": {"trunk": "transformer", "depth": 1, "drop_path": 0.5},
    "cign_tuned": {"depth": 1, "token_distillation": "transformed", "drop_path": 0.5},
    "cign": {"assignment": "hard", "depth": 1},
}


@pytest.mark.parametrize(
    "draw",
    [
        lambda n: torch.rand((n, 1, 1)),
        torch.rand,
        lambda n: torch.randn(n, 2),
        lambda n: torch.randint(0, 9, (n, 2)),
        lambda n: torch.empty(n, 4).exponential_(),
    ],
)
def test_rows_of_what_the_whole_batch_draws(draw):
    torch.manual_seed(5)
    whole = [draw(5), draw(5)]
    torch.manual_seed(5)
    assert all(torch.equal(per_clip(draw, 5), drawn) for drawn in whole), "one process"
    torch.manual_seed(5)
    with rows_of_batch(ROWS, 5):
        own = [per_clip(draw, 2), per_clip(draw, 2)]
    for mine, all_rows in zip(own, whole, strict=True):
        torch.testing.assert_close(mine, all_rows[ROWS], rtol=0, atol=0)


@pytest.mark.parametrize(
    "draw",
    [
        lambda: torch.rand(2),
        lambda: torch.randperm(2),
        lambda: torch.zeros(2).normal_(),
        lambda: torch.nn.functional.dropout(torch.ones(2), 0.5),
    ],
)
@pytest.mark.parametrize("then", [lambda: None, lambda: per_clip(torch.rand, 2)])
def test_other_draws_are_found_out(draw, then):
    def step():
        with rows_of_batch(ROWS, 5):
            per_clip(torch.rand, 2)
            draw()
            then()

    with run_error("plugin-contract", "per_clip"):
        step()
    assert per_clip(torch.rand, 7).shape == (7,), "nothing of the step is left"


def test_draws_of_another_number_than_the_clips_are_refused():
    with (
        run_error("plugin-contract", "5", "2"),
        rows_of_batch(ROWS, 5),
    ):
        per_clip(torch.rand, 5)


def test_a_dropout_that_drops_nothing_is_allowed():
    with rows_of_batch(ROWS, 5):
        x = torch.nn.functional.dropout(torch.ones(2), 0.0)
        x = torch.nn.functional.dropout(x, 0.5, training=False)
    assert x.tolist() == [1.0, 1.0]


def stop():
    raise StopIteration


def second_task(name):
    """A method in its second task, and a batch of old and new clips of uneven length."""
    options = quick_options(name, **MORE.get(name, {}))
    loop = toy_loop(name, options=options, num_tasks=2, memory="12", after_task=stop)
    with pytest.raises(StopIteration):
        loop.run()
    assert loop.place == Place(1)
    torch.manual_seed(1)
    loop.method.grow(3)
    data = loop._task_data(1)
    loop.method.before_task(data)
    old = data.memory if len(data.memory) else data.earlier
    mixed = np.concatenate([data.new[:7], old[:3]])
    (batch,) = loop._feed.batches([np.random.default_rng(0).permutation(mixed)], 1)
    return loop.method.train(), batch


def part(batch: Batch, rows):
    kept = torch.from_numpy(rows)
    names = ("audio", "visual", "targets", "from_memory")
    return replace(
        batch, indices=batch.indices[rows], **{name: getattr(batch, name)[kept] for name in names}
    )


def phase(name="train"):
    return Phase(name=name, indices=np.arange(4), options=TrainingOptions())


def gradients(method, parts, total):
    method.zero_grad(set_to_none=True)
    sums = 0.0
    for rows, batch in parts:
        torch.manual_seed(7)
        with rows_of_batch(rows, total):
            losses = method.learn(batch, phase())
        loss = torch.stack(list(losses.values())).sum() * (len(rows) / total)
        loss.backward()
        sums += float(loss.detach())
    return sums, {n: p.grad.clone() for n, p in method.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("name", GRADIENT)
def test_shares_of_a_batch_add_up_to_its_gradient(name):
    method, batch = second_task(name)
    total = len(batch.indices)
    assert total == 7 or batch.from_memory.any()
    everything = np.arange(total)
    state = copy.deepcopy(method.state_dict())
    loss, whole = gradients(method, [(everything, batch)], total)
    rows = [np.arange(rank, total, 3) for rank in range(3)]
    shared_loss, shared = gradients(method, [(r, part(batch, r)) for r in rows], total)
    for key, value in state.items():  # nothing but the gradients moved
        torch.testing.assert_close(method.state_dict()[key], value, rtol=0, atol=0)
    assert whole.keys() == shared.keys()
    largest = max(float(g.abs().max()) for g in whole.values())
    apart = max(float((whole[n] - shared[n]).abs().max()) for n in whole) / largest
    if METHODS[name].needs_whole_batch:
        assert apart > 1e-2, "it could be shared"
    else:
        assert abs(loss - shared_loss) < 1e-5 * abs(loss)
        assert apart < 1e-5, name


def test_without_rows_for_the_whole_batch_dropped_branches_differ():
    """The bound above would not hold if each share drew for itself."""
    method, batch = second_task("finetune")
    total = len(batch.indices)
    rows = [np.arange(rank, total, 2) for rank in range(2)]
    _, whole = gradients(method, [(np.arange(total), batch)], total)
    method.zero_grad(set_to_none=True)
    for own in rows:
        torch.manual_seed(7)
        losses = method.learn(part(batch, own), phase())
        (torch.stack(list(losses.values())).sum() * len(own) / total).backward()
    largest = max(float(g.abs().max()) for g in whole.values())
    apart = [
        float((whole[n] - p.grad).abs().max()) for n, p in method.named_parameters() if n in whole
    ]
    assert max(apart) > 1e-2 * largest


@pytest.mark.parametrize("name", [name for name in METHODS if name not in GRADIENT])
def test_a_closed_form_absorbs_into_named_sums_alone(name):
    loop = toy_loop(name, options=quick_options(name), num_tasks=2)
    loop.method.grow(3)
    before = copy.deepcopy(loop.method.state_dict())
    (batch,) = loop._feed.batches([loop.train[:9]], 0)
    assert loop.method.learn(batch, phase("statistics")) is None
    after = loop.method.state_dict()
    moved = {key.rpartition(".")[2] for key in before if not torch.equal(before[key], after[key])}
    assert moved
    assert moved <= loop.method.sums_over_clips
    # And they are sums: a part and the rest give what both give.
    both = toy_loop(name, options=quick_options(name), num_tasks=2).method
    both.grow(3)
    for rows in (np.arange(0, 9, 2), np.arange(1, 9, 2)):
        both.learn(part(batch, rows), phase("statistics"))
    for key, value in after.items():
        torch.testing.assert_close(both.state_dict()[key], value, rtol=1e-6, atol=1e-6)
