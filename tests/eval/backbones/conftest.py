"""Weight files that need no download."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.eval.backbones.filled_weights import inception_file
from tests.threads import threads


@pytest.fixture(scope="session")
def filled_inception(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The FID's Inception with weights by rule, which is not the published file."""
    return inception_file(tmp_path_factory.mktemp("inception"))


@pytest.fixture(autouse=True)
def empty_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Caches of torch hub and of the Hugging Face hub in which nothing is, and no variable that names a file."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    for variable in ("INCEPTION", "LPIPS", "EFFLITE0", "DINOV2", "CLIP"):
        monkeypatch.delenv(f"VTOK_{variable}_WEIGHTS", raising=False)
    return tmp_path


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Two threads of PyTorch wait for each other ten times as long as they compute where other programs have the processors."""
    with threads(1):
        yield
