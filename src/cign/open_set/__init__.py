"""How unknown a clip looks: scores, what they are computed from, and a model's rule."""
