"""The features of FID, sFID and the Inception score, by the input rules of several evaluations."""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from vtok.eval.backbones.base import Backbone, InputRule, unknown
from vtok.eval.backbones.inception import NUM_CLASSES, NUM_FEATURES, SIDE, load_inception
from vtok.eval.backbones.weight_file import WeightFile

INCEPTION_FILE = WeightFile(
    title="the Inception network of the FID",
    file_names=("weights-inception-2015-12-05-6726825d.pth", "pt_inception-2015-12-05-6726825d.pth"),
    size_bytes=95_600_000,
    sha256_prefix="6726825d",
    variable="VTOK_INCEPTION_WEIGHTS",
    source="the releases of toshas/torch-fidelity or mseitzer/pytorch-fid on GitHub",
)
_BY_128, _BY_HALF = ((128.0,) * 3, (128.0,) * 3), ((127.5,) * 3, (127.5,) * 3)  # to [-1, 0.992], to [-1, 1]

INPUT_RULES: Mapping[str, InputRule] = {
    "tf1": InputRule("tf1_bilinear", SIDE, *_BY_128),  # TensorFlow's graph, ADM, torch-fidelity, TiTok
    "torch": InputRule("torch_bilinear", SIDE, *_BY_HALF),  # pytorch-fid
    "clean": InputRule("clean", SIDE, *_BY_128),  # clean-fid
    "torchmetrics": InputRule("torch_bilinear_antialias", SIDE, *_BY_128),  # its default, which no paper's tables have
}


class InceptionBackbone(Backbone):
    """The FID's Inception: "features" (B, 2048), "spatial" (B, 2023) of sFID, and "logits" (B, 1008) without bias, of the Inception score.

    Args:
        resize: a name of `INPUT_RULES`.
        weights: the published file; None: see `WeightFile.find`.

    Raises:
        ConfigError: no such rule.
        WeightsError: the file is not there or another one: no other network stands in for it.
    """

    def __init__(self, resize: str = "tf1", weights: Path | None = None):
        if resize not in INPUT_RULES:
            raise unknown("input rule of Inception", resize, INPUT_RULES)
        file = INCEPTION_FILE.find(weights)
        dims = {"features": NUM_FEATURES, "spatial": 17 * 17 * 7, "logits": NUM_CLASSES}
        super().__init__("inception", file, INPUT_RULES[resize], dims, load_inception(file))

    def outputs(self, inputs: Tensor) -> dict[str, Tensor]:
        found = self.network(inputs)
        return {"features": found["features"], "spatial": found["spatial"], "logits": found["logits_unbiased"]}
