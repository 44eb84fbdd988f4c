"""Every rule for squares, of networks' inputs and of originals, against stored values of the published code."""

import pytest
import torch

from tests.parity import Stored
from vtok.eval.backbones.resizing import RESIZES
from vtok.eval.protocol.crops import CROPS

RESIZED = {  # stored name: ours
    "tf1_bilinear": "tf1_bilinear",
    "torch_bilinear": "torch_bilinear",
    "torch_bilinear_antialias": "torch_bilinear_antialias",
    "torch_bicubic_antialias": "torch_bicubic_antialias",
    "cleanfid": "clean",
    **{f"pil_uint8_{name}": f"pil_{name}" for name in ("bicubic", "bilinear", "lanczos", "box")},
}
CROPPED = {
    "adm_center_crop": "adm",
    **{f"resize_center_crop_{name}": f"resize_center_{name}" for name in ("bicubic", "bilinear", "lanczos")},
}


@pytest.mark.parity
def test_every_rule_gives_the_stored_values() -> None:
    stored = Stored.load("resize_and_crop")
    for case, sizes in enumerate(stored.config["sizes"]["cases"]):
        image = stored.inputs[f"image_{case}"]
        channels = image.reshape(3, sizes["height"], sizes["width"])  # the file says (H, W, 3), its bytes lie channel by channel
        for name, rule in RESIZED.items():
            stored.check(f"{name}_{case}", RESIZES[rule](channels[None].float(), sizes["side"])[0])
        for name, rule in CROPPED.items():
            stored.check(f"{name}_{case}", torch.from_numpy(CROPS[rule](channels.permute(1, 2, 0).contiguous().numpy(), sizes["crop"])))
    assert not stored.unchecked()
