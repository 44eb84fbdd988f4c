"""Mechanisms of the library vector-quantize-pytorch under the contract, for experiments; what fails it is refused with the reason."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from inspect import signature
from types import ModuleType
from typing import Any, ClassVar, Literal, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from vtok.errors import ConfigError, MissingExtraError
from vtok.models.quantizers.base import Quantized, Quantizer
from vtok.models.quantizers.estimators import straight_through

MAX_CODES = 2**16  # of a stage: the library makes tables of them
MAX_STEPS = 2**20  # of a component over all stages: finer ones are lost in float32
MAX_MAPPED_BITS = 12  # the library holds a number for each of 2**bits codes of every latent
Levels = Sequence[int]


class Mechanism(nn.Module, ABC):
    """A class of the library, as its own documentation describes it; the arguments of the constructor are the options that are offered."""

    codebook_sizes: tuple[int, ...]

    @abstractmethod
    def code(self, z: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Latents (B, N, D) to vectors (B, N, D), ids (B, N, K), losses."""

    @abstractmethod
    def vectors(self, ids: Tensor) -> Tensor:
        """Ids (B, N, K) to vectors (B, N, D)."""


class ResidualFsq(Mechanism):
    """Symmetric levels in stages, each finer by the number of levels; without dropout of stages, which has one depth for a whole batch.

    Args:
        levels: of each component; a linear map leads there and back where `dim` is another number of them.
        num_quantizers: stages, each a sub-token.
    """

    def __init__(self, library: ModuleType, dim: int, *, levels: Levels, num_quantizers: int = 2):
        super().__init__()
        _check_levels(levels)
        if num_quantizers < 1 or max(levels) ** num_quantizers > MAX_STEPS:
            raise ConfigError(f"num_quantizers {num_quantizers}: give 1 or more, levels to whose power are at most {MAX_STEPS:,}")
        self.codebook_sizes = (math.prod(levels),) * num_quantizers
        self.inner = library.ResidualFSQ(levels=list(levels), num_quantizers=num_quantizers, dim=dim)

    def code(self, z: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        vectors, ids = self.inner(z)
        return vectors, ids, {}

    def vectors(self, ids: Tensor) -> Tensor:
        out: Tensor = self.inner.get_output_from_indices(ids)
        return out


class LatentQuantize(Mechanism):
    """The nearest of each component's own values (arXiv 2305.18378).

    The library's digits are cut off where rounding has left them just below a whole number, its two losses cancel in the gradients, and no
    gradient reaches its values: digits and the loss "commitment" are ours, the values stay as they begin.

    Args:
        levels: of each of the `dim` components.
    """

    strides: Tensor
    levels: Tensor

    def __init__(self, library: ModuleType, dim: int, *, levels: Levels):
        super().__init__()
        _check_levels(levels)
        if len(levels) != dim:
            raise ConfigError(f"LatentQuantize takes a number of levels for each of {dim} components, got {tuple(levels)}")
        self.codebook_sizes = (math.prod(levels),)
        self.inner = library.LatentQuantize(levels=list(levels), dim=dim).requires_grad_(False)
        self.register_buffer("levels", torch.tensor(levels), persistent=False)
        self.register_buffer("strides", torch.tensor([math.prod(levels[:k]) for k in range(dim)]), persistent=False)

    def code(self, z: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        chosen = self.inner.quantize(z.detach().clamp(-1, 1))  # the values end at 0.5; a large z would round its own code away
        digits = [(chosen[..., k, None] - values).abs().argmin(-1) for k, values in enumerate(self.inner.values_per_latent)]
        ids = (torch.stack(digits, -1) * self.strides).sum(-1, keepdim=True)
        codes = self.vectors(ids)
        return straight_through(z, codes), ids, {"commitment": mse_loss(z, codes)}

    def vectors(self, ids: Tensor) -> Tensor:
        digits = (ids // self.strides % self.levels).unbind(-1)
        return torch.stack([values[own] for values, own in zip(self.inner.values_per_latent, digits, strict=True)], -1)


class BinaryMapper(Mechanism):
    """Components as the odds of bits (arXiv 2510.17558), drawn in training from the global generator, the likelier value in eval mode.

    Vectors are signs. The loss "auxiliary" grows where a latent says more than `kl_loss_threshold`.

    Args:
        kl_loss_threshold: nats that a latent says at no cost.
    """

    def __init__(self, library: ModuleType, dim: int, *, kl_loss_threshold: float = math.log(2)):
        super().__init__()
        if not 1 <= dim <= MAX_MAPPED_BITS:
            raise ConfigError(f"BinaryMapper takes 1 to {MAX_MAPPED_BITS} components, got {dim}")
        self.codebook_sizes = (2**dim,)
        self.inner = library.BinaryMapper(bits=dim, kl_loss_threshold=kl_loss_threshold, deterministic_on_eval=True)

    def code(self, z: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        chosen, ids, loss = self.inner(z, straight_through=True, return_indices=True)
        return straight_through(chosen @ self._signs(), self.vectors(ids[..., None])), ids[..., None], {"auxiliary": loss}

    def vectors(self, ids: Tensor) -> Tensor:
        return self._signs()[ids[..., 0]]

    def _signs(self) -> Tensor:
        return 2 * self.inner.codes.float() - 1


class Fsp(Mechanism):
    """Components squeezed into 0 to 1 and cut into levels (arXiv 2602.17133).

    In training they are moved at random within a level, by the global generator, so that vectors are codes in eval mode alone. The loss
    "auxiliary" keeps the latents' moments.

    Args:
        levels: of each component; a linear map leads there and back where `dim` is another number of them.
        act_name: the squeezing function.
        quantize_rate: share of the numbers that are codes in training too.
        need_inv_act: vectors are latents again, rather than in units of the spread of even use.
        vector_norm: which moments the loss keeps.
    """

    def __init__(
        self,
        library: ModuleType,
        dim: int,
        *,
        levels: Levels,
        act_name: Literal["tanh", "sigmoid", "normal", "laplace", "cauchy"] = "tanh",
        quantize_rate: float = 0.0,
        need_inv_act: bool = False,
        vector_norm: Literal["none", "var", "kurt", "var_tanh", "var_sigmoid", "var_laplace"] = "var_tanh",
    ):
        super().__init__()
        _check_levels(levels)
        self.codebook_sizes = (math.prod(levels),)
        self.inner = library.FSP(
            list(levels), dim, act_name=act_name, quantize_rate=quantize_rate, need_inv_act=need_inv_act, vector_norm=vector_norm
        )

    def code(self, z: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        vectors, ids, loss, _ = self.inner(z)
        return vectors, ids[..., None], {"auxiliary": loss} if z[..., 0].numel() > 1 else {}  # one latent has no spread

    def vectors(self, ids: Tensor) -> Tensor:
        out: Tensor = self.inner.indices_to_codes(ids[..., 0])
        return out


OFFERED: Mapping[str, type[Mechanism]] = {
    "BinaryMapper": BinaryMapper,
    "FSP": Fsp,
    "LatentQuantize": LatentQuantize,
    "ResidualFSQ": ResidualFsq,
}
_MOVES = "moves its codes within forward, and holds the distances of all latents to all codes"
_HOLDS = "holds the probabilities of all latents over all codes"
REFUSED: Mapping[str, str] = {
    "EvoLFQ": "is an autoencoder of its own",
    "FSQ": "has ids of 32 bits and a table of all codes; take fsq or symmetric_fsq",
    "GroupedResidualFSQ": "draws random numbers at every step; take factorized, of ResidualFSQ parts",
    "GroupedResidualLFQ": f"{_HOLDS}; take factorized, of residual, of lfq parts",
    "GroupedResidualVQ": f"{_MOVES}; take factorized, of residual parts",
    "HierarchicalVQ": f"{_MOVES}; take multiscale",
    "LFQ": f"{_HOLDS}; take lfq",
    "RandomProjectionQuantizer": "has ids, but no vectors of them",
    "ResidualLFQ": f"{_HOLDS}; take residual, of lfq parts",
    "ResidualSimVQ": "holds the distances of all latents to all codes; take residual, of simvq parts",
    "ResidualVQ": f"{_MOVES}; take residual",
    "SimVQ": "holds the distances of all latents to all codes; take simvq",
    "VectorQuantize": f"{_MOVES}; take vq or spherical_vq",
}


class LibraryQuantizer(Quantizer):
    """One of the library's classes: in float32, with whole-number ids, and in eval mode with exactly the vectors of the ids, and no losses.

    Losses: "commitment", unweighted; "auxiliary", as the library weighs what it adds up.

    Args:
        name: a key of `OFFERED`.
        dim: width D of a latent.
        options: of the class of that name.

    Raises:
        ConfigError: a class that is not offered or installed, an option that it does not take or lacks, or a value out of range.
        MissingExtraError: the library is not installed.
    """

    loss_weights: ClassVar = {"auxiliary": 1.0, "commitment": 0.1}

    def __init__(self, name: str, dim: int, **options: Any):
        super().__init__()
        if name not in OFFERED:
            why = f"{name} {REFUSED[name]}" if name in REFUSED else f"no {name!r} here"
            raise ConfigError(f"vector-quantize-pytorch: {why}; offered: {', '.join(OFFERED)}")
        try:
            import vector_quantize_pytorch as library
        except ImportError as error:
            raise MissingExtraError(f'{name} needs a library that is not installed ({error}): pip install "vtok[train]"') from None
        if not hasattr(library, name):
            raise ConfigError(f"the installed release of vector-quantize-pytorch has no {name}: install a newer one")
        _check_options(name, options)
        try:
            self.mechanism = OFFERED[name](library, dim, **options)
        except (TypeError, AssertionError) as error:
            raise ConfigError(f"{name} of vector-quantize-pytorch: {error}") from None
        self.dim = dim
        self.codebook_sizes = self.mechanism.codebook_sizes

    @classmethod
    def tiny(cls) -> Self:
        """Two stages of 40 codes of 3 components."""
        return cls("ResidualFSQ", 3, levels=(4, 5, 2))

    def forward(self, z: Tensor) -> Quantized:
        with torch.autocast(z.device.type, enabled=False):
            vectors, ids, losses = self.mechanism.code(z.float())
            ids = ids.long()
            if self.training:
                return Quantized(vectors, ids, losses)
            return Quantized(straight_through(vectors, self.mechanism.vectors(ids)), ids)

    def lookup(self, ids: Tensor, lengths: Tensor | None = None) -> Tensor:
        with torch.autocast(ids.device.type, enabled=False):
            vectors = self.mechanism.vectors(ids)
        if lengths is not None:
            vectors = vectors * (torch.arange(ids.shape[1], device=ids.device) < lengths[:, None])[..., None]
        return vectors


def _check_options(name: str, options: Mapping[str, Any]) -> None:
    taken = [option for option in signature(OFFERED[name]).parameters.values() if option.kind is option.KEYWORD_ONLY]
    names = [option.name for option in taken]
    for wrong in options.keys() - set(names):
        raise ConfigError(f"{name} of vector-quantize-pytorch takes {', '.join(names)} here, not {wrong}")
    for option in taken:
        if option.default is option.empty and option.name not in options:
            raise ConfigError(f"{name} of vector-quantize-pytorch needs {option.name}")


def _check_levels(levels: Levels) -> None:
    if not levels or min(levels) < 2 or math.prod(levels) > MAX_CODES:
        raise ConfigError(f"takes at least 2 levels a component, and at most {MAX_CODES:,} codes, got {tuple(levels)}")
