"""The training loop, what feeds it, and scoring."""
