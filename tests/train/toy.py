"""A tokenizer and an objective so small that a step takes a millisecond."""

import json
import math
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import torch
from pydantic import BaseModel, ConfigDict
from safetensors.torch import load_file
from torch import Tensor, nn

from vtok.models.decoders import Decoded
from vtok.models.quantizers import Quantized
from vtok.tokenizers.base import DecodeOptions, Tokenizer
from vtok.tokenizers.registry import ALL
from vtok.tokenizers.spec import TokenSpec
from vtok.tokenizers.tiles import cut_tiles
from vtok.train.config import DataConfig, OptimizerConfig, RunConfig, check
from vtok.train.loop import run
from vtok.train.objective import Group, Losses
from vtok.train.samples.batch import Batch
from vtok.train.samples.draws import generator
from vtok.train.samples.pictures import Pictures

KILL_AT, STOP_AT = "TOY_KILL_AT", "TOY_STOP_AT"  # environment: steps done after which the process meets that signal
SIDE, TOKENS, BITS = 16, 8, 3
TABLE = {"toy": "tests.train.toy:ToyObjective"}
FAMILY = {"toy": "tests.train.toy:ToyTokenizer"}


class ToyTokenizerConfig(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ToyTokenizer(Tokenizer):
    """Eight tokens of three signs each between two linear maps; what is cut off is zeros."""

    family = "toy"
    Config = ToyTokenizerConfig
    seen: Tensor  # () float32: steps that it was trained
    place: Tensor  # (BITS,) int64

    def __init__(self, config: ToyTokenizerConfig):
        super().__init__()
        self.config = config
        self.encoder = nn.Linear(3 * SIDE * SIDE, TOKENS * BITS)
        self.decoder = nn.Linear(TOKENS * BITS, 3 * SIDE * SIDE)
        self.register_buffer("seen", torch.zeros(()))
        self.register_buffer("place", 2 ** torch.arange(BITS))
        self.spec = TokenSpec((2**BITS,), TOKENS, tuple(range(1, TOKENS + 1)), (SIDE, SIDE), (SIDE, SIDE))

    @classmethod
    def tiny(cls) -> Self:
        model = cls(ToyTokenizerConfig())
        source = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=source) / math.sqrt(parameter.shape[-1]))
        return model.eval()

    def code_state(self) -> Mapping[str, Tensor]:
        return self.decoder.state_dict()

    def latents(self, images: Tensor) -> Tensor:
        latents: Tensor = self.encoder(images.flatten(1) - 0.5)
        return latents.view(-1, TOKENS, BITS)

    def quantize(self, latents: Tensor) -> Quantized:
        signs = torch.where(latents > 0, 1.0, -1.0)
        ids = ((latents > 0) * self.place).sum(-1, keepdim=True)
        return Quantized(latents + (signs - latents).detach(), ids, {"commit": (latents - signs.detach()).square().mean()})

    def lookup(self, ids: Tensor, lengths: Tensor) -> Tensor:
        signs = torch.where((ids & self.place) > 0, 1.0, -1.0)
        return signs * (torch.arange(ids.shape[1], device=ids.device) < lengths[:, None])[..., None]

    def reconstruct(self, vectors: Tensor, lengths: Tensor, options: DecodeOptions) -> Decoded:  # noqa: ARG002 - cut by zeros
        vectors = nn.functional.pad(vectors, (0, 0, 0, TOKENS - vectors.shape[1]))
        return Decoded(0.5 + self.decoder(vectors.flatten(1)).view(-1, 3, SIDE, SIDE))


