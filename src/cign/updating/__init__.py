"""Changes to a trained model: add, merge, forget, rename, remove and solve again."""
