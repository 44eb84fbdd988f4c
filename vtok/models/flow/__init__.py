"""Rectified flow (arXiv 2209.03003), cut along the mathematics: path, times, solvers, guidance, noise. Time 0 is data, time 1 is noise."""
