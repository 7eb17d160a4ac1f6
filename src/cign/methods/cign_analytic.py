"""Grouping in closed form: class tokens solved from sums over clips, without memory or forgetting.

The method is ours. From CIGN it takes a token per class and modality, features assigned to the
tokens, an embedding grouped by that assignment, and a probability for each modality. From analytic
continual learning (ACIL, RanPAC, MMAL) it takes sums over clips that give after every task the
same solution as all clips at once. Its settings are selected from the clips, see
`cign.methods.selection`. docs/methods/cign_analytic.md has the derivation and states which
properties are exact.
"""

from __future__ import annotations

from cign.methods.closed_form import ClosedForm
from cign.methods.registry import register_method


@register_method("cign_analytic")
class CignAnalytic(ClosedForm):
    """Class tokens, assignment and grouped embeddings, all from sums over clips."""
