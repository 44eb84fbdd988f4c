"""Distance of pictures in the features of any backbone of the timm library."""

import difflib
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, cast

import torch
from pydantic import BaseModel, ConfigDict, Field
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity, interpolate

from vtok.data.files import expand_home
from vtok.errors import ConfigError, MissingExtraError, WeightsError
from vtok.train.losses.frozen_network import FrozenNetwork


class TimmFeaturesConfig(BaseModel):
    """A backbone and how its features are compared.

    Args:
        backbone: a name of timm, "convnext_small.fb_in1k".
        weights: a file of the backbone's tensors in timm's names, .safetensors or saved by torch; empty takes timm's own from its cache,
            downloaded there the first time.
        pretrained: false leaves random weights, seeded by torch's global generator, for tests.
        stages: which of timm's feature maps, counted from 0, or from -1 at the end; empty takes those that timm picks.
        distance: "cosine": 1 - the cosine of two features at each place; "l2": their mean squared difference.
        size: side in pixels that pictures are scaled to; 0 takes them as they are, or at the one size that the backbone was trained for.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    backbone: str
    weights: str = ""
    pretrained: bool = True
    stages: tuple[int, ...] = ()
    distance: Literal["cosine", "l2"] = "cosine"
    size: int = Field(0, ge=0, le=4096)


class TimmFeatureLoss(nn.Module):
    """Distance of pictures from targets whose features were taken once: `loss(pictures, loss.target(images))`.

    The backbone computes in the type of autocast, distances are float32.

    Raises:
        MissingExtraError: timm is not installed.
        ConfigError: no such backbone, or no such stage.
        WeightsError: weights that are not there, or not this backbone's.
    """

    mean: Tensor  # (1, 3, 1, 1) of the pictures that the backbone was trained on
    std: Tensor

    def __init__(self, config: TimmFeaturesConfig):
        super().__init__()
        self.distance = {"cosine": _cosine_distance, "l2": _squared_distance}[config.distance]
        network = _build(config)
        self.backbone = FrozenNetwork(network)
        trained = cast(dict[str, Any], network.pretrained_cfg)
        self.num_channels = int(cast(Any, network).feature_info.channels()[-1])  # of the last stage
        self.size = config.size or (trained["input_size"][-1] if trained.get("fixed_input_size") else 0)
        for name in ("mean", "std"):
            self.register_buffer(name, torch.tensor(trained[name]).view(1, 3, 1, 1), persistent=False)

    @torch.no_grad()
    def target(self, images: Tensor) -> list[Tensor]:
        """Features of images (B, 3, H, W) in [0, 1], for any number of comparisons; no gradient passes through them."""
        return self._features(images)

    def forward(self, pictures: Tensor, target: Sequence[Tensor]) -> Tensor:
        """Distance (B,) float32 of pictures (B, 3, H, W) in [0, 1] from a `target`, the mean over stages."""
        pairs = zip(self._features(pictures), target, strict=True)
        return torch.stack([self.distance(own, other) for own, other in pairs]).mean(0)

    def _features(self, pictures: Tensor) -> list[Tensor]:
        """Maps (B, C, h, w) of each stage."""
        if self.size:
            pictures = interpolate(pictures.float(), (self.size, self.size), mode="bilinear", antialias=True)
        features: list[Tensor] = self.backbone.network((pictures.float() - self.mean) / self.std)
        return [stage.float() for stage in features]


def _cosine_distance(own: Tensor, other: Tensor) -> Tensor:
    return 1 - cosine_similarity(own, other, dim=1).flatten(1).mean(1)


def _squared_distance(own: Tensor, other: Tensor) -> Tensor:
    return (own - other).square().flatten(1).mean(1)


def _build(config: TimmFeaturesConfig) -> nn.Module:
    try:
        import timm
    except ImportError as error:
        raise MissingExtraError(f'feature losses need a library that is not installed ({error}): pip install "vtok[models]"') from None
    if not timm.is_model(config.backbone):
        near = difflib.get_close_matches(config.backbone, timm.list_models(), n=1)
        raise ConfigError(f"timm has no backbone {config.backbone!r}" + (f"; did you mean {near[0]}?" if near else ""))
    options: dict[str, Any] = {"out_indices": config.stages} if config.stages else {}
    try:
        network = timm.create_model(
            config.backbone,
            pretrained=config.pretrained and not config.weights,
            features_only=True,
            feature_cls="getter",  # maps are (B, C, h, w) for every backbone
            **options,
        )
    except AssertionError as error:
        raise ConfigError(f"stages {config.stages} of {config.backbone}: {error}") from None
    except (OSError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise WeightsError(f"no weights of {config.backbone} in timm's cache ({reason}); name a file of them in `weights`") from None
    if config.weights:
        _fill(cast(nn.Module, network.model), expand_home(config.weights))
    return network


def _fill(backbone: nn.Module, file: Path) -> None:
    """Load a file of which the classifier, and what stands after the last stage, is not used."""
    from timm.models import load_state_dict

    if not file.is_file():
        raise WeightsError(f"no file {file}: the feature loss needs its backbone's weights there (.safetensors, or saved by torch)")
    try:
        state = load_state_dict(str(file))
        missing = [name for name in backbone.state_dict() if name not in state and not name.endswith("num_batches_tracked")]
        if missing:
            raise WeightsError(f"{file} lacks {len(missing)} tensors of the backbone, {missing[0]} among them")
        backbone.load_state_dict(state, strict=False)
    except (OSError, EOFError, RuntimeError, ValueError, TypeError, AttributeError, pickle.UnpicklingError, SafetensorError) as error:
        raise WeightsError(f"{file}: cannot read the backbone's weights: {' '.join(str(error).split())[:200]}") from None
