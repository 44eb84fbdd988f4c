"""Strings of scales: published values, prefixes of whole scales, scales left out, inputs of a generator."""

import pytest
import torch
from torch import Tensor

from tests.parity import Stored
from vtok.errors import ConfigError
from vtok.models.quantizers.factorized import FactorizedQuantizer
from vtok.models.quantizers.maps import as_latents, as_map, averaged
from vtok.models.quantizers.multiscale import SKIPPED, MultiscaleQuantizer
from vtok.models.quantizers.multiscale_cumulative import CumulativeMultiscaleQuantizer
from vtok.models.quantizers.multiscale_stagewise import StagewiseMultiscaleQuantizer
from vtok.models.quantizers.residual_convolutions import ResidualConvolutions
from vtok.models.quantizers.vq import SphericalVectorQuantizer, VectorQuantizer

both_kinds = pytest.mark.parametrize("kind", [CumulativeMultiscaleQuantizer, StagewiseMultiscaleQuantizer])


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parity
@pytest.mark.parametrize("name", ["multiscale_vq"])
def test_cumulative_scales_are_those_of_the_published_implementation(name):
    stored = Stored.load(name)
    sizes = stored.config["sizes"]
    scales = [(side, side) for side in sizes["patch_nums"]]
    table = VectorQuantizer(sizes["channels"], sizes["vocab_size"])
    table.fill(stored.weights["embedding.weight"])
    quantizer = CumulativeMultiscaleQuantizer(table, scales, num_convolutions=sizes["share_quant_resi"], ratio=sizes["quant_resi"])
    quantizer.convolutions.convolutions.load_state_dict(stored.weights_under("quant_resi.qresi_ls."))
    f = stored.inputs["f"].requires_grad_()
    quantized = quantizer(as_latents(f))
    vectors, losses = as_map(quantized.vectors, scales[-1]), quantized.losses
    loss = sizes["beta"] * losses["commitment"] + losses["codebook"]
    total = loss + (vectors * stored.inputs["probe"]).sum() / 100
    total.backward()
    stored.check("train/f_hat", vectors)
    stored.check("train/vq_loss", loss)
    stored.check("train/total", total)
    convolutions = {f"quant_resi.qresi_ls.{key}": value.grad for key, value in quantizer.convolutions.convolutions.named_parameters()}
    stored.check_gradients("train/grad/", {"f": f.grad, "embedding.weight": table.codes.grad[0], **convolutions})
    stored.check("ids", quantized.ids[..., 0])
    stored.check("f_hat_per_scale", torch.stack([as_map(own, scales[-1]) for own in quantizer.sums(quantized.ids)]))
    stored.check("ar_input", quantizer.generator_inputs(quantized.ids))
    stored.check("f_hat_from_ids", as_map(quantizer.lookup(quantized.ids), scales[-1]))
    assert not stored.unchecked()


def plane(kind: type[MultiscaleQuantizer] = CumulativeMultiscaleQuantizer) -> MultiscaleQuantizer:
    """A 3 x 6 map of 4 components in 4 scales of which none has one cell; seeded."""
    table = VectorQuantizer(4, 32)
    table.fill(randn(32, 4))
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        return kind(table, [(1, 2), (2, 2), (3, 3), (3, 6)])


@both_kinds
def test_positions_are_the_cells_of_all_scales(kind: type[MultiscaleQuantizer]) -> None:
    quantizer = plane(kind)
    assert quantizer.num_positions(18) == 33
    assert quantizer.prefix_lengths(18) == (2, 6, 15, 33)
    assert quantizer.first_positions(18).tolist() == [0] * 72
    assert quantizer(randn(2, 18, 4)).ids.shape == (2, 33, 1)


def test_maps_of_another_size_are_refused() -> None:
    with pytest.raises(ValueError, match="codes maps of 18 latents, got 16"):
        plane().num_positions(16)


def test_a_table_for_each_position_is_refused() -> None:
    with pytest.raises(ConfigError, match="each for itself"):
        CumulativeMultiscaleQuantizer(SphericalVectorQuantizer.tiny(), [(1, 1), (2, 2)])


