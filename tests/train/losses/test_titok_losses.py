"""The losses of TiTok's second and single stage, put together from ours as an objective does, against the published implementation."""

import math
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from tests.models.titok_names import discriminator_weights
from tests.parity import Stored
from vtok.models.discriminators import BlurPoolConfig
from vtok.models.quantizers import Quantized
from vtok.models.quantizers.codebook_training import CodebookTrainingConfig
from vtok.models.quantizers.vq import VectorQuantizer
from vtok.train.codebook_steps import CodebookSteps
from vtok.train.losses.adversary import Adversary, AdversaryConfig
from vtok.train.losses.kl import kl
from vtok.train.losses.picture_losses import NetworkTerm, PictureLossConfig, PictureLosses

VARIANTS = ("stage2", "stage2_l1", "single_vq", "single_vae")
COMMITMENT = 0.25  # already inside the stored commitment loss

pytestmark = [pytest.mark.parity, pytest.mark.parametrize("fixture", ["titok_losses"])]


class Pooled:
    """The fixture's stand-in for a perceptual network: mean absolute difference of 4 x 4 averages."""

    def target(self, images: Tensor) -> list[Tensor]:
        return [avg_pool2d(images, 4)]

    def __call__(self, pictures: Tensor, target: list[Tensor], /) -> Tensor:
        return (avg_pool2d(pictures, 4) - target[0]).abs().flatten(1).mean(1)


@dataclass
class Setting:
    """One variant of the fixture, with its images and pictures."""

    stored: Stored
    variant: str

    @property
    def sizes(self) -> dict[str, float]:
        return self.stored.config["sizes"]["losses"]

    def pictures(self) -> PictureLosses:
        pixels = "l1" if self.variant.endswith("l1") else "l2"
        weight = self.sizes["reconstruction_weight"]
        if self.variant == "single_vae":
            weight /= math.exp(self.sizes["logvar_init"])  # a frozen scalar
        config = PictureLossConfig.model_validate({"l2": 0, "lpips": 0} | {pixels: weight})
        return PictureLosses(config, {"perceptual": NetworkTerm(Pooled(), self.sizes["perceptual_weight"])})

    def adversary(self) -> Adversary:
        own = self.stored.config["sizes"]["discriminator"]
        config = AdversaryConfig(
            weight=self.sizes["discriminator_weight"],
            first_step=int(self.sizes["discriminator_start"]),
            warmup_steps=0,
            discriminator=BlurPoolConfig(dim=own["hidden_channels"], depth=own["num_stages"]),
            lecam=self.sizes["lecam_regularization_weight"],
            lecam_decay=self.sizes["lecam_ema_decay"],
        )
        made, weights = Adversary(config), self.stored.weights
        means = {f"lecam.{side}": weights[f"ema_{side}_logits_mean"].squeeze() for side in ("real", "fake")}
        own_weights = discriminator_weights(self.stored.weights_under("discriminator."))
        made.load_state_dict(means | {f"discriminator.{name}": value for name, value in own_weights.items()})
        return made

    def bottleneck(self) -> dict[str, Tensor]:
        """What the latents cost, weighted: the quantizer's losses, or the KL."""
        if self.variant == "single_vae":
            mean, logvar = self.stored.inputs["posterior_parameters"][:, :, 0].mT.chunk(2, -1)  # (B, 2D, 1, N) -> (B, N, D)
            return {"kl": self.sizes["kl_weight"] * kl(mean, logvar).sum(1).mean()}
        weight, values = self.sizes["quantizer_weight"], self.stored.config["sizes"]["quantizer"]
        steps = CodebookSteps(VectorQuantizer(2, 4), CodebookTrainingConfig(commitment=weight * COMMITMENT, codebook=weight))
        unweighted = {"commitment": values["commitment_loss"] / COMMITMENT, "codebook": values["codebook_loss"]}
        nothing = torch.zeros(0)
        return steps.losses(nothing, Quantized(nothing, nothing, {name: torch.tensor(value) for name, value in unweighted.items()}))


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("step", [19, 20])
def test_what_pictures_lose_is_that_of_the_published_implementation(fixture: str, variant: str, step: int) -> None:
    setting = Setting(stored := Stored.load(fixture), variant)
    place = f"{variant}/gen_step{step}/"
    pictures, adversary = setting.pictures(), setting.adversary()
    reconstruction = stored.inputs["reconstruction"].requires_grad_()
    losses = pictures(reconstruction, pictures.target(stored.inputs["image"]))
    felt = adversary.loss_of_pictures(reconstruction, step)
    adversarial = torch.tensor(0.0) if felt is None else felt
    bottleneck = setting.bottleneck()
    total = torch.stack([*losses.values(), *bottleneck.values(), adversarial]).sum()

    stored.check(place + "reconstruction_loss", losses["l1" if variant.endswith("l1") else "l2"])
    stored.check(place + "perceptual_loss", losses["perceptual"])
    stored.check(place + "weighted_gan_loss", adversarial)
    stored.check(place + "gan_loss", adversarial / adversary.config.weight)
    stored.check(place + "d_weight", adversary.config.weight)
    stored.check(place + "discriminator_factor", float(felt is not None))
    if variant == "single_vae":
        stored.check(place + "kl_loss", bottleneck["kl"])
    else:
        stored.check(place + "quantizer_loss", torch.stack(list(bottleneck.values())).sum())
        weight = setting.sizes["quantizer_weight"]  # the published values of its parts are without it
        stored.check(place + "commitment_loss", bottleneck["commitment"] / weight)
        stored.check(place + "codebook_loss", bottleneck["codebook"] / weight)
    stored.check(place + "differentiable_total", total)
    stored.check(place + "total_loss", total)
    total.backward()
    if f"grad/{place}reconstruction" in stored.outputs:
        stored.check_gradients(f"grad/{place}", {"reconstruction": reconstruction.grad})
    assert {name for name in stored.unchecked() if place in name} == set()


