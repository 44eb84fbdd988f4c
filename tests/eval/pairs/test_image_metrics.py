"""PSNR, SSIM and MS-SSIM against stored values of packages, and how far ours are from rules that we do not follow."""

import math

import pytest
import torch

from tests.parity import Stored
from vtok.eval.pairs.ms_ssim import ms_ssim_of_batch
from vtok.eval.pairs.psnr import decibels
from vtok.eval.pairs.ssim import ssim_of_batch

pytestmark = pytest.mark.parity
OTHER_RULES = {  # output: most that ours is away from it
    "psnr_y_bt601_studio": 6.0,  # luma of video
    "psnr_y_piq": 6.0,
    "psnr_torchmetrics": 1e-3,  # equal for one picture
    "psnr_rgb_piq": 1e-3,  # 1e-8 is added to the error
    "ssim_rgb_uniform7_skimage": 0.07,  # 7 x 7 box, sample covariance
    "ssim_luma_gauss_skimage": 0.2,
    "ssim_torchmetrics": 0.02,  # counts places where the window hangs over the border
    "ssim_torchmetrics_uint8scale_float32": 0.02,
    "ssim_pytorch_msssim": 5e-6,  # rounds the window to float32
    "ssim_piq_downsample": 0.1,
    "gmsd_piq": 1.0,  # another measure
    "mae": 256.0,
    "msssim_torchmetrics": 0.002,  # averages channels before the product
    "msssim_torchmetrics_relu": 0.002,
    "msssim_piq": 1e-3,  # repeats the edge of odd sides
}


def figures(a, b):
    error = (a.double() - b.double()).square()
    found = {"mse": float(error.mean()), "psnr": decibels(float(error.sum()), a.numel()), "ssim": float(ssim_of_batch(a[None], b[None])[0])}
    return found | ({"msssim": float(ms_ssim_of_batch(a[None], b[None])[0])} if min(a.shape[1:]) > 160 else {})


def test_our_rules_meet_the_packages_that_follow_them_and_the_others_are_as_far_as_is_said():
    stored = Stored.load("image_metrics")
    for case in range(3):
        found = figures(stored.inputs[f"a_{case}"], stored.inputs[f"b_{case}"])
        stored.check(f"mse_{case}", found["mse"])
        stored.check(f"psnr_rgb_skimage_{case}", found["psnr"])
        for package in ("ssim_rgb_gauss_skimage", "ssim_piq"):
            stored.check(f"{package}_{case}", found["ssim"])
        if "msssim" in found:
            stored.check(f"msssim_pytorch_msssim_{case}", found["msssim"])
        for name, most in OTHER_RULES.items():
            if f"{name}_{case}" in stored.outputs:
                own = found.get(name.split("_")[0], 0.0)
                assert abs(own - float(stored.outputs[f"{name}_{case}"])) <= most, name
                stored.checked.add(f"{name}_{case}")
    assert math.isinf(float(stored.outputs["psnr_identical_skimage"])) == math.isinf(decibels(0, 1))
    stored.checked.add("psnr_identical_skimage")
    _check_batch(stored)
    assert not stored.unchecked()


def _check_batch(stored):
    """Of two pictures papers report the mean of their figures, not the figure of their mean error."""
    first, second = (stored.inputs[f"{name}_0"].double() for name in "ab")
    errors = [float((first - other).square().sum()) for other in (second, (first + second) / 2)]
    mean = sum(decibels(error, first.numel()) for error in errors) / 2
    assert mean == pytest.approx(float(stored.outputs["batch_psnr_mean_of_images"]), abs=1e-4)  # piq's, with 1e-8 added to the error
    stored.checked.add("batch_psnr_mean_of_images")
    stored.check("batch_psnr_of_pooled_mse", decibels(sum(errors), 2 * first.numel()))


def test_ssim_of_floats_is_that_of_the_same_numbers():
    pair = torch.randint(0, 256, (2, 3, 3, 20, 30), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(ssim_of_batch(*pair), ssim_of_batch(*pair.float()))
