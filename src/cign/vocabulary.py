"""Names that several packages share; nothing is imported here."""

UNIMODAL = ("audio", "visual")
MODALITIES = (*UNIMODAL, "audio_visual")
SPLITS = ("train", "val", "test", "unknown")
REGIMES = ("frozen", "end-to-end")
STREAMS = ("tasks", "blurry", "online", "fewshot")
LOGGERS = ("csv", "tensorboard", "wandb", "mlflow")
SAMPLERS = ("tpe", "grid", "random")

EVALUATION_BATCH = 256
"""Default number of clips per forward pass where nothing is trained."""
