"""A table of tensors out of a file that somebody else made."""

import argparse
import pickle
import warnings
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from vtok.errors import WeightsError

WEIGHTS = (
    "ema",
    "model",
    "module",
    "state_dict",
)  # where a training's checkpoint has them: the averaged ones before those of the last step


def read_tensors(file: Path) -> dict[str, Tensor]:
    """Tensors by name, on the CPU, of a .safetensors file or of one saved by torch; no code in it is run.

    Of a checkpoint of a training, the averaged weights, or the weights where there are none.

    Raises:
        WeightsError: a file that cannot be read, or that holds something else.
    """
    try:
        state = load_file(file) if file.suffix == ".safetensors" else _unpickled(file)
    except pickle.UnpicklingError:
        raise WeightsError(f"cannot read the weights {file}: neither safetensors nor a table of tensors saved by torch") from None
    except Exception as error:  # noqa: BLE001 - a damaged pickle raises whatever its reader trips over
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise WeightsError(f"cannot read the weights {file}: {reason}") from None
    if not isinstance(state, dict) or not all(isinstance(name, str) and _is_plain(value) for name, value in state.items()):
        raise WeightsError(f"{file} holds no table of tensors")
    return state


def _unpickled(file: Path) -> Any:
    settings = torch.serialization.safe_globals([argparse.Namespace])  # beside the weights; it holds values and does nothing
    with warnings.catch_warnings(action="ignore"), settings:  # what is wrong with a file is said once
        held = torch.load(file, weights_only=True, map_location="cpu")
    parts = [held[key] for key in WEIGHTS if isinstance(held.get(key), dict)] if isinstance(held, dict) else []
    return parts[0] if parts else held


def _is_plain(value: Any) -> bool:
    """Whether it is a tensor with a number at each place."""
    return isinstance(value, Tensor) and value.layout == torch.strided and not value.is_meta