class ToyConfig(BaseModel):
    """Args:
    learning_rate: of both groups.
    dropout: share of the decoder's inputs set to zero by the global generator.
    critic_from: first step of a second group; -1 for none.
    nan_at: step at which the loss is no number; -1 never.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    learning_rate: float = 1e-2
    dropout: float = 0.0
    critic_from: int = -1
    nan_at: int = -1


class ToyObjective(nn.Module):
    """Reconstruction from noisy pictures, and a critic that learns their brightness."""

    Config = ToyConfig
    takes_strings = False
    model: ToyTokenizer
    groups: tuple[Group, ...]

    def __init__(self, config: ToyConfig):
        super().__init__()
        self.config = config

    def prepare(self, pictures: Pictures, generator: torch.Generator) -> Tokenizer:  # noqa: ARG002 - a fixed start
        return ToyTokenizer.tiny()

    def check(self, data: DataConfig) -> None:
        assert data.crop_size

    def begin(self, tokenizer: Tokenizer, seed: int) -> None:
        assert isinstance(tokenizer, ToyTokenizer)
        self.seed = seed
        self.model = tokenizer.requires_grad_(True).train()
        settings = OptimizerConfig(learning_rate=self.config.learning_rate, warmup_steps=2)
        self.groups = (Group("tokenizer", list(self.model.parameters()), settings),)
        if self.config.critic_from >= 0:
            self.critic = nn.Linear(3, 1)
            self.groups += (Group("critic", list(self.critic.parameters()), settings, first_step=self.config.critic_from),)

    def losses(self, batch: Batch) -> Losses:
        tokenizer = self.model
        sources = (generator(self.seed, batch.step, index) for index in batch.indices.tolist())
        noise = torch.stack([torch.randn(batch.images.shape[1:], generator=source) for source in sources]).to(batch.images)
        quantized = tokenizer.quantize(tokenizer.latents(cut_tiles(batch.images + 0.01 * noise, (SIDE, SIDE))))
        vectors = nn.functional.dropout(quantized.vectors, self.config.dropout)
        pictures = tokenizer.reconstruct(vectors, batch.indices, DecodeOptions()).pictures.float()
        own = {
            "pixels": (pictures - cut_tiles(batch.images, (SIDE, SIDE))).square().mean(),
            "commit": 0.1 * quantized.losses["commit"].float(),
        }
        if batch.step == self.config.nan_at:
            own["pixels"] = own["pixels"] * torch.nan
        losses = {"tokenizer": own}
        if self.config.critic_from >= 0:
            guess = self.critic(batch.images.mean((2, 3)))[:, 0].float()
            losses["critic"] = {"brightness": (guess - batch.images.mean((1, 2, 3))).square().mean()}
        return losses

    def after_step(self, step: int, ema: Tokenizer) -> None:  # noqa: ARG002 - buffers follow by themselves
        self.model.seen += 1
        for variable, number in ((KILL_AT, signal.SIGKILL), (STOP_AT, signal.SIGTERM)):
            if step + 1 == int(os.environ.get(variable, "-1")):
                os.kill(os.getpid(), number)


def toy_config(*, data: Mapping[str, object] | None = None, toy: Mapping[str, object] | None = None, **train: object) -> RunConfig:
    """A run of 12 steps on 64 synthetic pictures, with changes to its sections."""
    values = {
        "objective": "toy",
        "threads": 1,
        "data": {"kind": "synthetic", "num_synthetic": 64, "crop_size": 2 * SIDE} | dict(data or {}),
        "train": {"steps": 12, "batch_size": 4, "log_every": 3, "checkpoint_every": 4, "trackers": ()} | train,
        "toy": dict(toy or {}),
    }
    return check(RunConfig, values, "toy")


def entries(folder: Path) -> list[dict[str, Any]]:
    """The lines of a run's log, without how long things took."""
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key not in ("images_per_s", "data_wait_s")} for line in lines]


def tensors(folder: Path, step: int) -> dict[str, Tensor]:
    """All tensors of a checkpoint."""
    return load_file(folder / "checkpoints" / f"step-{step:08d}" / "state.safetensors")


def main() -> None:
    """`python -m tests.train.toy RUN CONFIG`: a run in a process of its own; CONFIG as JSON."""
    ALL.update(FAMILY)
    run(check(RunConfig, json.loads(sys.argv[2]), "toy"), TABLE, Path(sys.argv[1]))


if __name__ == "__main__":
    main()
