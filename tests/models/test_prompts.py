"""Choices of prompts clip by clip, and prefixes that stay with their clip."""

import numpy as np
import torch

from cign.networks.prompts import PromptPool, TaskPrefixes


def test_pool_chooses_the_nearest_keys_of_each_clip():
    torch.manual_seed(0)
    pool, query = PromptPool(6, 2, 8), torch.randn(20, 8)
    prompts, keys = pool(query, 3)
    assert prompts.shape == (20, 6, 8)
    chosen = pool.choose(query, 3).numpy()
    assert len(np.unique(chosen[:, 0])) > 1, "one choice for all clips would prove nothing"
    for b in range(20):
        q, k = query[b].numpy(), pool.keys.detach().numpy()
        cosine = (k @ q) / (np.linalg.norm(k, axis=1) * np.linalg.norm(q))
        assert chosen[b].tolist() == np.argsort(-cosine)[:3].tolist()
        for n, m in enumerate(chosen[b]):
            assert torch.equal(prompts[b, 2 * n : 2 * n + 2], pool.prompts[m])
            assert torch.equal(keys[b, n], pool.keys[m])


def test_a_choice_does_not_depend_on_the_other_clips():
    """A vote over the batch would: here most clips prefer other prompts than the last one does."""
    torch.manual_seed(0)
    pool = PromptPool(6, 2, 8)
    common, rare = pool.keys[0].detach(), pool.keys[1].detach()
    query = torch.cat([common.expand(9, -1), rare[None]])
    assert pool.choose(query, 1)[:, 0].tolist() == [0] * 9 + [1]
    order = torch.randperm(10)
    assert torch.equal(pool.choose(query[order], 1), pool.choose(query, 1)[order])


def test_expert_is_the_nearest_key_of_each_clip():
    torch.manual_seed(0)
    prefixes = TaskPrefixes(8, (0,), 2, (1,), 3)
    for _ in range(4):
        prefixes.grow()
    query = torch.cat([5.0 * key.detach()[None] for key in prefixes.keys])[[2, 0, 3, 3, 1]]
    assert prefixes.choose(query).tolist() == [2, 0, 3, 3, 1]


def test_each_clip_gets_keys_and_values_of_its_own_expert():
    """Element by element: no reshape has mixed clips with keys and values."""
    torch.manual_seed(0)
    prefixes = TaskPrefixes(8, (0, 2), 2, (1, 2), 3)
    for _ in range(3):
        prefixes.grow()
    expert = torch.tensor([2, 0, 1, 1])
    out = prefixes(expert)
    assert sorted(out) == [0, 1, 2]
    for b, task in enumerate(expert.tolist()):
        for half in range(2):  # keys, then values
            general, own = prefixes.general.detach(), prefixes.experts[task].detach()
            assert torch.equal(out[0][half][b], general[0, half])
            assert torch.equal(out[1][half][b], own[0, half])
            assert torch.equal(out[2][half][b], torch.cat([general[1, half], own[1, half]]))
    singly = [prefixes(expert[b : b + 1]) for b in range(4)]
    for number in out:
        for half in range(2):
            assert torch.equal(out[number][half], torch.cat([one[number][half] for one in singly]))


def test_only_the_newest_expert_and_key_are_trained():
    prefixes = TaskPrefixes(8, (0,), 2, (1,), 3)
    for _ in range(3):
        prefixes.grow()
    trained = {name for name, p in prefixes.named_parameters() if p.requires_grad}
    assert trained == {"general", "experts.2", "keys.2"}
