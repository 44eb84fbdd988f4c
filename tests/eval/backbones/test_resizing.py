"""Rules that bring pictures to a square; `tests/eval/protocol/test_resize_and_crop.py` holds them to stored values."""

import pytest
import torch

from vtok.eval.backbones.resizing import RESIZES

every_rule = pytest.mark.parametrize("rule", RESIZES)


def pictures(height: int, width: int, count: int = 2) -> torch.Tensor:
    return torch.randint(0, 256, (count, 3, height, width), generator=torch.Generator().manual_seed(height)).float()


@every_rule
def test_a_picture_becomes_a_square_of_floats_whatever_its_shape(rule):
    resized = RESIZES[rule](pictures(20, 33), 24)
    assert resized.shape == (2, 3, 24, 24)
    assert resized.dtype == torch.float32


@every_rule
def test_a_plain_colour_stays(rule):
    plain = torch.tensor([10.0, 200.0, 77.0])[None, :, None, None].expand(1, 3, 9, 31)
    torch.testing.assert_close(
        RESIZES[rule](plain, 16), plain[..., :1].expand(1, 3, 9, 16)[:, :, :1].expand(1, 3, 16, 16), atol=1e-4, rtol=0
    )


@every_rule
def test_the_size_it_has_changes_nothing(rule):
    images = pictures(16, 16)
    torch.testing.assert_close(RESIZES[rule](images, 16), images, atol=1e-4, rtol=0)


@every_rule
def test_a_picture_does_not_depend_on_those_beside_it(rule):
    images = pictures(30, 21, count=3)
    together, alone = RESIZES[rule](images, 12), [RESIZES[rule](image[None], 12) for image in images]
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-4, rtol=0)  # sums in another order


@every_rule
def test_the_picture_itself_is_left_alone(rule):
    images = pictures(20, 20)
    before = images.clone()
    RESIZES[rule](images, 8)
    assert torch.equal(images, before)


def test_tensorflows_rule_starts_at_the_first_pixel_and_repeats_the_last():
    ramp = torch.arange(4.0).expand(1, 3, 4, 4)
    assert RESIZES["tf1_bilinear"](ramp, 8)[0, 0, 0].tolist() == [0, 0.5, 1, 1.5, 2, 2.5, 3, 3]


def test_only_pillow_on_eight_bits_rounds():
    images = pictures(17, 23)
    rounds = {rule for rule in RESIZES if torch.equal((resized := RESIZES[rule](images, 40)), resized.round())}
    assert rounds == {rule for rule in RESIZES if rule.startswith("pil_")}


def test_clean_keeps_to_the_range_where_bicubic_goes_beyond():
    edge = torch.zeros(1, 3, 8, 8)
    edge[..., 4:] = 255
    assert RESIZES["torch_bicubic_antialias"](edge, 20).max() > 255
    assert RESIZES["clean"](edge, 20).max() == 255
