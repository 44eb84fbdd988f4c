"""Patch discriminators."""

import pytest
import torch

from vtok.models.discriminators import PatchDiscriminator


def pictures(seed=0, size=(64, 80)):
    return torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(seed))


def discriminator(norm, depth=3):
    torch.manual_seed(0)
    return PatchDiscriminator(16, depth, norm=norm)


@pytest.mark.parametrize("norm", ["group", "spectral", "batch"])
@pytest.mark.parametrize(("depth", "shape"), [(1, (30, 38)), (2, (14, 18)), (3, (6, 8))])
def test_logits_are_one_for_each_patch(norm, depth, shape):
    assert discriminator(norm, depth)(pictures()).shape == (2, 1, *shape)


def test_a_logit_sees_70_pixels():
    network = discriminator("spectral").eval()
    images = pictures(size=(160, 160))[:1].requires_grad_()
    logits = network(images)
    (gradient,) = torch.autograd.grad(logits[0, 0, 9, 9], images)
    seen = gradient[0].abs().sum(0) > 0
    assert (int(seen.any(0).sum()), int(seen.any(1).sum())) == (70, 70)


def test_widths_double_up_to_eight_times():
    convs = [layer for layer in PatchDiscriminator(16, 5).layers if isinstance(layer, torch.nn.Conv2d)]
    assert [conv.out_channels for conv in convs] == [16, 32, 64, 128, 128, 128, 1]


def test_spectral_norm_bounds_every_kernel():
    network = discriminator("spectral")
    for _ in range(100):
        network(pictures())
    network.eval()
    for layer in network.layers:
        if isinstance(layer, torch.nn.Conv2d):
            assert float(torch.linalg.matrix_norm(layer.weight.detach().flatten(1), 2)) == pytest.approx(1, rel=0.02)


@pytest.mark.parametrize("norm", ["group", "spectral", "batch"])
def test_eval_mode_changes_no_state(norm):
    network = discriminator(norm).eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    network(pictures())
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


@pytest.mark.parametrize("norm", ["group", "spectral", "batch"])
def test_a_few_steps_tell_bright_from_dark(norm):
    network = discriminator(norm, 2)
    optimizer = torch.optim.Adam(network.parameters(), 2e-3)
    bright, dark = pictures() * 0.5 + 0.5, pictures(1) * 0.5
    for _ in range(10):
        optimizer.zero_grad()
        (torch.relu(1 - network(bright)).mean() + torch.relu(1 + network(dark)).mean()).backward()
        optimizer.step()
    assert network(bright).mean() > network(dark).mean() + 0.5


def test_batch_norm_is_that_of_the_published_patchgan():
    network = discriminator("batch")
    assert list(network.state_dict()) == [
        *("layers.0.weight", "layers.0.bias", "layers.2.weight", "layers.3.weight", "layers.3.bias", "layers.5.weight", "layers.6.weight"),
        *("layers.6.bias", "layers.8.weight", "layers.9.weight", "layers.9.bias", "layers.11.weight", "layers.11.bias"),
    ]
    x = 2 * pictures() - 1
    for layer in network.layers[:3]:
        x = layer(x)
    centred = x - x.mean((0, 2, 3), keepdim=True)
    normed = centred / (x.square().mean((0, 2, 3), keepdim=True) - x.mean((0, 2, 3), keepdim=True).square() + 1e-5).sqrt()
    norm = network.layers[3]
    torch.testing.assert_close(norm(x), normed * norm.weight[:, None, None] + norm.bias[:, None, None], rtol=1e-4, atol=1e-4)
    assert float(norm.weight.detach().mean()) == pytest.approx(1, abs=0.02)
    assert 0 < float(norm.weight.detach().std()) < 0.04
    torch.testing.assert_close(network.eval()(pictures()), network.train()(pictures()))
