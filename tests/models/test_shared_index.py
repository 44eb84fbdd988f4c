"""One row for several codes: published values, weights of parts, scales of the published tokenizer."""

import pytest
import torch
from einops import rearrange
from torch import Tensor
from torch.nn.functional import normalize

from tests.parity import Stored
from vtok.errors import ConfigError
from vtok.models.quantizers.entropy import EntropyConfig
from vtok.models.quantizers.maps import as_latents, as_map
from vtok.models.quantizers.multiscale_stagewise import StagewiseMultiscaleQuantizer
from vtok.models.quantizers.shared_index import SharedIndexQuantizer
from vtok.models.quantizers.vq import SphericalVectorQuantizer

PARTS = ("vqkd", "vqgan")  # semantics and pixels


def randn(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def quantizer_of(stored: Stored, prefix: str = "") -> SharedIndexQuantizer:
    sizes = stored.config["sizes"]
    widths = (sizes["semantic_code_dim"], sizes["codebook_embed_dim"])
    weights = (1.0, sizes.get("pixel_distance_weight", 1.0))
    entropy = EntropyConfig(temperature=sizes.get("entropy_temperature", 0.01))
    quantizer = SharedIndexQuantizer(widths, sizes["codebook_size"], weights=weights, entropy=entropy)
    quantizer.fill(torch.cat([stored.weights[f"{prefix}embedding_{part}.weight"].float() for part in PARTS], 1))
    return quantizer


@torch.no_grad()
def squared_distances(quantizer: SharedIndexQuantizer, latents: Tensor) -> list[Tensor]:
    """Of each part alone, mean over positions of the sum over codes of the square of the squared distance."""
    pairs = zip(quantizer.parts(quantizer.place(latents)), quantizer.parts(quantizer.compared()[0]), strict=True)
    return [torch.cdist(own.flatten(0, -2), codes).pow(4).sum(1).mean() for own, codes in pairs]


@pytest.mark.parity
@pytest.mark.parametrize("name", ["tokenflow_quantizer"])
def test_the_joint_choice_is_that_of_the_published_implementation(name):
    stored = Stored.load(name)
    sizes, quantizer = stored.config["sizes"], quantizer_of(stored)
    images = stored.inputs["z"].requires_grad_()  # (B, D, H, W)
    z = as_latents(images)
    for mode in ("eval", "train"):
        quantized = quantizer.train(mode == "train")(z)
        vectors = rearrange(quantized.vectors, "b (h w) d -> b d h w", h=sizes["height"])
        stored.check(f"{mode}/ids", quantized.ids.flatten())
        stored.check(f"{mode}/quant", vectors)
        semantic, pixel = squared_distances(quantizer, z)
        stored.check(f"{mode}/sem_dist_norm", semantic)
        stored.check(f"{mode}/pix_dist_norm", pixel)
    losses = {
        "vq_loss": quantized.losses["codebook"],
        "commit_loss": sizes["commit_loss_beta"] * quantized.losses["commitment"],
        "entropy_loss": sizes["entropy_loss_ratio"] * quantized.losses["entropy"],
    }
    total = sum(losses.values()) + (vectors * stored.inputs["probe"]).sum() / 100
    total.backward()
    for loss, value in losses.items():
        stored.check(f"train/{loss}", value)
    stored.check("train/total", total)
    gradients = {f"embedding_{part}.weight": own for part, own in zip(PARTS, quantizer.parts(quantizer.codes.grad[0]), strict=True)}
    stored.check_gradients("train/grad/", {"z": images.grad, **gradients})
    used = torch.cat([torch.zeros(1, dtype=torch.int64), quantized.ids.flatten()]).unique()  # their window begins with 0
    stored.check("train/codebook_usage", len(used) / sizes["codebook_size"])
    stored.check("decode", as_map(quantizer.lookup(quantized.ids), (sizes["height"], sizes["width"])))
    assert not stored.unchecked()


@pytest.mark.parity
@pytest.mark.parametrize("name", ["tokenflow_model"])
def test_scales_of_joint_choices_are_those_of_the_published_tokenizer(name):
    """Of the whole tokenizer's values, those that the quantizer makes of the stored maps."""
    stored = Stored.load(name)
    sizes, table = stored.config["sizes"], quantizer_of(stored, "quantize.")
    scales = [(side, side) for side in sizes["scales"]]
    quantizer = StagewiseMultiscaleQuantizer(table, scales)
    z = torch.cat([stored.outputs["eval/semantic_prequant"], as_latents(stored.outputs["eval/pixel_prequant"])], 2)
    quantized = quantizer(z)
    stored.check("eval/ids", quantized.ids[..., 0])
    stored.check("eval/quant", as_map(quantized.vectors, scales[-1]))
    stored.check("train/vq_loss", quantized.losses["codebook"])
    stored.check("train/commit_loss", sizes["commit_loss_beta"] * quantized.losses["commitment"])
    stored.check("train/entropy_loss", sizes["entropy_loss_ratio"] * quantized.losses["entropy"])
    ((latents, _),) = quantizer.coded(z, quantized.ids)
    by_scale = [squared_distances(table, own) for own in latents.split([len(z) * count for count in quantizer.counts], 1)]
    semantic, pixel = torch.tensor(by_scale).mean(0)
    stored.check("train/sem_dist_norm_mean", semantic)
    stored.check("train/pix_dist_norm_mean", pixel)


def two_parts(weights: tuple[float, float] | None = None, *, entropy: EntropyConfig | None = None) -> SharedIndexQuantizer:
    quantizer = SharedIndexQuantizer((5, 3), 40, weights=weights, entropy=entropy)
    quantizer.fill(randn(40, 8, seed=0))
    return quantizer


def weighted_distances(quantizer: SharedIndexQuantizer, z: Tensor, weights: tuple[float, float]) -> Tensor:
    """(n, S) from each of z (B, N, D) to each row."""
    pairs = zip(quantizer.parts(z.flatten(0, 1).double()), quantizer.parts(quantizer.codes[0].detach().double()), weights, strict=True)
    own = [weight * torch.cdist(normalize(part, dim=1), normalize(codes, dim=1)).square() for part, codes, weight in pairs]
    return torch.stack(own).sum(0)


@pytest.mark.parametrize("weights", [(1.0, 1.0), (1.0, 4.0), (0.3, 0.1)])
def test_the_row_with_the_least_weighted_distance_is_taken(weights: tuple[float, float]) -> None:
    quantizer, z = two_parts(weights), randn(60, 4, 8)
    assert torch.equal(quantizer(z).ids.flatten(), weighted_distances(quantizer, z, weights).argmin(1))


def test_a_heavy_part_decides_alone() -> None:
    quantizer, z = two_parts((1e-6, 1.0)), randn(20, 4, 8)
    alone = SphericalVectorQuantizer(3, 40)
    alone.fill(quantizer.codes[..., 5:])
    assert torch.equal(quantizer(z).ids, alone(z[..., 5:]).ids)


def test_weights_decide_and_no_more() -> None:
    quantizer, ids = two_parts((1.0, 4.0)), torch.arange(40).view(1, 40, 1)
    for part in quantizer.parts(quantizer.lookup(ids)):
        torch.testing.assert_close(part.norm(dim=2), torch.ones(1, 40))


def test_the_entropy_is_at_the_weighted_distances() -> None:
    weights, config = (1.0, 4.0), EntropyConfig(temperature=0.5)
    quantizer, z = two_parts(weights, entropy=config), randn(6, 4, 8)
    chances = (-weighted_distances(quantizer, z, weights) / config.temperature).softmax(1)
    mean = chances.mean(0)
    expected = -(chances * chances.log()).sum(1).mean() + (mean * mean.log()).sum()
    torch.testing.assert_close(quantizer.train()(z).losses["entropy"].double(), expected, rtol=1e-3, atol=1e-5)


def test_a_length_of_zero_in_one_part_is_coded_by_the_other() -> None:
    quantizer, z = two_parts(), randn(2, 4, 8)
    z[..., :5] = 0
    assert bool(quantizer(z).vectors.isfinite().all())


@pytest.mark.parametrize("weights", [(1.0,), (1.0, 0.0)])
def test_weights_that_are_not_one_for_each_part_are_refused(weights: tuple[float, ...]) -> None:
    with pytest.raises(ConfigError, match="a weight above 0 for each"):
        SharedIndexQuantizer((5, 3), 16, weights=weights)
