"""One TOML file is one run: read, changed by `--set`, checked, written back resolved. No torch here."""

import difflib
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, time
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from vtok.errors import ConfigError
from vtok.recipes import recipe_file

Config = TypeVar("Config", bound=BaseModel)
Beta = Annotated[float, Field(ge=0, lt=1)]


class DataConfig(BaseModel):
    """Where the pictures come from.

    Args:
        path: a folder, tar, folder of tars, parquet file or folder of them, or a folder of token shards; unused for synthetic pictures.
        kind: what `path` is; "auto" looks for pictures, "synthetic" draws them from the seed, "tokens" are what `vtok tokenize` writes.
        split: all pictures, or those whose `crc32(file name) % 20` is not 0 (train) or is 0 (held_out).
        num_synthetic: how many pictures "synthetic" draws.
        max_side: pictures with a longer short side are scaled down to it; 0 takes them as they are.
        crop_size: side in pixels of the squares that gradient steps train on.
        scales: smallest and largest side of what such a square shows, in multiples of it.
        flip: mirror half of them.
        captions: pictures come with their captions, and those without one are skipped; see docs/training-data.md.
        workers: processes that read pictures; 0 reads in the training process.
        memory_mb: decoded pictures kept in memory, over the workers of a training process, in units of 10**6 bytes; 0 keeps none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", coerce_numbers_to_str=True)
    path: str = ""
    kind: Literal["auto", "folder", "tar", "parquet", "cache", "synthetic", "tokens"] = "auto"
    split: Literal["all", "train", "held_out"] = "all"
    num_synthetic: int = Field(64, ge=1)
    max_side: int = Field(512, ge=0)
    crop_size: int = Field(256, ge=16, le=4096)
    scales: tuple[float, float] = (0.75, 1.5)
    flip: bool = True
    captions: bool = False
    workers: int = Field(0, ge=0, le=256)
    memory_mb: int = Field(1500, ge=0)

    @field_validator("scales")
    @classmethod
    def _scales_rise(cls, scales: tuple[float, float]) -> tuple[float, float]:
        low, high = scales
        if not 0 < low <= high <= 16:
            raise ValueError(f"smallest, then largest, above 0 and at most 16, got {low} and {high}")
        return scales


class OptimizerConfig(BaseModel):
    """AdamW and its schedule: a linear warm-up, then, at once or after a plateau, a cosine down to a share of the rate.

    Args:
        learning_rate: highest.
        warmup_steps: steps of the rise from 0, counted from the group's first step.
        final_share: of the learning rate, at the last step.
        cooldown: part of the run at its end over which the rate falls; below 1 it stays at its highest till then, so that a run can be made
            longer or shorter on the way.
        betas, weight_decay: of AdamW; biases, norms and embeddings (parameters of fewer than two axes) are not decayed.
        clip: largest norm of the group's gradient; 0 does not clip.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    learning_rate: float = Field(1e-4, gt=0, le=1)
    warmup_steps: int = Field(100, ge=0)
    final_share: float = Field(0.05, ge=0, le=1)
    cooldown: float = Field(1.0, ge=0, le=1)
    betas: tuple[Beta, Beta] = (0.9, 0.99)
    weight_decay: float = Field(0.01, ge=0)
    clip: float = Field(1.0, ge=0)


class ValidationConfig(BaseModel):
    """Measuring on the held-out part of the data (`crc32(file name) % 20 == 0`), with the averaged weights.

    Args:
        every: steps; 0 never.
        num_pictures: centre crops of the held-out pictures measured.
        lengths: prefixes measured; 0 stands for all tokens.
        select: the mean of this over the lengths decides which weights are the best.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    every: int = Field(0, ge=0)
    num_pictures: int = Field(32, ge=1)
    lengths: tuple[int, ...] = Field((1, 4, 16, 0), min_length=1)
    select: Literal["psnr", "lpips"] = "psnr"


class TrainConfig(BaseModel):
    """The gradient steps of a run.

    Args:
        steps: how many; 0 for what is fitted in closed form alone.
        overfit: train on so many pictures alone, as a check that training works; 0 takes all.
        batch_size: samples of a step over all processes.
        accumulate: parts that a process splits its share of the batch into.
        precision: "bf16" computes networks in bfloat16, weights and losses stay float32.
        ema: decay of the averaged weights, which are what is kept; 0 keeps the weights themselves.
        compile: compile the step with torch.compile.
        shard: deal a generator's weights, gradients and moments out over the processes (FSDP).
        gradient_checkpointing: recompute activations of transformer blocks in the backward pass.
        log_every, image_every: steps between lines of `log.jsonl` and between picture grids; 0 never.
        checkpoint_every: steps between checkpoints.
        checkpoint_minutes: a checkpoint also when the last one is older than this; 0 counts steps alone.
        keep: checkpoints kept.
        trackers: loggers of Accelerate by name, beside `log.jsonl`: "tensorboard", "wandb", ...
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    steps: int = Field(0, ge=0)
    overfit: int = Field(0, ge=0)
    batch_size: int = Field(8, ge=1)
    accumulate: int = Field(1, ge=1)
    precision: Literal["fp32", "bf16"] = "fp32"
    ema: float = Field(0.999, ge=0, lt=1)
    compile: bool = False
    shard: bool = False
    gradient_checkpointing: bool = False
    log_every: int = Field(10, ge=1)
    image_every: int = Field(0, ge=0)
    checkpoint_every: int = Field(500, ge=1)
    checkpoint_minutes: float = Field(10.0, ge=0)
    keep: int = Field(2, ge=1)
    trackers: tuple[str, ...] = ("tensorboard",)
    validation: ValidationConfig = ValidationConfig()


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
    train: TrainConfig = TrainConfig()
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
            near = _nearest(unknown[0], ["data", "train", self.objective])
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
    """Set one dotted key; the value is read as TOML, and as plain text where that fails or gives a date, which no setting is."""
    key, equals, text = override.partition("=")
    parts = key.strip().split(".")
    if not equals or not all(parts):
        raise ConfigError(f"--set takes a.b=VALUE, got {override!r}")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except (tomllib.TOMLDecodeError, RecursionError):
        value = text
    if isinstance(value, date | time):
        value = text
    table = values
    for part in parts[:-1]:
        table = table.setdefault(part, {})
        if not isinstance(table, dict):
            raise ConfigError(f"--set {key}: {part} is a value, not a section")
    table[parts[-1]] = value
