"""The states of the global random number generators, as numbers: for networks that draw from them, such as dropout."""

import random
from typing import Any

import numpy as np
import torch
from torch import Tensor


def tensors(device: torch.device) -> dict[str, Tensor]:
    """PyTorch's states by device, uint8."""
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def facts() -> dict[str, Any]:
    """Python's and numpy's states, as JSON has them."""
    version, numbers, gauss = random.getstate()
    state: Any = np.random.get_state(legacy=False)
    own = {**state, "state": {**state["state"], "key": state["state"]["key"].tolist()}}
    return {"python": [version, list(numbers), gauss], "numpy": own}


def restore(tensors: dict[str, Tensor], facts: dict[str, Any], device: torch.device) -> None:
    """Go on where `tensors` and `facts` were taken."""
    torch.set_rng_state(tensors["cpu"])
    if device.type == "cuda" and "cuda" in tensors:
        torch.cuda.set_rng_state(tensors["cuda"], device)
    version, numbers, gauss = facts["python"]
    random.setstate((version, tuple(numbers), gauss))
    state = facts["numpy"]
    np.random.set_state({**state, "state": {**state["state"], "key": np.array(state["state"]["key"], dtype=np.uint32)}})


def seed(seed: int) -> None:
    """Begin all of them anew."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
