"""Fixtures for all rooms."""

import os
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of photographs, weights and hostile files beside the checkout; tests that need it are skipped without."""
    folder = Path(os.environ.get("VTOK_SHARED", CHECKOUT.parent / "shared"))
    if not (folder / "data").is_dir():
        pytest.skip(f"needs the data folder {folder}, which is not in the repository (set VTOK_SHARED)")
    return folder
