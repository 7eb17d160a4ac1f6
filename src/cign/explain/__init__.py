"""Pictures of what a model saw and heard in a clip, and where and when."""
