"""The discriminator that halves by blurring."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_max_pool2d

from tests.models.titok_names import discriminator_weights, ours
from tests.parity import Stored
from vtok.models.discriminators import BlurPoolDiscriminator
from vtok.train.losses.adversarial import ADVERSARIAL_LOSSES


def discriminator(depth: int = 2) -> BlurPoolDiscriminator:
    torch.manual_seed(0)
    return BlurPoolDiscriminator(32, depth)


def pictures(height: int = 64, width: int = 80) -> Tensor:
    return torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(0))


def passed_to(layer: nn.Module, network: nn.Module, images: Tensor) -> Tensor:
    """What a layer is given."""
    seen: list[Tensor] = []
    with layer.register_forward_pre_hook(lambda _, args: seen.append(args[0])):
        network(images)
    return seen[0]


@pytest.mark.parity
@pytest.mark.parametrize("fixture", ["titok_discriminator"])
def test_logits_and_gradients_are_those_of_the_published_implementation(fixture: str) -> None:
    stored = Stored.load(fixture)
    sizes = stored.config["sizes"]
    network = BlurPoolDiscriminator(sizes["hidden_channels"], sizes["num_stages"])
    network.load_state_dict(discriminator_weights(stored.weights))
    image = stored.inputs["image"].requires_grad_()
    logits, odd = network(image), network(stored.inputs["image_odd"])
    stored.check("logits", logits)
    stored.check("logits_odd", odd)
    hinge = ADVERSARIAL_LOSSES["hinge"].discriminator(logits, odd)
    stored.check("hinge", hinge)
    hinge.backward()
    gradients = {name: parameter.grad for name, parameter in network.named_parameters()}
    published = {name: gradients[ours(name)] for name in stored.weights if ours(name) in gradients}
    stored.check_gradients("grad/", {**published, "image": image.grad})
    assert stored.unchecked() == set()


@pytest.mark.parity
@pytest.mark.parametrize("fixture", ["titok_discriminator", "titok_losses"])
def test_the_blurring_kernel_is_the_published_one(fixture: str) -> None:
    kernels = [value for name, value in Stored.load(fixture).weights.items() if name.endswith(".kernel")]
    assert kernels
    for kernel in kernels:
        assert torch.equal(kernel, discriminator().blocks[0].get_buffer("kernel"))


def test_the_published_size_has_the_published_number_of_values() -> None:
    with torch.device("meta"):
        network = BlurPoolDiscriminator()
    kernels = sum(block.get_buffer("kernel").numel() for block in network.blocks)
    assert sum(parameter.numel() for parameter in network.parameters()) + kernels == 1_909_937
    assert kernels == 48


@pytest.mark.parametrize(("height", "width"), [(16, 16), (37, 50), (64, 80), (256, 128)])
def test_any_size_gives_sixteen_by_sixteen_logits(height: int, width: int) -> None:
    assert discriminator()(pictures(height, width)).shape == (2, 1, 16, 16)


def test_halving_blurs_over_four_places_a_side() -> None:
    block = discriminator().blocks[0]
    nn.init.dirac_(block.get_parameter("conv.weight"))
    nn.init.zeros_(block.get_parameter("conv.bias"))
    maps = torch.zeros(1, 32, 8, 8)
    maps[0, 5, 2, 3] = 64
    halved = passed_to(block.get_submodule("norm"), block, maps)[0].detach()
    assert halved.shape == (32, 4, 4)
    assert halved[5, :3, :3].tolist() == [[0, 3, 1], [0, 9, 3], [0, 0, 0]]
    assert float(halved.sum()) == 16


def test_the_head_sees_the_largest_value_of_each_field() -> None:
    network = discriminator(1)
    images = pictures(64, 128)
    halved = passed_to(network.blocks[0], network, images)
    expected = adaptive_max_pool2d(network.blocks[0](halved), 16)
    assert torch.equal(passed_to(network.mix, network, images), expected)
    assert torch.equal(expected[:, :, 0, 0], network.blocks[0](halved)[:, :, :2, :4].amax((2, 3)))


def test_pictures_are_taken_as_they_are() -> None:
    network = discriminator()
    assert torch.equal(passed_to(network.first, network, pictures()), pictures())


def test_norms_are_over_groups_of_one_picture_alone() -> None:
    network = discriminator()
    assert [(norm.num_groups, norm.eps) for norm in network.modules() if isinstance(norm, nn.GroupNorm)] == [(32, 1e-5)] * 2
    assert not any(isinstance(norm, nn.modules.batchnorm._BatchNorm) for norm in network.modules())
    torch.testing.assert_close(network(pictures())[:1], network(pictures()[:1]))


def test_a_tenth_passes_below_zero() -> None:
    network = discriminator(1)
    with torch.no_grad():
        network.first.weight.zero_()
        network.get_parameter("first.bias").fill_(-2)
    torch.testing.assert_close(passed_to(network.blocks[0], network, pictures()), torch.full((2, 32, 64, 80), -0.2))


def test_kernels_of_blurring_are_neither_trained_nor_saved_but_move() -> None:
    network = discriminator()
    assert not any("kernel" in name for name in [*network.state_dict(), *dict(network.named_parameters())])
    assert {buffer.device.type for buffer in network.to("meta").buffers()} == {"meta"}


def test_a_few_steps_tell_bright_from_dark() -> None:
    network = discriminator()
    optimizer = torch.optim.Adam(network.parameters(), 2e-3)
    bright, dark = pictures() * 0.5 + 0.5, pictures() * 0.5
    for _ in range(10):
        optimizer.zero_grad()
        ADVERSARIAL_LOSSES["hinge"].discriminator(network(bright), network(dark)).backward()
        optimizer.step()
    assert network(bright).mean() > network(dark).mean() + 0.5
