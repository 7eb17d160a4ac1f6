"""Numbers derived from per-clip predictions; nothing here knows a method or a model."""
