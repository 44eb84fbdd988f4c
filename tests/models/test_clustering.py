"""Codes moved onto latents by how little they are used: published values, and what they come from."""

import math

import pytest
import torch
from einops import rearrange

from tests.parity import Stored
from vtok.models.quantizers.clustering import CodebookClustering
from vtok.models.quantizers.vq import SphericalVectorQuantizer, VectorQuantizer

KINDS = {"cluster": VectorQuantizer, "cluster_l2": SphericalVectorQuantizer}
both_kinds = pytest.mark.parametrize("kind", KINDS.values())
tables = pytest.mark.parametrize("num_tables", [1, 5])


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def a_quantizer(kind: type[VectorQuantizer] = VectorQuantizer, num_tables: int = 1) -> VectorQuantizer:
    """Tables of 16 codes of 6 components."""
    quantizer = kind(6, 16, num_tables=num_tables)
    quantizer.fill(randn(num_tables, 16, 6))
    return quantizer


@pytest.mark.parity
@pytest.mark.parametrize("case", [pytest.param(case, id=f"vector_quantizer-{case}") for case in KINDS])
def test_codes_and_usage_after_a_step_are_those_of_the_published_implementation(case):
    stored = Stored.load("vector_quantizer")
    sizes = stored.config["sizes"]
    quantizer = KINDS[case](sizes["token_size"], sizes["codebook_size"])
    quantizer.fill(stored.weights["embedding.weight"])
    moved = CodebookClustering(quantizer, sizes["decay"])
    moved.usage.copy_(stored.weights["embed_prob"])
    latents = rearrange(stored.inputs["z"], "b d 1 n -> b n d")
    moved.update(quantizer, latents, quantizer(latents).ids)
    stored.check(f"{case}/embed_prob_after", moved.usage[0])
    stored.check(f"{case}/embedding_after", quantizer.codes[0])


@both_kinds
@tables
def test_a_code_moves_to_its_nearest_latent_by_how_little_it_is_used(kind, num_tables):
    quantizer = a_quantizer(kind, num_tables)
    before, latents = quantizer.codes.detach().clone(), 3 * randn(300, 5, 6, seed=1)
    ids = quantizer(latents).ids
    moved = CodebookClustering(quantizer, 0.9)
    moved.update(quantizer, latents, ids)
    for table in range(num_tables):
        rows = latents.flatten(0, 1) if num_tables == 1 else latents[:, table]
        taken = ids.flatten() if num_tables == 1 else ids[:, table, 0]
        usage = 0.1 * taken.bincount(minlength=16) / len(rows)
        nearest = rows[torch.cdist(quantizer.place(before[table]).double(), quantizer.place(rows).double()).argmin(1)]
        share = torch.exp(-10 * 16 * usage / 0.1 - 1e-3)[:, None]
        torch.testing.assert_close(moved.usage[table], usage)
        torch.testing.assert_close(quantizer.codes[table].detach(), before[table] * (1 - share) + nearest * share)


def test_a_code_without_use_jumps_onto_a_latent_and_one_of_even_use_stays():
    quantizer = a_quantizer()
    before, latents = quantizer.codes[0].detach().clone(), randn(80, 1, 6, seed=1)
    ids = torch.arange(8).repeat(10)[:, None, None]  # half of the codes, twice as much as evenly
    CodebookClustering(quantizer, 0.99).update(quantizer, latents, ids)
    codes = quantizer.codes[0].detach()
    now, then = (torch.cdist(x[8:].double(), latents[:, 0].double()).min(1).values for x in (codes, before))
    torch.testing.assert_close(now, (1 - math.exp(-1e-3)) * then, rtol=0.01, atol=0)
    torch.testing.assert_close(codes[:8], before[:8], rtol=0, atol=10 * math.exp(-20))  # no two of them are 10 apart


def test_codes_come_to_use_and_go_on_taking_gradients():
    quantizer, latents = a_quantizer(), 1 + 0.1 * randn(200, 4, 6, seed=1)
    quantizer.fill(10 * quantizer.codes.detach())
    assert len(quantizer(latents).ids.unique()) < 4
    moved = CodebookClustering(quantizer, 0.99)
    for step in range(20):
        latents = 1 + 0.1 * randn(200, 4, 6, seed=step)
        quantized = quantizer(latents)
        quantized.losses["codebook"].backward()
        moved.update(quantizer, latents, quantized.ids)
    assert len(quantizer(latents).ids.unique()) > 12
