"""Starts that need no gradient steps: principal components under a metric, water-filling, k-means."""
