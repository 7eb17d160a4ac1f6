"""Experience replay: each batch has as many old clips as new ones.

Rolnick et al., Experience Replay for Continual Learning, NeurIPS 2019; Chaudhry et al., On Tiny
Episodic Memories in Continual Learning, 2019.
"""

from __future__ import annotations

from cign.methods.registry import register_method
from cign.methods.replay import WithReplay


@register_method("er")
class Er(WithReplay):
    """Cross-entropy of three heads over all classes seen, on new and replayed clips alike."""
