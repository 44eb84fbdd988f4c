"""Towers of the library transformers with weights that are at hand; nothing is downloaded."""

from collections.abc import Mapping
from typing import Any

from safetensors import SafetensorError

from vtok.data.files import expand_home
from vtok.errors import ConfigError, MissingExtraError, WeightsError


def local_tower(name: str, classes: Mapping[str, str]) -> tuple[str, Any]:
    """The kind of a tower, and the tower.

    Args:
        name: a folder in the layout of the library, or `organisation/name` in the hub's cache.
        classes: of the library, by the kinds of networks that will do.

    Raises:
        MissingExtraError: transformers is not installed.
        WeightsError: no such folder, nothing in the cache, or files that cannot be read or lack tensors.
        ConfigError: a network of another kind.
    """
    try:
        import transformers
    except ImportError as error:
        raise MissingExtraError(f'this loss needs a library that is not installed ({error}): pip install "vtok[models]"') from None
    folder = expand_home(name)
    place: Any = folder if folder.exists() else name
    try:
        kind = transformers.AutoConfig.from_pretrained(place, local_files_only=True).model_type.removesuffix("_vision_model")
        if kind not in classes:
            raise ConfigError(f"{name} is a {kind}; this loss takes {' or '.join(classes)}")
        made = getattr(transformers, classes[kind])
        tower, told = made.from_pretrained(place, local_files_only=True, use_safetensors=True, output_loading_info=True)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:200]
        raise WeightsError(f"no tower {name}: neither a folder of one nor in the hub's cache ({reason}); `hf download {name}`") from None
    if missing := sorted(told["missing_keys"]):
        raise WeightsError(f"the tower {name} lacks {len(missing)} tensors, {missing[0]} among them")
    return kind, tower
