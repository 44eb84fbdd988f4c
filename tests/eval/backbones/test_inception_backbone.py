"""The FID's Inception as a backbone: its input rules and which files it takes."""

import json
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
import torch

from vtok.errors import ConfigError, WeightsError
from vtok.eval.backbones import inception_backbone
from vtok.eval.backbones.inception import Inception
from vtok.eval.backbones.inception_backbone import INPUT_RULES, InceptionBackbone

IMAGES = torch.randint(0, 256, (1, 3, 40, 56), generator=torch.Generator().manual_seed(0)).float()


@pytest.fixture(scope="module")
def backbone(filled_inception: Path) -> InceptionBackbone:
    """With weights by rule, let through as if they were the published ones."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inception_backbone, "INCEPTION_FILE", replace(inception_backbone.INCEPTION_FILE, sha256_prefix=""))
        return InceptionBackbone("tf1", filled_inception)


class TestOutputs:
    def test_they_are_in_float32_and_as_wide_as_it_says(self, backbone: InceptionBackbone) -> None:
        outputs = backbone(IMAGES)
        assert {name: output.shape[1] for name, output in outputs.items()} == {"features": 2048, "spatial": 2023, "logits": 1008}
        assert backbone.dims == {name: output.shape[1] for name, output in outputs.items()}
        assert {output.dtype for output in outputs.values()} == {torch.float32}
        without_bias = outputs["features"] @ cast(Inception, backbone.network).fc.weight.T
        torch.testing.assert_close(outputs["logits"], without_bias, atol=1e-5, rtol=1e-5)

    def test_no_two_rules_agree(self, backbone: InceptionBackbone) -> None:
        features = [backbone.network(rule(IMAGES))["features"] for rule in INPUT_RULES.values()]
        distances = [float((one - other).abs().max()) for k, one in enumerate(features) for other in features[:k]]
        assert min(distances) > 1e-3

    def test_its_description_can_be_stored(self, backbone: InceptionBackbone) -> None:
        described = json.loads(json.dumps(backbone.describe()))
        assert described["name"] == "inception"
        assert (described["resize"], described["side"], described["mean"]) == ("tf1_bilinear", 299, [128.0, 128.0, 128.0])
        assert len(described["digest"]) == 64

    def test_a_rule_that_is_none_has_its_nearest_named(self) -> None:
        with pytest.raises(ConfigError, match="no input rule of Inception 'tf'; did you mean tf1"):
            InceptionBackbone("tf")


class TestItsFile:
    def test_nothing_anywhere_says_what_to_put_where(self, empty_caches: Path) -> None:
        with pytest.raises(WeightsError) as caught:
            InceptionBackbone()
        for part in (
            "weights-inception-2015-12-05-6726825d.pth",
            "95.6 MB",
            "SHA-256 begins 6726825d",
            str(empty_caches),
            "VTOK_INCEPTION_WEIGHTS",
        ):
            assert part in str(caught.value)
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("name", ["weights-inception-2015-12-05-6726825d.pth", "pt_inception-2015-12-05-6726825d.pth"])
    def test_another_networks_weights_under_its_name_are_refused(self, name: str, filled_inception: Path, empty_caches: Path) -> None:
        home = empty_caches / "torch" / "hub" / "checkpoints"
        home.mkdir(parents=True)
        (home / name).write_bytes(filled_inception.read_bytes()[:1000])
        with pytest.raises(WeightsError, match=rf"{name} is another file: its SHA-256 begins [0-9a-f]{{8}}, not 6726825d"):
            InceptionBackbone()