@pytest.mark.parametrize("scales", [[], [(1, 0), (2, 2)]])
def test_scales_without_cells_are_refused(scales: list[tuple[int, int]]) -> None:
    with pytest.raises(ConfigError, match="levels have rows and columns"):
        StagewiseMultiscaleQuantizer(VectorQuantizer.tiny(), scales)


@both_kinds
def test_each_scale_codes_what_the_earlier_ones_have_left(kind: type[MultiscaleQuantizer]) -> None:
    quantizer, z = plane(kind), randn(3, 18, 4, seed=1)
    ids = quantizer(z).ids
    left = z
    for own, size, total in zip(quantizer.levels(ids), quantizer.sizes, quantizer.sums(ids), strict=True):
        assert torch.equal(own, quantizer.table(averaged(as_map(left, (3, 6)), size)).ids)
        left = z - total


@both_kinds
def test_strings_are_looked_up_by_their_own_whole_scales(kind: type[MultiscaleQuantizer]) -> None:
    quantizer, z = plane(kind), randn(5, 18, 4, seed=1)
    ids = quantizer(z).ids
    sums = [torch.zeros_like(z), *quantizer.sums(ids)]
    lengths = torch.tensor([1, 2, 14, 15, 33])
    expected = torch.stack([sums[k][row] for row, k in enumerate([0, 1, 2, 3, 4])])
    torch.testing.assert_close(quantizer.lookup(ids, lengths), expected)


@both_kinds
def test_ids_of_the_first_scales_alone_are_looked_up(kind: type[MultiscaleQuantizer]) -> None:
    quantizer = plane(kind)
    ids = quantizer(randn(2, 18, 4, seed=1)).ids
    torch.testing.assert_close(quantizer.lookup(ids[:, :6]), quantizer.lookup(ids, torch.tensor([6, 6])))


@both_kinds
def test_search_finds_the_ids_and_what_each_prefix_leaves(kind: type[MultiscaleQuantizer]) -> None:
    quantizer, z = plane(kind), randn(3, 18, 4, seed=1)
    ids, errors = quantizer.search(z)
    one_by_one, expected = super(MultiscaleQuantizer, quantizer).search(z)
    assert torch.equal(ids, one_by_one)
    torch.testing.assert_close(errors, expected, rtol=1e-5, atol=1e-5)


@both_kinds
def test_a_scale_left_out_adds_nothing_and_later_ones_make_up_for_it(kind: type[MultiscaleQuantizer]) -> None:
    quantizer, z = plane(kind), randn(3, 18, 4, seed=1)
    quantized = quantizer(z, skipped=1)
    assert bool((quantized.ids[:, 2:6] == SKIPPED).all())
    assert bool((quantized.ids[:, 6:] != SKIPPED).all())
    torch.testing.assert_close(quantizer.lookup(quantized.ids), quantized.vectors)
    sums = list(quantizer.sums(quantized.ids))
    assert torch.equal(sums[0], sums[1])
    assert torch.equal(quantized.ids[:, 6:15], quantizer.table(averaged(as_map(z - sums[1], (3, 6)), (3, 3))).ids)


def test_scales_are_left_out_as_often_as_told_but_never_the_first() -> None:
    quantizer, generator = plane(), torch.Generator().manual_seed(0)
    drawn = [quantizer.draw_skipped(0.3, generator) for _ in range(6000)]
    shares = [drawn.count(k) / 6000 for k in (None, 0, 1, 2, 3)]
    assert shares == pytest.approx([0.7, 0.0, 0.1, 0.1, 0.1], abs=0.015)


def test_a_string_of_one_scale_is_never_left_out() -> None:
    quantizer = StagewiseMultiscaleQuantizer(VectorQuantizer.tiny(), [(1, 4)])
    assert quantizer.draw_skipped(1.0, torch.Generator().manual_seed(0)) is None


@both_kinds
def test_the_table_learns_from_all_scales_that_were_coded(kind: type[MultiscaleQuantizer]) -> None:
    quantizer, z = plane(kind), randn(6, 18, 4, seed=1)
    ids = torch.cat([quantizer(z[:4]).ids, quantizer(z[4:], skipped=2).ids])
    ((latents, rows),) = quantizer.coded(z, ids)
    assert latents.shape == (1, 6 * 33 - 2 * 9, 4)
    assert torch.equal(quantizer.table(latents).ids, rows)


