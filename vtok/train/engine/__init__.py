"""The parts of the loop: steps, averages, checkpoints, logs, measures, signals."""
