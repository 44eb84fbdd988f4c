"""Stored values of published implementations."""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

BESIDE_THE_CHECKOUT = Path(__file__).parents[2] / "shared" / "parity"


def stored_values(name: str) -> Path:
    """The folder of one fixture; a test that needs it is skipped without."""
    folder = Path(os.environ.get("VTOK_PARITY_DIR", BESIDE_THE_CHECKOUT)) / name
    if not folder.is_dir():
        pytest.skip(f"needs the stored values in {folder} (set VTOK_PARITY_DIR)")
    return folder


@dataclass
class Stored:
    """One fixture: its sizes, its tensors by name, and the comparison with what it stores."""

    name: str
    config: dict[str, Any]
    inputs: dict[str, Tensor]
    outputs: dict[str, Tensor]
    weights: dict[str, Tensor]
    checked: set[str] = field(default_factory=set, init=False)

    @classmethod
    def load(cls, name: str) -> "Stored":
        """The fixture `name`; the test is skipped where it is not on the machine. A part that a fixture lacks is empty."""
        folder = stored_values(name)
        parts = {
            part: load_file(file) if (file := folder / f"{part}.safetensors").is_file() else {} for part in ("inputs", "outputs", "weights")
        }
        return cls(name, json.loads((folder / "config.json").read_text()), **parts)

    def weights_under(self, prefix: str) -> dict[str, Tensor]:
        """The weights whose names start with `prefix`, without it."""
        return {key.removeprefix(prefix): value for key, value in self.weights.items() if key.startswith(prefix)}

    def check(self, name: str, value: Tensor | float) -> None:
        """Compare with the output `name`: whole numbers equal, others within the fixture's own relative and absolute tolerance.

        The shape must be the stored one, except that a plain number or a scalar may stand for one value.
        """
        expected = self.outputs[name]
        found = torch.as_tensor(value).detach()
        if found.ndim == 0 and expected.numel() == 1:
            expected = expected.reshape(())
        assert found.shape == expected.shape, f"{self.name}/{name}: shape {tuple(found.shape)}, stored {tuple(expected.shape)}"
        if expected.is_floating_point():
            relative, absolute = self.config["tolerance"][name]
            torch.testing.assert_close(
                found.to(expected.dtype), expected, rtol=relative, atol=absolute, msg=lambda text: f"{self.name}/{name}: {text}"
            )
        else:
            assert torch.equal(found.to(expected.dtype), expected), f"{self.name}/{name}: {found} is not the stored {expected}"
        self.checked.add(name)

    def check_gradients(self, prefix: str, gradients: dict[str, Tensor | None]) -> None:
        """Compare every stored output `<prefix><key>` with `gradients[key]`, under the same key; at least one must be stored."""
        stored = [name.removeprefix(prefix) for name in self.outputs if name.startswith(prefix)]
        assert stored, f"{self.name}: no output under {prefix}"
        for key in stored:
            gradient = gradients[key]
            assert gradient is not None, f"{self.name}: no gradient reached {key}"
            self.check(prefix + key, gradient)

    def unchecked(self) -> set[str]:
        """The outputs that nothing was compared with so far: empty at the end of a test that covers a fixture whole."""
        return set(self.outputs) - self.checked
