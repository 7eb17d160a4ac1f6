"""Changes to a trained model: add, rename and remove classes, with their impact."""
