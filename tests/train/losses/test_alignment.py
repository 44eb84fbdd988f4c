"""Self-alignment of a prefix's features."""

import pytest
import torch

from vtok.train.losses.alignment import alignment_features, alignment_loss


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_the_loss_is_one_less_the_mean_cosine():
    prefix = torch.tensor([[[1.0, 0.0], [3.0, 4.0]], [[0.0, 2.0], [1.0, 0.0]]])
    full = torch.tensor([[[2.0, 0.0], [4.0, 3.0]], [[0.0, -1.0], [0.0, 5.0]]])
    torch.testing.assert_close(alignment_loss(prefix, full), torch.tensor([1 - (1 + 24 / 25) / 2, 1 - (-1 + 0) / 2]))


def test_equal_directions_are_at_no_distance():
    full = randn(2, 5, 8)
    torch.testing.assert_close(alignment_loss(3 * full, full), torch.zeros(2), rtol=0, atol=1e-6)


def test_only_the_prefix_is_drawn():
    prefix, full = randn(2, 5, 8).requires_grad_(), randn(2, 5, 8, seed=1).requires_grad_()
    alignment_loss(prefix, full).sum().backward()
    assert prefix.grad is not None
    assert full.grad is None


def test_a_gradient_step_lowers_the_loss():
    prefix, full = randn(2, 5, 8).requires_grad_(), randn(2, 5, 8, seed=1)
    before = alignment_loss(prefix, full)
    before.sum().backward()
    assert bool((alignment_loss(prefix - 0.1 * prefix.grad, full) < before).all())


def test_features_are_the_mean_token_and_the_mask_tokens():
    latents, masks = randn(2, 3, 8), randn(2, 4, 8, seed=1)
    features = alignment_features(latents, masks)
    assert features.shape == (2, 5, 8)
    torch.testing.assert_close(features[:, 0], latents.sum(1) / 3)
    assert torch.equal(features[:, 1:], masks)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_autocast_changes_nothing(dtype):
    prefix, full = randn(2, 5, 8).to(dtype), randn(2, 5, 8, seed=1).to(dtype)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = alignment_loss(prefix, full)
    assert inside.dtype == torch.float32
    assert torch.equal(inside, alignment_loss(prefix, full))
