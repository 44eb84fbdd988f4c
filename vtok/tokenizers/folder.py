"""Model folders on disk: `config.json` (`{"vtok": 1, "family": ..., "config": {...}}`) and `model.safetensors`.

Nothing is ever unpickled, and no file names a class.
"""

import difflib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args

import torch
from pydantic import BaseModel, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from vtok.errors import ConfigError, OutputError, WeightsError
from vtok.models.int8 import Int8, from_int8, to_int8

FORMAT = 1
CONFIG_FILE, TENSOR_FILE, CARD_FILE = "config.json", "model.safetensors", "README.md"
MAX_CONFIG_BYTES = 1_000_000
SCALE = ".int8_scale"  # added to the name of a tensor of floats stored as bytes, names the tensor of their scale

C = TypeVar("C", bound=BaseModel)


def read_config(folder: Path) -> tuple[str, dict[str, Any]]:
    """Name of the family and its configuration, not yet validated.

    Raises:
        WeightsError: `config.json` is missing, over 1 MB, no JSON object, or of another format version.
    """
    path = folder / CONFIG_FILE
    values = _read_json(path)
    if "vtok" not in values:
        raise WeightsError(f'{path}: not the configuration of a vtok model, it has no key "vtok"')
    version = values["vtok"]
    if type(version) is not int or version < 1:
        raise WeightsError(f'{path}: "vtok" must be the format version {FORMAT}, got {version!r:.40}')
    if version > FORMAT:
        raise WeightsError(f"{path}: has format version {version}, this vtok reads {FORMAT}; install a newer vtok")
    name, config = values.get("family"), values.get("config")
    if not isinstance(name, str) or not isinstance(config, dict):
        raise WeightsError(f'{path}: expected "family" with a name and "config" with an object')
    return name, config


def write_config(path: Path, name: str, config: BaseModel) -> None:
    """Write `config.json` of family `name`."""
    values = {"vtok": FORMAT, "family": name, "config": config.model_dump(mode="json")}
    path.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


def parse_config(model: type[C], values: Mapping[str, Any], path: Path) -> C:
    """Validate a family's configuration.

    Raises:
        ConfigError: the first wrong key, with the file, and the nearest name where the key is unknown.
    """
    try:
        return model.model_validate_json(json.dumps(values), strict=True)
    except ValidationError as error:
        raise ConfigError(f"{path}: {_first_fault(error, model)}") from None


def read_tensors(path: Path, expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors by name, in the types of the file, which have exactly the names and shapes of `expected`.

    Those stored as bytes with a scale come back as float32.

    Raises:
        WeightsError: the file is missing or damaged, or tensors are missing, unknown, of another shape, of another kind of
            number or of a wider one, or not finite.
    """
    try:
        tensors = load_file(path)
    except FileNotFoundError:
        raise WeightsError(f"{path}: not found; a model folder has {CONFIG_FILE} and {TENSOR_FILE}") from None
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise WeightsError(f"{path}: damaged or no safetensors file ({_line(error)}); fetch or write it anew") from None
    for name in [name for name in expected if name + SCALE in tensors and expected[name].is_floating_point()]:
        _widen(tensors, name)
    faults = {
        "lacks": expected.keys() - tensors.keys(),
        "has unknown": tensors.keys() - expected.keys(),
        "has values that are not finite in": {
            k for k, value in tensors.items() if value.is_floating_point() and not value.isfinite().all()
        },
        "has wrong shapes or types for": {k for k in expected.keys() & tensors.keys() if not _alike(expected[k], tensors[k])},
    }
    if any(faults.values()):
        told = "; ".join(f"{verb} {_names(names)}" for verb, names in faults.items() if names)
        raise WeightsError(f"{path}: does not fit {CONFIG_FILE} beside it: {told}")
    return tensors


def _widen(tensors: dict[str, Tensor], name: str) -> None:
    """Floats in the place of bytes and scale, where the two belong together."""
    stored, scale = tensors.get(name), tensors[name + SCALE]
    if stored is None or stored.dtype != torch.int8 or scale.dtype != torch.float32 or scale.ndim != stored.ndim:
        return
    if all(n in (1, m) for n, m in zip(scale.shape, stored.shape, strict=True)):
        tensors[name] = from_int8(stored, tensors.pop(name + SCALE))


def write_tensors(path: Path, tensors: Mapping[str, Tensor | Int8]) -> None:
    """Write a safetensors file; what is given as `Int8` becomes two tensors, bytes under its name and their scale beside.

    Raises:
        OutputError: it cannot be written.
    """
    stored: dict[str, Tensor] = {}
    for name, value in tensors.items():
        if isinstance(value, Int8):
            stored[name], stored[name + SCALE] = to_int8(value.values, value.axes)
        else:
            stored[name] = value
    try:
        save_file({name: value.detach().cpu().contiguous() for name, value in stored.items()}, path, metadata={"format": "pt"})
        mask = os.umask(0)
        os.umask(mask)
        path.chmod(0o666 & ~mask)  # the library makes files that only their owner can read
    except SafetensorError as error:
        raise OutputError(f"{path}: cannot be written ({_line(error)}); free some space or choose another place") from error


def _read_json(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            text = file.read(MAX_CONFIG_BYTES + 1)
    except FileNotFoundError:
        raise WeightsError(f"{path}: not found; a model folder has {CONFIG_FILE} and {TENSOR_FILE}") from None
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror})") from None
    if len(text) > MAX_CONFIG_BYTES:
        raise WeightsError(f"{path}: larger than 1 MB, that is no model configuration")
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"{path}: no valid JSON ({_line(error)})") from None
    if not isinstance(values, dict):
        raise WeightsError(f"{path}: expected a JSON object, got {type(values).__name__}")
    return values


def _first_fault(error: ValidationError, model: type[BaseModel]) -> str:
    fault = error.errors(include_url=False)[0]
    location = fault["loc"]
    key = ".".join(map(str, location))
    if fault["type"] != "extra_forbidden":
        return f"{key}: {fault['msg']}" if key else fault["msg"]
    known = _keys_at(model, location[:-1])
    near = difflib.get_close_matches(str(location[-1]), known, n=1)
    return f"unknown key {key}" + (f"; did you mean {near[0]}?" if near else f"; known are {', '.join(known)}")


def _keys_at(model: type[BaseModel], location: Iterable[int | str]) -> list[str]:
    models = [model]
    for part in location:  # list places and union tags are no fields and stay at the same models
        inner = [i for m in models if part in m.model_fields for i in _models_in(m.model_fields[str(part)].annotation)]
        models = inner or models
    return sorted({name for m in models for name in m.model_fields})


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in _models_in(argument)]


def _alike(expected: Tensor, found: Tensor) -> bool:
    if expected.is_floating_point() and found.is_floating_point():
        return expected.shape == found.shape and found.dtype.itemsize <= expected.dtype.itemsize
    return expected.shape == found.shape and expected.dtype == found.dtype


def _names(names: Iterable[str]) -> str:
    ordered = sorted(names)
    return ", ".join(ordered[:3]) + (f" and {len(ordered) - 3} more" if len(ordered) > 3 else "")


def _line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
