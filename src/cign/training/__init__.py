"""The training loop, its data feed, and scoring."""
