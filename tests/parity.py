"""Stored values of published implementations."""

import os
from pathlib import Path

import pytest

BESIDE_THE_CHECKOUT = Path(__file__).parents[2] / "shared" / "parity"


def stored_values(name: str) -> Path:
    """The folder of one fixture; a test that needs it is skipped without."""
    folder = Path(os.environ.get("VTOK_PARITY_DIR", BESIDE_THE_CHECKOUT)) / name
    if not folder.is_dir():
        pytest.skip(f"needs the stored values in {folder} (set VTOK_PARITY_DIR)")
    return folder
