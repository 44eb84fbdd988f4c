"""The learning rate over a run: a linear rise, a plateau, a cosine down."""

import math


def share(step: int, num_steps: int, *, warmup_steps: int, final_share: float, cooldown: float = 1.0) -> float:
    """Share of the highest learning rate at a step.

    (step + 1) / (warmup_steps + 1) before step `warmup_steps`, where it is 1; from where the cooldown begins
    final + (1 - final) (1 + cos(pi p)) / 2 with p rising from 0 there to 1 at the last step.

    Args:
        step: from 0, at most num_steps - 1.
        final_share: at the last step, 0 to 1.
        cooldown: part of the run at its end over which the rate falls, 0 to 1; 1 is all that the warm-up leaves.
    """
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    start = max(warmup_steps, round((1 - cooldown) * (num_steps - 1)))
    if step < start:
        return 1.0
    rest = num_steps - 1 - start
    progress = min(1.0, (step - start) / rest) if rest > 0 else 0.0
    return final_share + (1 - final_share) * (1 + math.cos(math.pi * progress)) / 2
