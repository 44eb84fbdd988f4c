"""One TOML file is one run: read, changed by `--set`, checked, written back resolved. No torch here."""

import difflib
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from vtok.errors import ConfigError
from vtok.recipes import recipe_file

Config = TypeVar("Config", bound=BaseModel)


class DataConfig(BaseModel):
    """Where the pictures come from.

    Args:
        path: a folder, tar, folder of tars, parquet file or folder of them; unused for synthetic pictures.
        kind: what `path` is; "auto" looks, "synthetic" draws pictures from the seed.
        split: all pictures, or those whose `crc32(file name) % 20` is not 0 (train) or is 0 (held_out).
        num_synthetic: how many pictures "synthetic" draws.
        max_side: pictures with a longer short side are scaled down to it; 0 takes them as they are.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", coerce_numbers_to_str=True)
    path: str = ""
    kind: Literal["auto", "folder", "tar", "parquet", "synthetic"] = "auto"
    split: Literal["all", "train", "held_out"] = "all"
    num_synthetic: int = Field(64, ge=1)
    max_side: int = Field(512, ge=0)


class RunConfig(BaseModel):
    """A training run. The section named like `objective` holds that objective's own settings, checked when the run starts.

    Args:
        objective: what is trained and how, a name of `vtok.train.objectives.TABLE`.
        seed: of every random draw.
        threads: processor threads of PyTorch; 0 leaves its choice.
        sections: one table per objective, by its name.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    objective: str
    seed: int = Field(0, ge=0, lt=2**31)
    threads: int = Field(0, ge=0, le=1024)
    data: DataConfig = DataConfig()
    sections: dict[str, dict[str, Any]] = {}

    @model_validator(mode="before")
    @classmethod
    def _gather_sections(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Tables that are not fields belong to objectives."""
        known = {key: value for key, value in values.items() if key in cls.model_fields or not isinstance(value, dict)}
        own = {key: value for key, value in values.items() if key not in known}
        return {**known, "sections": known.get("sections", {}) | own}

    @model_validator(mode="after")
    def _only_the_own_section(self) -> Self:
        if unknown := sorted(set(self.sections) - {self.objective}):
            near = _nearest(unknown[0], ["data", self.objective])
            raise ValueError(f"unknown section [{unknown[0]}] for the objective {self.objective}{near}")
        return self

    def settings(self) -> dict[str, Any]:
        """The own section of the objective."""
        return self.sections.get(self.objective, {})


def load_config(recipe: str | Path, overrides: Sequence[str] = ()) -> RunConfig:
    """Read a recipe by name, or a TOML file, and apply `a.b=1` overrides.

    Raises:
        ConfigError: no such recipe or file, not TOML, an unknown key (with the nearest name), or a value out of range.
    """
    path = recipe_file(recipe)
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: cannot read the recipe: {error}") from None
    for override in overrides:
        _apply(values, override)
    if "sections" in values:
        raise ConfigError(f"{path.name}: unknown section [sections]; the objective's own settings stand under its name")
    return check(RunConfig, values, path.name)


def check(model: type[Config], values: Mapping[str, Any], name: str) -> Config:
    """Build `model` from plain values.

    Raises:
        ConfigError: names the file and the key, and the nearest name of an unknown one.
    """
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        raise ConfigError(f"{name}: " + "; ".join(_explained(model, error))) from None


def _explained(model: type[BaseModel], error: ValidationError) -> Iterator[str]:
    problems = error.errors()
    unknown = [problem["loc"] for problem in problems if problem["type"] == "extra_forbidden"]
    for problem in problems:
        own = problem["loc"]
        if any(len(loc) > len(own) and loc[: len(own)] == own for loc in unknown):
            continue  # a list is called too short when one of its items has an unknown key
        key = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "extra_forbidden":
            yield f"unknown key {key}{_nearest(str(own[-1]), _keys_beside(model, own))}"
        else:
            yield f"{key}: {problem['msg']}" if key else str(problem["msg"]).removeprefix("Value error, ")


def _keys_beside(model: type[BaseModel], place: Sequence[int | str]) -> list[str]:
    """The keys that are known where a wrong one stands."""
    for part in place[:-1]:
        if isinstance(part, str) and part in model.model_fields:
            annotation = model.model_fields[part].annotation
            kinds = (annotation, *get_args(annotation))
            model = next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), model)
    return [name for name in model.model_fields if name != "sections"]


def _nearest(name: str, names: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"; did you mean {near[0]}?" if near else f"; known: {', '.join(names)}"


def _apply(values: dict[str, Any], override: str) -> None:
    """Set one dotted key; the value is read as TOML, and as plain text where that fails."""
    key, equals, text = override.partition("=")
    parts = key.strip().split(".")
    if not equals or not all(parts):
        raise ConfigError(f"--set takes a.b=VALUE, got {override!r}")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    table = values
    for part in parts[:-1]:
        table = table.setdefault(part, {})
        if not isinstance(table, dict):
            raise ConfigError(f"--set {key}: {part} is a value, not a section")
    table[parts[-1]] = value
