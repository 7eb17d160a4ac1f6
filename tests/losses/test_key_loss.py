import numpy as np
import torch

from cign.losses.prompts import key_loss


def test_key_loss_is_the_sum_of_cosine_distances_and_moves_keys_alone():
    torch.manual_seed(0)
    query = torch.randn(4, 6, dtype=torch.float64)
    keys = torch.randn(4, 3, 6, dtype=torch.float64, requires_grad=True)
    expected = 0.0
    for b in range(4):
        for n in range(3):
            q, k = query[b].numpy(), keys[b, n].detach().numpy()
            expected += (1 - q @ k / (np.linalg.norm(q) * np.linalg.norm(k))) / 4
    loss = key_loss(query, keys)
    np.testing.assert_allclose(loss.item(), expected, rtol=1e-12)
    loss.backward()
    assert keys.grad.abs().min() > 0
    nearer = keys.detach() - 0.1 * keys.grad
    assert key_loss(query, nearer) < loss
    assert key_loss(query, 3.0 * query.unsqueeze(1)).abs() < 1e-12
