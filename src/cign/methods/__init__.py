"""One file per class-incremental method."""

from __future__ import annotations

from cign.methods.registry import METHODS, default_recipe, method_class, register_method

DEFAULT_METHOD = "cign_analytic"
"""Used if none is named: it stores no clips, trains in seconds, and does not forget."""

__all__ = ["DEFAULT_METHOD", "METHODS", "default_recipe", "method_class", "register_method"]
