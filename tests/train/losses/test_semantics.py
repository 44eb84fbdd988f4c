"""What tokens tell of a teacher's features."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from vtok.errors import ConfigError, WeightsError
from vtok.train.losses import semantics
from vtok.train.losses.semantics import SemanticLoss, SemanticsConfig


class MeanColour(nn.Module):
    """A teacher of three features."""

    num_channels = 3

    def forward(self, images: Tensor) -> Tensor:
        return images.mean((2, 3))


@pytest.fixture
def loss(monkeypatch: pytest.MonkeyPatch) -> SemanticLoss:
    monkeypatch.setattr(semantics, "AlexnetTeacher", MeanColour)
    made = SemanticLoss(SemanticsConfig(numbers=2, hidden=16, weight=3.0))
    made.begin(num_latents=4, dim=5, seed=0)
    return made


def pictures(num: int) -> Tensor:
    return torch.rand(num, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 0.5, 0.1]).view(3, 1, 1)


@torch.no_grad()
def test_features_are_compared_by_how_they_differ_from_what_is_usual(loss: SemanticLoss) -> None:
    features = pictures(50).mean((2, 3))
    loss.learn_usual(features)
    target = loss.target(pictures(50))
    torch.testing.assert_close(target.mean(0), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(target.std(0), torch.ones(3))


def test_it_costs_its_weight_times_one_less_the_cosine(loss: SemanticLoss) -> None:
    vectors, target = torch.randn(6, 4, 5), torch.randn(6, 3)
    with torch.no_grad():
        loss.out.weight.zero_()
        loss.out.bias.copy_(torch.tensor([1.0, 0.0, 0.0]))
        cosines = target[:, 0] / target.norm(dim=1)
        torch.testing.assert_close(loss(vectors, target), 3 * (1 - cosines).mean())


def test_only_the_first_numbers_of_each_vector_tell(loss: SemanticLoss) -> None:
    vectors = torch.randn(6, 4, 5, requires_grad=True)
    loss(vectors, torch.randn(6, 3)).backward()
    assert vectors.grad is not None
    assert bool(vectors.grad[..., :2].any(0).all())
    assert not bool(vectors.grad[..., 2:].any())


def test_it_can_be_learned_and_keeps_what_is_usual_in_its_state(loss: SemanticLoss) -> None:
    loss.learn_usual(pictures(50).mean((2, 3)))
    target = loss.target(pictures(20))
    vectors = torch.cat([target, torch.zeros(20, 17)], 1).view(20, 4, 5)
    optimizer = torch.optim.Adam(loss.parameters(), 1e-2)
    before = float(loss(vectors, target).detach())
    for _ in range(100):
        optimizer.zero_grad()
        cost = loss(vectors, target)
        cost.backward()
        optimizer.step()
    assert float(cost.detach()) < 0.3 * before
    assert set(loss.state_dict()) == {"heard", "mean", "deviation", "out.weight", "out.bias"}


def test_more_numbers_than_vectors_have_are_refused(loss: SemanticLoss) -> None:
    with pytest.raises(ConfigError, match=r"semantics\.numbers is 2, the quantizer's vectors have 1"):
        loss.begin(num_latents=4, dim=1, seed=0)


def test_a_teacher_that_is_not_at_hand_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("lpips", reason="needs the extra `train`")
    monkeypatch.setenv("VTOK_LPIPS_WEIGHTS", str(tmp_path / "none.safetensors"))
    with pytest.raises(WeightsError, match="AlexNet"):
        SemanticLoss(SemanticsConfig(numbers=2))
