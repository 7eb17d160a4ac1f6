"""Ridge regression on random features, from statistics accumulated batch by batch.

The solution depends on the clips but not on their order or their grouping into tasks: the Gram
matrix and the cross-correlation are sums over clips. Analytic class-incremental learning (ACIL,
Zhuang et al. 2022) updates the inverse instead, with the same solution; RanPAC (McDonnell et al.
2023, section 3) stores these sums, over random features.

Legend: B clips, C classes seen, D width of the input, W width of the random features.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from cign.errors import RunError
from cign.layers.rounding import multiply_bfloat16
from cign.utils.seeding import stream

# Key of the random stream of projections; each modality appends its own number.
_PROJECTION = 0x71D6E


class RandomFeatures(nn.Module):
    """Random ReLU features of a pooled token: relu(P x) with a fixed random P.

    Entries of P have variance 1 / D and inputs are layer-normalised without a learned scale (ours),
    so that a projected value has variance 1 and one ridge strength suits every backbone.

    Args:
        in_features: D.
        width: W.
        seed: Seed of P, which is the same on every machine.
        number: Distinguishes projections with the same seed.
    """

    projection: Tensor

    def __init__(self, in_features: int, width: int, *, seed: int, number: int = 0) -> None:
        super().__init__()
        self.in_features, self.width = in_features, width
        draw = stream(seed, _PROJECTION, number).standard_normal((width, in_features))
        scaled = torch.from_numpy(draw / math.sqrt(in_features)).float()
        self.register_buffer("projection", scaled)

    def forward(self, x: Tensor) -> Tensor:
        """Map [..., D] to [..., W] in the precision of ``x``; a zero input has zero features.

        Args:
            x: Tokens, shape [..., D].
        """
        return self.project(x).relu_()

    def project(self, x: Tensor) -> Tensor:
        """P x of normalised [..., D], shape [..., W]; a zero input gives zeros.

        Args:
            x: Tokens, shape [..., D].
        """
        x = nn.functional.layer_norm(x, (self.in_features,))
        return x @ self.projection.to(x.dtype).T

    def rounding(self) -> Callable[[Tensor], Tensor]:
        """`forward` of float32 values with factors of the product and features rounded to bfloat16.

        The current projection is rounded once. A call may overwrite the float32 result of the call
        before, because allocating new memory takes time.
        """
        projection = self.projection.bfloat16()
        products, results = (
            projection.new_empty(0, self.width),
            self.projection.new_empty(0, self.width),
        )

        def features(x: Tensor) -> Tensor:
            nonlocal products, results
            x = nn.functional.layer_norm(x, (self.in_features,)).bfloat16()
            rows = x.flatten(0, -2)
            number = len(rows)
            if len(results) < number:
                products, results = (
                    products.new_empty(number, self.width),
                    results.new_empty(number, self.width),
                )
            product = multiply_bfloat16(rows, projection.T, products[:number])
            return results[:number].copy_(product.relu_()).unflatten(0, x.shape[:-1])

        return features


class RidgeStatistics(nn.Module):
    """The sums from which a ridge solution is computed: Gram matrix and cross-correlation.

    Args:
        width: W.
        dtype: Precision of sums and products: torch.float64 or torch.float32.
    """

    gram: Tensor
    cross: Tensor

    def __init__(self, width: int, dtype: torch.dtype) -> None:
        super().__init__()
        self.register_buffer("gram", torch.zeros(width, width, dtype=dtype))
        self.register_buffer("cross", torch.zeros(width, 0, dtype=dtype))

    @property
    def num_bytes(self) -> int:
        """Bytes of the sums."""
        return sum(sums.numel() * sums.element_size() for sums in (self.gram, self.cross))

    def grow(self, num_new: int) -> None:
        """Add a column of zeros for each new class: no earlier clip had it as a label."""
        self.cross = torch.cat([self.cross, self.cross.new_zeros(len(self.cross), num_new)], dim=1)

    def absorb(self, features: Tensor, targets: Tensor) -> None:
        """Add clips to the sums, in place.

        Args:
            features: Shape [B, W].
            targets: Multi-hot labels, shape [B, C].
        """
        features = features.to(self.gram.dtype)
        self.gram.addmm_(features.T, features)
        self.cross.addmm_(features.T, targets.to(features.dtype))


def solve_ridge(gram: Tensor, cross: Tensor, ridge: float, what: str) -> Tensor:
    """Solve (G + ridge I) X = Q in float64 by Cholesky factorisation.

    X minimises ||Phi X - Y||^2 + ridge ||X||^2 for G = Phi^T Phi and Q = Phi^T Y (Hoerl & Kennard
    1970); there is no intercept.

    Args:
        gram: G, shape [W, W].
        cross: Q, shape [W, C].
        ridge: Added to the diagonal.
        what: Name of the solution for the error message.

    Returns:
        X, float64, shape [W, C].

    Raises:
        RunError: If the system is singular in float64, or has infinite or NaN values.
    """
    system = gram.to(torch.float64, copy=True)
    system.diagonal().add_(ridge)
    largest = system.diagonal().max()
    factor, failed = torch.linalg.cholesky_ex(system)
    # A pivot below the rounding error of the largest one may have any sign.
    smallest_pivot = factor.diagonal().square().min()
    limit = len(system) * torch.finfo(torch.float64).eps * largest
    # The comparisons are written so that NaN fails too.
    if bool(failed != 0) or not bool(smallest_pivot > limit) or not bool(largest < torch.inf):
        raise RunError(
            "singular",
            f"the ridge solution of {what} is singular with ridge {ridge:g} and {len(gram)} "
            "features: use a higher ridge, for example 1, or a smaller width",
        )
    return torch.cholesky_solve(cross.to(torch.float64), factor)