@both_kinds
def test_any_quantizer_codes_the_cells(kind: type[MultiscaleQuantizer]) -> None:
    quantizer = kind(FactorizedQuantizer.tiny(), [(1, 1), (1, 2), (1, 3), (1, 5)])
    quantized = quantizer(randn(2, 5, 8, seed=1))
    assert quantized.ids.shape == (2, 11, 2)
    torch.testing.assert_close(quantizer.lookup(quantized.ids), quantized.vectors)
    assert set(quantized.losses) <= set(quantizer.loss_weights)


def test_stagewise_vectors_pass_the_gradients_of_every_scale():
    quantizer, z = plane(StagewiseMultiscaleQuantizer), randn(2, 18, 4, seed=1).requires_grad_()
    quantizer(z).vectors.sum().backward()
    torch.testing.assert_close(z.grad.sum(), torch.tensor(4.0 * 18 * 4 * 2))  # each of 4 scales passes the whole


def test_cumulative_vectors_pass_gradients_as_if_they_were_the_latents():
    quantizer, z = plane(), randn(2, 18, 4, seed=1).requires_grad_()
    quantizer(z).vectors.sum().backward()
    assert torch.equal(z.grad, torch.ones_like(z))


def test_cumulative_losses_train_codes_and_convolutions():
    quantizer, z = plane(), randn(2, 18, 4, seed=1)
    quantizer(z).losses["codebook"].backward()
    assert all(bool(parameter.grad.any()) for parameter in quantizer.parameters())


@pytest.mark.parametrize(
    ("num_convolutions", "num_scales", "chosen"),
    [
        (4, 10, [0, 0, 1, 1, 1, 2, 2, 3, 3, 3]),
        (4, 5, [0, 1, 2, 2, 3]),  # a tie in the middle
        (1, 4, [0, 0, 0, 0]),
        (6, 6, [0, 1, 2, 3, 4, 5]),
        (1, 1, [0]),
    ],
)
def test_scales_share_a_convolution_with_those_near_them(num_convolutions: int, num_scales: int, chosen: list[int]) -> None:
    assert ResidualConvolutions(2, num_convolutions, num_scales).chosen == chosen


def test_each_scale_can_have_its_own_convolution_however_many_there_are() -> None:
    assert all(ResidualConvolutions(1, n, n).chosen == list(range(n)) for n in range(1, 40))


def test_more_convolutions_than_scales_are_refused() -> None:
    with pytest.raises(ConfigError, match="1 to 3 convolutions for 3 scales, got 4"):
        ResidualConvolutions(2, 4, 3)


def test_convolutions_of_a_line_see_along_it_alone() -> None:
    quantizer = CumulativeMultiscaleQuantizer(VectorQuantizer.tiny(), [(1, 1), (1, 4)], num_convolutions=2)
    assert quantizer.state_dict()["convolutions.convolutions.0.weight"].shape == (8, 8, 1, 3)


def test_without_convolutions_both_kinds_code_alike() -> None:
    table, z, scales = VectorQuantizer.tiny(), randn(2, 6, 8, seed=1), [(1, 1), (1, 2), (2, 3)]
    plain, stagewise = CumulativeMultiscaleQuantizer(table, scales, num_convolutions=0), StagewiseMultiscaleQuantizer(table, scales)
    assert torch.equal(plain(z).ids, stagewise(z).ids)
    torch.testing.assert_close(plain(z).vectors, stagewise(z).vectors)


@both_kinds
def test_inputs_of_a_generator_depend_on_earlier_scales_alone(kind: type[MultiscaleQuantizer]) -> None:
    quantizer = plane(kind)
    ids = quantizer(randn(2, 18, 4, seed=1)).ids
    whole = quantizer.generator_inputs(ids)
    assert whole.shape == (2, 31, 4)
    torch.testing.assert_close(quantizer.generator_inputs(ids[:, :6]), whole[:, :13])  # begins scales 1 and 2


def test_inputs_after_a_scale_of_one_cell_are_its_code_everywhere() -> None:
    quantizer = StagewiseMultiscaleQuantizer.tiny()
    ids = quantizer(randn(2, 4, 8, seed=1)).ids
    code = quantizer.table.lookup(ids[:, :1])
    torch.testing.assert_close(quantizer.generator_inputs(ids)[:, :2], code.expand(-1, 2, -1))
