"""Quantizers by what a configuration says of them."""

from typing import Any

import pytest
import torch
from pydantic import BaseModel, ValidationError

from vtok.errors import ConfigError
from vtok.models.quantizers.config import FsqConfig, GroupedConfig, QuantizerConfig, ResidualConfig, VqConfig, build, scales_of
from vtok.models.quantizers.fsq import FiniteScalarQuantizer
from vtok.models.quantizers.grouped_trained import TrainedGroupedQuantizer
from vtok.models.quantizers.part_config import VqPart
from vtok.models.quantizers.vq import SphericalVectorQuantizer, VectorQuantizer


class Holder(BaseModel):
    quantizer: QuantizerConfig


KINDS: list[tuple[dict[str, Any], type, int, int]] = [
    ({"kind": "grouped", "dim": 5, "codebook_size": 7, "widths": [2, 3, 1]}, TrainedGroupedQuantizer, 3, 5),
    ({"kind": "vq", "num_tokens": 4, "dim": 3, "codebook_size": 7}, VectorQuantizer, 4, 12),
    ({"kind": "vq", "num_tokens": 4, "dim": 3, "codebook_size": 7, "shared": False}, VectorQuantizer, 4, 12),
    ({"kind": "spherical_vq", "num_tokens": 4, "dim": 3, "codebook_size": 7}, SphericalVectorQuantizer, 4, 12),
    ({"kind": "fsq", "num_tokens": 4, "levels": [3, 5]}, FiniteScalarQuantizer, 4, 8),
]
SMALL = {"kind": "vq", "dim": 4, "codebook_size": 7}
MORE_KINDS: list[tuple[dict[str, Any], str, int, int, tuple[int, ...]]] = [
    ({"kind": "vq", "num_tokens": 4, "dim": 3, "codebook_size": 7, "estimator": "rotation", "entropy": {}}, "VectorQuantizer", 4, 12, (7,)),
    ({"kind": "simvq", "num_tokens": 4, "dim": 3, "codebook_size": 7}, "SimVectorQuantizer", 4, 12, (7,)),
    ({"kind": "ibq", "num_tokens": 4, "dim": 3, "codebook_size": 7}, "IndexBackpropagationQuantizer", 4, 12, (7,)),
    ({"kind": "symmetric_fsq", "num_tokens": 4, "levels": [2, 5]}, "SymmetricScalarQuantizer", 4, 8, (10,)),
    ({"kind": "lfq", "num_tokens": 4, "dim": 5}, "LookupFreeQuantizer", 4, 20, (32,)),
    ({"kind": "bsq", "num_tokens": 4, "dim": 5, "sub_bits": [2, 3]}, "BinarySphericalQuantizer", 4, 20, (4, 8)),
    ({"kind": "multi_codebook", "num_tokens": 4, "dim": 4, "codebook_size": 7}, "MultiCodebookQuantizer", 4, 16, (7, 7)),
    ({"kind": "residual", "num_tokens": 4, "stages": [SMALL], "num_stages": 3}, "ResidualQuantizer", 4, 16, (7, 7, 7)),
    ({"kind": "factorized", "num_tokens": 4, "branches": [SMALL, {"kind": "fsq", "levels": [3]}]}, "FactorizedQuantizer", 4, 20, (7, 3)),
    ({"kind": "shared_index", "num_tokens": 4, "widths": [3, 2], "codebook_size": 7}, "SharedIndexQuantizer", 4, 20, (7,)),
    ({"kind": "cascade", "num_latents": 4, "dim": 4, "codebook_size": 7}, "CascadedQuantizer", 6, 16, (7, 7)),
    ({"kind": "multiscale", "scales": [1, 2, 4], "part": SMALL, "num_convolutions": 2}, "CumulativeMultiscaleQuantizer", 7, 16, (7,)),
    ({"kind": "multiscale_stagewise", "scales": [[1, 1], [2, 2]], "part": SMALL}, "StagewiseMultiscaleQuantizer", 5, 16, (7,)),
]
every_kind = pytest.mark.parametrize("values", [values for values, *_ in KINDS])


@pytest.mark.parametrize(("values", "kind", "num_tokens", "numbers"), KINDS)
def test_the_quantizer_is_of_the_kind_and_the_sizes_named(values: dict[str, Any], kind: type, num_tokens: int, numbers: int) -> None:
    config = Holder.model_validate({"quantizer": values}).quantizer
    quantizer = build(config)
    assert type(quantizer) is kind
    assert quantizer.num_positions(config.num_latents) == num_tokens
    assert config.num_latents * quantizer.dim == numbers
    assert quantizer.codebook_sizes == ((15,) if kind is FiniteScalarQuantizer else (7,))


