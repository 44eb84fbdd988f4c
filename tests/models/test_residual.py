"""Stages that code what is left: published values, depths, scales, what the tables have coded."""

import pytest
import torch
from torch import Tensor

from tests.parity import Stored
from vtok.errors import ConfigError
from vtok.models.quantizers.codebook_ema import CodebookEma
from vtok.models.quantizers.fsq import FiniteScalarQuantizer
from vtok.models.quantizers.residual import ResidualQuantizer
from vtok.models.quantizers.vq import SphericalVectorQuantizer, VectorQuantizer


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parity
@pytest.mark.parametrize("name", ["residual_vq"])
def test_stages_are_those_of_the_published_implementation(name):
    stored = Stored.load(name)
    sizes = stored.config["sizes"]
    stages = [VectorQuantizer(sizes["dim"], sizes["codebook_size"]) for _ in range(sizes["num_quantizers"])]
    for k, stage in enumerate(stages):
        stage.fill(stored.weights[f"layers.{k}._codebook.embed"])
    means = [CodebookEma(stage, sizes["decay"]) for stage in stages]
    quantizer, z = ResidualQuantizer(stages), stored.inputs["x"].requires_grad_()
    quantized = quantizer(z)
    for mode in ("eval", "train"):
        stored.check(f"{mode}/ids", quantized.ids)
        stored.check(f"{mode}/quant", quantized.vectors)
    stored.check("eval/codes", torch.stack([stage.lookup(ids) for stage, ids in zip(stages, quantizer.split(quantized.ids), strict=True)]))
    for depth in range(1, len(stages) + 1):
        stored.check(f"eval/decode_first_{depth}", quantizer.lookup(quantized.ids, depths=torch.full((len(z),), depth)))
    stored.check("eval/losses", torch.zeros(len(stages)))  # as published outside training; ours tell them there too

    coded = quantizer.coded(z.detach(), quantized.ids)
    stored.check("train/losses", torch.stack([stage(own).losses["commitment"] for stage, (own, _) in zip(stages, coded, strict=True)]))
    total = quantized.losses["commitment"] + (quantized.vectors * stored.inputs["probe"]).sum() / 100
    total.backward()
    stored.check("train/total", total)
    stored.check("train/grad/x", z.grad)
    for mean, stage, (latents, ids) in zip(means, stages, coded, strict=True):
        mean.update(stage, latents, ids)
    stored.check("train/embed_after", torch.cat([stage.codes for stage in stages]))
    stored.check("train/cluster_size_after", torch.stack([mean.counts for mean in means]))
    assert not stored.unchecked()


def two_kinds() -> ResidualQuantizer:
    """A table, and digits for what it leaves."""
    table = VectorQuantizer(3, 16)
    table.fill(randn(16, 3))
    return ResidualQuantizer([table, FiniteScalarQuantizer((5, 5, 5))], scales=(1.0, 0.5))


def test_stages_may_be_of_any_kind() -> None:
    quantizer, z = two_kinds(), randn(4, 6, 3, seed=1)
    quantized = quantizer(z)
    assert quantizer.codebook_sizes == (16, 125)
    torch.testing.assert_close(quantizer.lookup(quantized.ids), quantized.vectors)
    first = quantizer.lookup(quantized.ids, depths=torch.ones(4, dtype=torch.int64))
    assert (quantized.vectors - z).square().mean() < 0.5 * (first - z).square().mean()


def test_a_stage_sees_what_is_left_in_its_own_scale() -> None:
    quantizer, z = two_kinds(), randn(4, 6, 3, seed=1)
    table, digits = quantizer.coders()
    left = z - table.lookup(table(z).ids)
    assert torch.equal(quantizer(z).ids[..., 1:], digits(left / 0.5).ids)


def test_scales_make_finer_digits_of_digits() -> None:
    z = 0.9 * torch.tanh(randn(64, 4, 3))
    coarse, fine = (
        ResidualQuantizer([FiniteScalarQuantizer((5, 5, 5))], 3, scales=scales) for scales in ((1.0, 1.0, 1.0), (1.0, 0.25, 1 / 16))
    )
    error_of = {quantizer: float((quantizer(z).vectors - z).square().mean()) for quantizer in (coarse, fine)}
    assert error_of[fine] < 0.5 * error_of[coarse]


def test_one_quantizer_can_serve_all_stages() -> None:
    table = VectorQuantizer.tiny()
    quantizer = ResidualQuantizer([table], 3)
    ids = quantizer(randn(4, 5, 8, seed=1)).ids
    assert quantizer.codebook_sizes == (16, 16, 16)
    torch.testing.assert_close(quantizer.lookup(ids), sum(table.lookup(ids[..., k : k + 1]) for k in range(3)))
    assert list(quantizer.state_dict()) == ["parts.0.codes"]


