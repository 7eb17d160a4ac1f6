"""Class-incremental audio-visual learning."""

__version__ = "0.1.0.dev0"
