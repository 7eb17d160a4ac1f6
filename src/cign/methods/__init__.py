"""One file per class-incremental method."""

from __future__ import annotations

from cign.methods.registry import METHODS, default_recipe, method_class, register_method

__all__ = ["METHODS", "default_recipe", "method_class", "register_method"]
