"""AlexNet's features, from the file of LPIPS."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from vtok.errors import ConfigError, UnsupportedError, WeightsError
from vtok.eval.backbones.registry import open_backbone

pytest.importorskip("lpips", reason="needs the extra `eval`")


@pytest.fixture
def weights(shared: Path) -> Path:
    return shared / "data" / "weights" / "lpips_alex.safetensors"


def test_features_are_means_of_the_last_convolution_at_the_pictures_own_size(weights: Path) -> None:
    backbone = open_backbone("alex", weights=weights)
    images = 255 * torch.rand(2, 3, 40, 63, generator=torch.Generator().manual_seed(0))
    network: Any = backbone.network
    maps = network.layers(images / 255)[-1]
    torch.testing.assert_close(backbone(images)["features"], maps.mean((2, 3)))
    assert backbone.dims == {"features": 256}


def test_like_pictures_have_like_features(weights: Path, shared: Path) -> None:
    backbone = open_backbone("alex", weights=weights)
    photos = [Image.open(shared / "data" / "eval" / "kodak" / f"kodim{n:02}.webp").convert("RGB").crop((0, 0, 256, 256)) for n in (3, 23)]
    small = photos[0].resize((128, 128)).resize((256, 256))
    batch = torch.from_numpy(np.stack([np.asarray(picture) for picture in (*photos, small)])).permute(0, 3, 1, 2).float()
    first, other, like = backbone(batch)["features"]
    assert (first - like).norm() < 0.7 * (first - other).norm()


def test_it_names_its_file_and_takes_no_rule(weights: Path) -> None:
    described = open_backbone("alex", weights=weights).describe()
    assert described["digest"] == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert (described["file"], described["resize"], described["side"]) == ("lpips_alex.safetensors", None, None)
    with pytest.raises(ConfigError, match="alex takes pictures at their own size"):
        open_backbone("alex", resize="clean", weights=weights)


def test_pictures_that_are_too_small_are_refused(weights: Path) -> None:
    with pytest.raises(UnsupportedError, match="at least 31 x 31 pixels, got 64 x 30"):
        open_backbone("alex", weights=weights)(torch.zeros(1, 3, 30, 64))


def test_without_weights_it_says_where_to_put_them() -> None:
    with pytest.raises(WeightsError, match=r"alexnet-owt-7be5be79\.pth .* VTOK_LPIPS_WEIGHTS"):
        open_backbone("alex")