def test_vectors_are_of_the_stages_that_each_sample_has() -> None:
    quantizer, z, depths = ResidualQuantizer.tiny(), randn(3, 5, 8, seed=1), torch.tensor([1, 3, 2])
    whole, dropped = quantizer(z), quantizer(z, depths)
    assert torch.equal(dropped.ids, whole.ids)
    torch.testing.assert_close(dropped.vectors, quantizer.lookup(whole.ids, depths=depths))
    torch.testing.assert_close(dropped.vectors[1], whole.vectors[1])
    torch.testing.assert_close(dropped.vectors[0], quantizer.coders()[0].lookup(whole.ids[:1, :, :1])[0])


def test_stages_beyond_a_depth_learn_but_pass_no_gradients_of_vectors():
    quantizer, z = ResidualQuantizer.tiny(), randn(2, 5, 8, seed=1).requires_grad_()
    quantized = quantizer(z, torch.tensor([1, 3]))
    (gradient,) = torch.autograd.grad(quantized.vectors.sum(), z, retain_graph=True)
    torch.testing.assert_close(gradient[:, 0, 0], torch.tensor([1.0, 3.0]))
    quantized.losses["codebook"].backward()
    assert all(bool(stage.codes.grad.any()) for stage in quantizer.learned_tables())


def test_positions_and_stages_are_cut_together() -> None:
    quantizer = ResidualQuantizer.tiny()
    ids = quantizer(randn(2, 4, 8, seed=1)).ids
    cut = quantizer.lookup(ids, torch.tensor([1, 3]), torch.tensor([2, 1]))
    assert cut.abs().sum(2).bool().tolist() == [[True, False, False, False], [True, True, True, False]]
    torch.testing.assert_close(cut[0, 0], quantizer.lookup(ids, depths=torch.tensor([2, 1]))[0, 0])


def test_losses_are_sums_with_each_stage_keeping_its_published_weight() -> None:
    class Heavier(VectorQuantizer):
        loss_weights = {"commitment": 0.5, "codebook": 1.0}  # noqa: RUF012 - a double

    stages = [VectorQuantizer.tiny(), Heavier.tiny()]
    quantizer, z = ResidualQuantizer(stages), randn(4, 5, 8, seed=1)
    losses = quantizer(z).losses
    coded = quantizer.coded(z, quantizer(z).ids)
    alone = [(stage.loss_weights, stage(own).losses) for stage, (own, _) in zip(stages, coded, strict=True)]
    expected = sum(weights[name] * own[name] for weights, own in alone for name in losses)
    torch.testing.assert_close(sum(quantizer.loss_weights[name] * losses[name] for name in losses), expected)


def test_tables_learn_from_what_was_left_for_them() -> None:
    quantizer, z = ResidualQuantizer.tiny(), randn(40, 5, 8, seed=1)
    ids = quantizer(z).ids
    for table, (latents, rows) in zip(quantizer.learned_tables(), quantizer.coded(z, ids), strict=True):
        assert torch.equal(table(latents).ids, rows)


def test_a_table_for_all_stages_has_coded_what_all_of_them_have() -> None:
    table = VectorQuantizer.tiny()
    quantizer, z = ResidualQuantizer([table], 3), randn(4, 5, 8, seed=1)
    ((latents, rows),) = quantizer.coded(z, quantizer(z).ids)
    assert latents.shape == (12, 5, 8)
    assert torch.equal(table(latents).ids, rows)


def test_tables_of_positions_stay_with_their_positions() -> None:
    quantizer, z = ResidualQuantizer([SphericalVectorQuantizer.tiny(), SphericalVectorQuantizer.tiny()]), randn(4, 4, 8, seed=1)
    for table, (latents, rows) in zip(quantizer.learned_tables(), quantizer.coded(z, quantizer(z).ids), strict=True):
        assert torch.equal(table(latents).ids, rows)
    with pytest.raises(ValueError, match="tables for 4 latents, got 3"):
        quantizer.num_positions(3)


def test_what_contradicts_itself_is_refused() -> None:
    with pytest.raises(ConfigError, match="one width"):
        ResidualQuantizer([VectorQuantizer(2, 4), VectorQuantizer(3, 4)])
    with pytest.raises(ConfigError, match="takes 1 quantizer or 3, got 2"):
        ResidualQuantizer([VectorQuantizer(2, 4), VectorQuantizer(2, 4)], 3)
    with pytest.raises(ConfigError, match="takes 2 scales above 0"):
        ResidualQuantizer([VectorQuantizer(2, 4)], 2, scales=(1.0,))
