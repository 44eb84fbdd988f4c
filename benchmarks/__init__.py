"""Measurements, one script a question, run from the checkout: `python -m benchmarks.NAME`. Results go to `results/`."""
