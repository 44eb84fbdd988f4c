"""Slices of latents with codebooks of their own: published values, slices, what keeps branches apart."""

import pytest
import torch
from einops import rearrange
from torch import Tensor

from tests.parity import Stored
from vtok.models.quantizers.entropy import EntropyConfig
from vtok.models.quantizers.factorized import FactorizedQuantizer, disentanglement
from vtok.models.quantizers.fsq import FiniteScalarQuantizer
from vtok.models.quantizers.residual import ResidualQuantizer
from vtok.models.quantizers.vq import SphericalVectorQuantizer, VectorQuantizer

BRANCHES = ("sem", "vis")  # in the order in which the fixture's networks make them
KINDS = {"l2": SphericalVectorQuantizer, "raw": VectorQuantizer}


def randn(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parity
@pytest.mark.parametrize("name", ["fqgan_quantizer"])
def test_branches_are_those_of_the_published_implementation(name: str) -> None:
    stored = Stored.load(name)
    for case in KINDS:
        check_branches(stored, case)
    assert not stored.unchecked()


def check_branches(stored, case):
    sizes = stored.config["sizes"]
    size, height = sizes["codebook_size"], sizes["height"]
    entropy = EntropyConfig(temperature=sizes["entropy_temperature"])
    tables = {branch: KINDS[case](sizes["codebook_embed_dim"], size, entropy=entropy) for branch in BRANCHES}
    for branch, table in tables.items():
        table.fill(stored.weights[f"{case}/quantize_{branch}.embedding.weight"])
    images = {branch: stored.inputs[f"{case}/z_{branch}"].requires_grad_() for branch in BRANCHES}  # (B, D, H, W)
    z = torch.cat([rearrange(images[branch], "b d h w -> b (h w) d") for branch in BRANCHES], 2)
    quantizer = FactorizedQuantizer(list(tables.values()))

    def by_branch(values: Tensor) -> dict[str, Tensor]:
        maps = [rearrange(own, "b (h w) d -> b d h w", h=height) for own in quantizer.slices(values)]
        return dict(zip(BRANCHES, maps, strict=True))

    for mode in ("eval", "train"):
        quantized = quantizer.train(mode == "train")(z)
        vectors = by_branch(quantized.vectors)
        for k, branch in enumerate(BRANCHES):
            stored.check(f"{case}/{mode}/ids_{branch}", quantized.ids[..., k].flatten())
            stored.check(f"{case}/{mode}/quant_{branch}", vectors[branch])
    stored.check(f"{case}/decode_sem", by_branch(quantizer.lookup(quantized.ids))["sem"])

    beta, ratio, apart = sizes["commit_loss_beta"], sizes["entropy_loss_ratio"], sizes["disentanglement_ratio"]
    for branch, part in zip(BRANCHES, quantizer.slices(z), strict=True):
        losses = tables[branch](part).losses
        stored.check(f"{case}/train/vq_loss_{branch}", losses["codebook"])
        stored.check(f"{case}/train/commit_loss_{branch}", beta * losses["commitment"])
        stored.check(f"{case}/train/entropy_loss_{branch}", ratio * losses["entropy"])
        ids = stored.outputs[f"{case}/train/ids_{branch}"]
        window = torch.cat([torch.zeros(sizes["usage_window"] - len(ids), dtype=torch.int64), ids])  # a statistic: ours are elsewhere
        stored.check(f"{case}/train/codebook_usage_{branch}", len(window.unique()) / size)
        if branch == "sem":
            stored.check(f"{case}/train/codebook_used_tail_sem", window[-64:].float())
    stored.check(f"{case}/train/disentangle_loss", apart * quantized.losses["disentanglement"])

    weights = {"commitment": beta, "codebook": 1.0, "entropy": ratio, "disentanglement": apart}
    assert quantizer.loss_weights == weights
    probes = sum((vectors[branch] * stored.inputs[f"{case}/probe_{branch}"]).sum() / 100 for branch in BRANCHES)
    total = probes + sum(weights[name] * value for name, value in quantized.losses.items())
    total.backward()
    stored.check(f"{case}/train/total", total)
    gradients = {f"z_{branch}": image.grad for branch, image in images.items()}
    gradients |= {f"quantize_{branch}.embedding.weight": table.codes.grad[0] for branch, table in tables.items()}
    stored.check_gradients(f"{case}/train/grad/", gradients)


def three_kinds() -> FactorizedQuantizer:
    """A table, digits, and two stages."""
    table = VectorQuantizer(8, 16)
    table.fill(randn(16, 8))
    return FactorizedQuantizer([table, FiniteScalarQuantizer((4, 5, 3)), ResidualQuantizer.tiny()])


def test_branches_may_be_of_any_kind_and_width() -> None:
    quantizer, z = three_kinds(), randn(4, 6, 19, seed=2)
    quantized = quantizer(z)
    assert quantizer.codebook_sizes == (16, 60, 16, 16, 16)
    torch.testing.assert_close(quantizer.lookup(quantized.ids), quantized.vectors)
    for branch, part, ids, vectors in zip(
        quantizer.coders(), quantizer.slices(z), quantizer.split(quantized.ids), quantizer.slices(quantized.vectors), strict=True
    ):
        alone = branch(part)
        assert torch.equal(alone.ids, ids)
        assert torch.equal(alone.vectors, vectors)


def test_branches_without_a_common_width_are_not_kept_apart() -> None:
    quantizer = three_kinds()
    assert "disentanglement" not in quantizer(randn(4, 6, 19)).losses
    assert "disentanglement" not in quantizer.loss_weights


def test_losses_are_sums_over_branches() -> None:
    quantizer, z = FactorizedQuantizer.tiny(), randn(4, 6, 8)
    losses = quantizer(z).losses
    alone = [branch(part).losses for branch, part in zip(quantizer.coders(), quantizer.slices(z), strict=True)]
    for name in ("commitment", "codebook"):
        torch.testing.assert_close(losses[name], alone[0][name] + alone[1][name])


def test_equal_branches_are_as_near_as_can_be_and_orthogonal_ones_as_far() -> None:
    vectors = randn(4, 6, 8)
    turned = torch.cat([vectors[..., 4:], -vectors[..., :4]], 2)
    torch.testing.assert_close(disentanglement([vectors, -3 * vectors]), torch.tensor(1.0))
    torch.testing.assert_close(disentanglement([vectors, turned]), torch.tensor(0.0), atol=1e-6, rtol=0)
    torch.testing.assert_close(disentanglement([vectors, turned, 2 * vectors]), torch.tensor(1 / 3))


def test_keeping_apart_moves_latents_and_no_codes():
    quantizer, z = FactorizedQuantizer.tiny(), randn(4, 6, 8).requires_grad_()
    quantizer(z).losses["disentanglement"].backward()
    assert z.grad is not None
    assert bool(z.grad.any())
    assert all(table.codes.grad is None for table in quantizer.learned_tables())


def test_tables_learn_from_their_own_slices() -> None:
    quantizer, z = three_kinds(), randn(4, 6, 19)
    tables, coded = quantizer.learned_tables(), quantizer.coded(z, quantizer(z).ids)
    assert len(tables) == 4
    for table, (latents, rows) in zip(tables, coded, strict=True):
        assert torch.equal(table(latents).ids, rows)


def test_a_position_speaks_of_all_slices() -> None:
    assert three_kinds().first_positions(3).tolist() == [0] * 19 + [1] * 19 + [2] * 19


def test_branches_with_strings_of_different_lengths_are_refused() -> None:
    quantizer = FactorizedQuantizer([VectorQuantizer(2, 4), SphericalVectorQuantizer.tiny()])
    with pytest.raises(ValueError, match="tables for 4 latents, got 5"):
        quantizer(randn(2, 5, 10))
