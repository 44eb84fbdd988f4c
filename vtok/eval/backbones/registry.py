"""Backbones by name."""

from pathlib import Path

from vtok.errors import ConfigError
from vtok.eval.backbones.alexnet import AlexBackbone
from vtok.eval.backbones.base import Backbone, unknown
from vtok.eval.backbones.inception_backbone import InceptionBackbone
from vtok.eval.backbones.timm_backbones import RECIPES, TimmBackbone
from vtok.eval.backbones.timm_networks import timm_names

NAMES = ("inception", "alex", *RECIPES)


def open_backbone(name: str, *, resize: str | None = None, device: str = "cpu", weights: Path | None = None) -> Backbone:
    """A frozen network with its weights; nothing is downloaded.

    Args:
        name: one of `NAMES`, or timm's name of a model.
        resize: of "inception": a name of `inception_backbone.INPUT_RULES`, None for "tf1"; of others a name of `resizing.RESIZES`, None for
            their own rule.
        device: of torch.
        weights: a file of them; None: the variable of the environment, then local caches.

    Raises:
        ConfigError: no such network or rule; the message has the nearest name.
        MissingExtraError: a library that is not installed.
        WeightsError: weights that are not there or not those that are published; the message says what to put where.
    """
    return _open(name, resize, weights).to(device)


def _open(name: str, resize: str | None, weights: Path | None) -> Backbone:
    if name == "inception":
        return InceptionBackbone(resize or "tf1", weights)
    if name == "alex":
        if resize is not None:
            raise ConfigError(f"alex takes pictures at their own size, not resized by {resize!r}")
        return AlexBackbone(weights)
    if name not in RECIPES and name not in (known := timm_names()):
        raise unknown("network", name, [*NAMES, *known])
    return TimmBackbone(name, resize=resize, weights=weights)