@pytest.mark.parametrize("variant", ["stage2", "single_vae"])
def test_what_the_discriminator_loses_is_that_of_the_published_implementation(fixture: str, variant: str) -> None:
    setting = Setting(stored := Stored.load(fixture), variant)
    adversary = setting.adversary()
    image = stored.inputs["image"]
    for call, scale in ((1, 1.0), (2, 0.8)):
        place = f"{variant}/disc_call{call}/"
        reconstruction = scale * stored.inputs["reconstruction"]
        losses = adversary.losses_of_discriminator(image, reconstruction)
        total = torch.stack(list(losses.values())).sum()
        stored.check(place + "discriminator_loss", total)
        stored.check(place + "lecam_loss", losses["lecam"])
        stored.check(place + "logits_real", adversary.discriminator(image).mean())
        stored.check(place + "logits_fake", adversary.discriminator(reconstruction).mean())
        adversary.zero_grad()
        total.backward()
        adversary.after_step()
        for side in ("real", "fake"):
            stored.check(f"{place}ema_{side}_after", adversary.get_buffer(f"lecam.{side}").view(1))
        if f"grad/{place}discriminator.block_in.0.weight" in stored.outputs:
            gradient = adversary.get_parameter("discriminator.first.weight").grad
            stored.check_gradients(f"grad/{place}", {"discriminator.block_in.0.weight": gradient})
    assert {name for name in stored.unchecked() if f"{variant}/disc" in name} == set()


def test_all_that_is_stored_belongs_to_a_case_above(fixture: str) -> None:
    cases = {f"{variant}/gen_step{step}" for variant in VARIANTS for step in (19, 20)}
    cases |= {f"{variant}/disc_call{call}" for variant in ("stage2", "single_vae") for call in (1, 2)}
    assert {"/".join(name.removeprefix("grad/").split("/")[:2]) for name in Stored.load(fixture).outputs} == cases