@pytest.mark.parametrize(("values", "kind", "num_tokens", "numbers", "sizes"), MORE_KINDS, ids=[kind for _, kind, *_ in MORE_KINDS])
def test_every_other_kind_makes_what_it_says(
    values: dict[str, Any], kind: str, num_tokens: int, numbers: int, sizes: tuple[int, ...]
) -> None:
    config = Holder.model_validate({"quantizer": values}).quantizer
    quantizer = build(config)
    assert type(quantizer).__name__ == kind
    assert (quantizer.num_positions(config.num_latents), config.num_latents * quantizer.dim) == (num_tokens, numbers)
    assert quantizer.codebook_sizes == sizes
    scales = scales_of(config)
    assert sum(rows * cols for rows, cols in scales or [(1, num_tokens)]) == num_tokens
    lengths = quantizer.prefix_lengths(config.num_latents)
    assert len(lengths) == (num_tokens if scales is None else len(scales))
    assert Holder.model_validate_json(Holder(quantizer=config).model_dump_json()).quantizer == config


def test_parts_that_make_no_quantizer_are_refused_when_it_is_built() -> None:
    with pytest.raises(ConfigError, match="one width"):
        build(ResidualConfig(num_tokens=4, stages=(VqPart(dim=3), VqPart(dim=4))))


def test_the_tables_are_one_or_one_for_each_token() -> None:
    for shared, num_tables in ((True, 1), (False, 4)):
        quantizer = build(VqConfig(num_tokens=4, dim=3, codebook_size=7, shared=shared))
        assert isinstance(quantizer, VectorQuantizer)
        assert quantizer.codes.shape == (num_tables, 7, 3)


@every_kind
def test_first_positions_are_where_a_number_stops_being_zero(values: dict[str, Any]) -> None:
    config = Holder.model_validate({"quantizer": values}).quantizer
    quantizer = build(config)
    num_tokens = quantizer.num_positions(config.num_latents)
    if isinstance(quantizer, TrainedGroupedQuantizer):
        quantizer.components.copy_(torch.tensor([3, 0, 1, 3, 2, 1]))  # none is the last
        torch.nn.init.normal_(quantizer.codes)
    ids = torch.full((num_tokens + 1, num_tokens, 1), 0 if config.kind == "fsq" else 1)
    spoken = quantizer.lookup(ids, torch.arange(num_tokens + 1)).flatten(1) != 0
    assert torch.equal(quantizer.first_positions(config.num_latents), (~spoken).sum(0) - 1)


@every_kind
def test_a_search_gives_the_ids_and_what_each_prefix_leaves_of_the_vectors(values: dict[str, Any]) -> None:
    config = Holder.model_validate({"quantizer": values}).quantizer
    quantizer = build(config)
    z = torch.randn(9, config.num_latents, quantizer.dim, generator=torch.Generator().manual_seed(0))
    ids, errors = quantizer.search(z)
    assert torch.equal(ids, quantizer(z).ids)
    assert errors.shape == (9, 1 + ids.shape[1])
    target = z if config.kind == "grouped" else quantizer.lookup(ids)
    for n in range(errors.shape[1]):
        left = target - quantizer.lookup(ids, torch.full((9,), n))
        torch.testing.assert_close(errors[:, n], left.square().sum((1, 2)), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"kind": "grouped", "dim": 5, "widths": [2, 0]}, "at least one component"),
        ({"kind": "grouped", "dim": 5, "widths": [2**40]}, "at most"),
        ({"kind": "vq", "num_tokens": 4096, "dim": 4096, "codebook_size": 2**20, "shared": False}, "at most"),
        ({"kind": "vq", "num_tokens": 4, "sise": 3}, "sise"),
        ({"kind": "fsq", "num_tokens": 0}, "num_tokens"),
        ({"kind": "gumbel", "num_tokens": 4}, "gumbel"),
        ({"kind": "residual", "num_tokens": 4, "stages": []}, "stages"),
        ({"kind": "factorized", "num_tokens": 4, "branches": [{"kind": "vq", "dim": 4096, "codebook_size": 2**20}]}, "at most"),
        ({"kind": "shared_index", "num_tokens": 4, "widths": [3, 0]}, "at least one number"),
        ({"kind": "cascade", "num_latents": 6, "num_levels": 3}, "cannot be halved 2 times"),
        ({"kind": "multiscale", "scales": [0, 4], "part": {"kind": "vq"}}, "rows and columns"),
        ({"kind": "multiscale", "scales": [4096, [4096, 4096]], "part": {"kind": "vq"}}, "rows and columns"),
        ({"num_tokens": 4}, "kind"),
    ],
)
def test_what_makes_no_quantizer_is_refused_before_it_is_made(values: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Holder.model_validate({"quantizer": values})


def test_levels_that_fsq_does_not_take_are_refused() -> None:
    with pytest.raises(ConfigError, match="at least 2 levels"):
        build(FsqConfig(num_tokens=4, levels=(1, 5)))


def test_gradients_reach_the_codes_that_were_looked_up_and_no_others() -> None:
    quantizer = build(GroupedConfig(dim=3, codebook_size=4, widths=(2, 1)))
    assert isinstance(quantizer, TrainedGroupedQuantizer)
    quantizer.components.copy_(torch.tensor([2, 0, 2]))
    ids = torch.tensor([[[1], [3]]])
    (quantizer.lookup(ids, torch.tensor([1])) * torch.tensor([5.0, 6.0, 7.0])).sum().backward()
    expected = torch.zeros(4, 3)
    expected[1, :2] = torch.tensor([7.0, 5.0])
    assert quantizer.codes.grad is not None
    assert torch.equal(quantizer.codes.grad, expected)
