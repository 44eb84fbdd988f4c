"""From pictures in [0, 1] to values from 0 to 255."""

import pytest
import torch

from vtok.eval.protocol.rounding import ROUNDINGS

every_rule = pytest.mark.parametrize("rule", ROUNDINGS)


@every_rule
def test_eight_bits_come_back_as_they_were(rule: str) -> None:
    pixels = torch.arange(256)
    values = ROUNDINGS[rule](pixels.float() / 255)
    assert values.dtype == (torch.float32 if rule == "none" else torch.uint8)
    torch.testing.assert_close(values.float(), pixels.float(), atol=1e-4 if rule == "none" else 0, rtol=0)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("round", [0, 0, 1, 2, 100, 254, 255, 255]),  # halves to even
        ("truncate", [0, 0, 0, 1, 99, 254, 254, 255]),
        ("truncate_127", [0, 0, 1, 2, 100, 254, 255, 255]),
        ("none", [0, 0.25, 0.75, 1.5, 99.75, 254.25, 254.75, 255]),
    ],
)
def test_levels_between_go_where_the_rule_says(rule: str, expected: list[float]) -> None:
    levels = torch.tensor([0, 0.25, 0.75, 1.5, 99.75, 254.25, 254.75, 255])
    torch.testing.assert_close(
        ROUNDINGS[rule](levels / 255).double(), torch.tensor(expected).double(), atol=1e-4 if rule == "none" else 0, rtol=0
    )


@every_rule
def test_values_beyond_are_clamped(rule: str) -> None:
    assert ROUNDINGS[rule](torch.tensor([-1.0, 2.0])).tolist() == [0, 255]


@every_rule
def test_half_precision_is_computed_in_single(rule: str) -> None:
    images = torch.rand(3, 5, generator=torch.Generator().manual_seed(0)).bfloat16()
    assert torch.equal(ROUNDINGS[rule](images), ROUNDINGS[rule](images.float()))


@every_rule
def test_the_pictures_themselves_are_left_alone_and_gradients_cut(rule: str) -> None:
    images = torch.full((2, 2), 1.5, requires_grad=True)
    assert not ROUNDINGS[rule](images).requires_grad
    assert images.tolist() == [[1.5, 1.5]] * 2


@every_rule
@pytest.mark.parametrize(("images", "message"), [(torch.tensor([1]), "must be float"), (torch.tensor([torch.nan]), "NaN")])
def test_what_is_no_picture_is_refused(rule: str, images: torch.Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ROUNDINGS[rule](images)
