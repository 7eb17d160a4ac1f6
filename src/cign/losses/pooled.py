"""Pooled outputs distillation (POD): constrains pooled statistics of inner maps, not each position.

Source: Douillard et al. 2020, PODNet, equations 2-6.
Legend: B clips, K maps of a clip (frames), H rows, W columns, N = K H W tokens, D width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def pooled_map(tokens: Tensor, grid: tuple[int, int] | None) -> Tensor:
    """Sums over the columns and over the rows of a token map, concatenated.

    The result has unit length as in the authors' code, so that loss weights do not depend on map
    size and width.

    Args:
        tokens: Tokens, shape [B, N, D], map by map, row-major.
        grid: (H, W); None treats all tokens as one row. For a single row, the sums over rows are
            the tokens themselves: with H = 1, the equations apply to sequences too.

    Returns:
        Pooled maps, shape [B, K (H + W) D].
    """
    rows, columns = grid or (1, tokens.shape[1])
    maps = tokens.unflatten(1, (-1, rows, columns))  # [B, K, H, W, D]
    sums = [maps.sum(dim=3).flatten(1), maps.sum(dim=2).flatten(1)]
    return F.normalize(torch.cat(sums, dim=1), dim=1)


def pod_spatial(old: Tensor, now: Tensor, grid: tuple[int, int] | None) -> Tensor:
    """Squared distance between pooled maps, mean over clips; equation 4.

    Args:
        old: Token map of the model before the task, shape [B, N, D].
        now: Token map of the current model, same shape.
        grid: As in `pooled_map`.

    Returns:
        A scalar between 0 and 4.
    """
    return (pooled_map(old, grid) - pooled_map(now, grid)).square().sum(dim=1).mean()


def pod_flat(old: Tensor, now: Tensor) -> Tensor:
    """Squared distance between embeddings of unit length, mean over clips; equation 5.

    Args:
        old: Embedding by the model before the task, shape [B, E].
        now: Embedding by the current model, same shape.

    Returns:
        A scalar between 0 and 4.
    """
    return (F.normalize(old, dim=1) - F.normalize(now, dim=1)).square().sum(dim=1).mean()
