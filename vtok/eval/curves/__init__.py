"""Rate and distortion: distances of curves, plots."""
