"""Losses, one file each. Those of pictures give one value for each sample, (B,) float32; a run's own are their means over the batch."""
