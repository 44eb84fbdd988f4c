"""Whole networks of the timm library with weights from a file: the one given or what the local caches have."""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.nn.functional import interpolate

from vtok.data.tensor_file import read_tensors
from vtok.errors import MissingExtraError, WeightsError
from vtok.eval.backbones.base import unknown
from vtok.eval.backbones.weight_file import WeightFile


def timm_names() -> list[str]:
    """Models of timm: architectures, and architectures with the tag of their weights, "convnext_small.fb_in1k".

    Raises:
        MissingExtraError: timm is not installed.
    """
    try:
        import timm
    except ImportError as error:
        raise MissingExtraError(f'this network needs a library that is not installed ({error}): pip install "vtok[eval]"') from None
    return [*timm.list_models(), *timm.list_pretrained()]


def timm_facts(name: str) -> dict[str, Any]:
    """What timm knows of one of `timm_names`: `mean`, `std`, `input_size`, `interpolation`, `url`, `hf_hub_id`.

    Raises:
        MissingExtraError: timm is not installed.
        ConfigError: no such model, or no weights of that tag; the message has the nearest name.
    """
    known = timm_names()
    import timm

    facts = timm.get_pretrained_cfg(name) if name in known else None
    if facts is None:
        raise unknown("model of timm", name, known)
    return cast(dict[str, Any], facts.to_dict())


def timm_file(name: str) -> WeightFile:
    """Where timm's own weights of a model are: what it downloaded before.

    Raises:
        MissingExtraError, ConfigError: as of `timm_facts`.
    """
    facts = timm_facts(name)
    url, repo = facts.get("url") or "", facts.get("hf_hub_id") or ""
    names = (url.rpartition("/")[2],) if url else ()
    return WeightFile(title=name, file_names=names, size_bytes=0, sha256_prefix="", variable="", source=url, hub_repo=repo)


def load_timm(name: str, file: Path) -> nn.Module:
    """The network with its classifier, all of its weights from the file, which may have the names of the authors' own code.

    Raises:
        MissingExtraError, ConfigError: as of `timm_facts`.
        WeightsError: weights that cannot be read, are others, or not all of them.
    """
    timm_facts(name)
    import timm

    source = {"file": str(file), "custom_load": False}
    try:
        with torch.random.fork_rng(devices=()):  # it draws numbers before it loads
            try:
                return timm.create_model(name, pretrained=True, pretrained_strict=True, pretrained_cfg_overlay=source)
            except TypeError:  # an architecture that decides itself whether tensors may be missing
                network = timm.create_model(name, pretrained=False)
                _fill(network, read_tensors(file), file)
                return network
    except (OSError, EOFError, RuntimeError, ValueError, KeyError, AttributeError, pickle.UnpicklingError, SafetensorError) as error:
        raise WeightsError(f"{file}: cannot read {name}'s weights: {' '.join(str(error).split())[:200]}") from None


def load_in_order(name: str, file: Path) -> nn.Module:
    """The network with the tensors of a file whose names are others, taken in the order in which both have them.

    Raises:
        MissingExtraError, ConfigError: as of `timm_facts`.
        WeightsError: another number of tensors, or other shapes.
    """
    timm_facts(name)
    import timm

    with torch.random.fork_rng(devices=()):
        network = timm.create_model(name, pretrained=False)
    tensors = read_tensors(file)
    if len(tensors) != len(network.state_dict()):
        raise WeightsError(f"{file} has {len(tensors)} tensors, {name} has {len(network.state_dict())}")
    _fill(network, dict(zip(network.state_dict(), tensors.values(), strict=True)), file)
    return network


def load_at_side(name: str, file: Path, *, side: int) -> nn.Module:
    """A vision transformer made to take squares of `side` pixels, by the rule of DINOv2's code: bicubic without antialias, grid plus 0.1.

    timm's own rule antialiases, which gives other features (facebookresearch/dinov2: `interpolate_pos_encoding`).

    Args:
        name: of a `VisionTransformer` of timm with a class token.
        side: a multiple of its patches.

    Raises:
        MissingExtraError, ConfigError, WeightsError: as of `load_timm`.
    """
    vit: Any = load_timm(name, file)
    before, grid = vit.patch_embed.grid_size[0], side // vit.patch_embed.patch_size[0]
    first, places = vit.pos_embed.detach().split([1, before * before], dim=1)  # (1, 1, D), (1, N, D)
    maps = places.unflatten(1, (before, before)).permute(0, 3, 1, 2)  # (1, D, h, w)
    maps = interpolate(maps, scale_factor=(grid + 0.1) / before, mode="bicubic")
    vit.set_input_size(img_size=(side, side))
    vit.pos_embed = nn.Parameter(torch.cat([first, maps.flatten(2).transpose(1, 2)], 1))
    return cast(nn.Module, vit)


def _fill(network: nn.Module, tensors: Mapping[str, Tensor], file: Path) -> None:
    try:
        network.load_state_dict(dict(tensors))
    except RuntimeError as error:
        raise WeightsError(f"{file} has other weights: {str(error).splitlines()[-1].strip()[:200]}") from None
