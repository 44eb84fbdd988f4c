"""The FID's Inception against stored values of the published implementations."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from tests.eval.backbones.filled_weights import filled, inception_state
from tests.parity import Stored
from vtok.errors import WeightsError
from vtok.eval.backbones.inception import Inception, load_inception
from vtok.eval.backbones.inception_backbone import INPUT_RULES
from vtok.eval.backbones.resizing import tf1_bilinear

FEATURES = {64: "MaxPool_1", 192: "MaxPool_2", 768: "Mixed_6e", 2048: "Mixed_7c"}  # numbers: block


def features_of(blocks: dict[str, Tensor]) -> dict[int, Tensor]:
    return {count: blocks[name].mean((2, 3)) for count, name in FEATURES.items()}


@pytest.mark.parity
@torch.no_grad()
def test_every_block_gives_the_published_values_by_both_input_rules(filled_inception: Path) -> None:
    stored = Stored.load("inception_fid")
    network, precise = load_inception(filled_inception), load_inception(filled_inception).double()
    for case in range(len(stored.config["sizes"]["images"])):
        images = stored.inputs[f"images_{case}"].float()
        inputs = INPUT_RULES["tf1"](images)
        blocks = dict(network.blocks(inputs))
        outputs = network.measured(blocks.items())
        for name, maps in blocks.items():
            stored.check(f"tf_mean_{name}_{case}", maps.mean((2, 3)))
            stored.check(f"tf_pix_{name}_{case}", maps[:, :, maps.shape[2] // 2, maps.shape[3] // 2])
        for count, features in features_of(blocks).items():
            stored.check(f"tf_feat_{count}_{case}", features)
        stored.check(f"tf_feat_logits_{case}", outputs["logits"])
        stored.check(f"tf_feat_logits_unbiased_{case}", outputs["logits_unbiased"])
        stored.check(f"adm_spatial_{case}", outputs["spatial"])
        stored.check(f"tf_feat_2048_float64_{case}", precise(inputs.double())["features"])
        for count, features in features_of(dict(network.blocks(INPUT_RULES["torch"](images)))).items():
            stored.check(f"pf_feat_{count}_{case}", features)
        square = tf1_bilinear(images, 299)
        stored.check(f"tf1_resize_row_{case}", square[:, :, 150])
        stored.check(f"tf1_resize_col_{case}", square[:, :, :, 298])
    assert not stored.unchecked()


@pytest.mark.parity
def test_the_weights_follow_the_rule() -> None:
    shapes = {key: tuple(value.shape) for key, value in Inception().state_dict().items()}
    for key, (total, first, last) in Stored.load("inception_fid").config["weights_rule"]["checks_sum_first_last"].items():
        values = filled(key, shapes[key]).double().flatten()
        assert [float(values.sum()), float(values[0]), float(values[-1])] == pytest.approx([total, first, last], rel=1e-6)


def test_the_keys_are_the_published_ones(shared: Path) -> None:
    published = json.loads((shared / "specs" / "keys" / "inception_fid.json").read_text())["tensors"]
    assert {key: list(value.shape) for key, value in Inception().state_dict().items()} == published


@torch.no_grad()
def test_it_is_torch_fidelitys_network(filled_inception: Path, tmp_path: Path) -> None:
    package = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3", reason="needs the extra `eval`")
    torch.save(load_file(filled_inception), tmp_path / "inception.pth")
    names = ["2048", "logits_unbiased", "logits"]
    oracle = package.FeatureExtractorInceptionV3("filled", names, feature_extractor_weights_path=str(tmp_path / "inception.pth"))
    images = torch.randint(0, 256, (2, 3, 72, 50), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    found = load_inception(filled_inception)(INPUT_RULES["tf1"](images.float()))
    for expected, name in zip(oracle(images), ("features", "logits_unbiased", "logits"), strict=True):
        torch.testing.assert_close(found[name], expected, atol=1e-5, rtol=1e-5)


class TestFiles:
    def test_an_old_file_without_counts_of_batches_serves(self, filled_inception: Path, tmp_path: Path) -> None:
        tensors = {key: value for key, value in load_file(filled_inception).items() if not key.endswith("num_batches_tracked")}
        torch.save(tensors, tmp_path / "old.pth")
        loaded = load_inception(tmp_path / "old.pth")
        assert not any(value.is_meta for value in loaded.state_dict().values())
        assert torch.equal(loaded.fc.weight, tensors["fc.weight"])

    @pytest.mark.parametrize("change", ["missing", "foreign", "of another shape"])
    def test_a_file_with_other_tensors_is_refused(self, tmp_path: Path, change: str) -> None:
        tensors = inception_state()
        if change == "missing":
            del tensors["Mixed_7c.branch_pool.conv.weight"]
        elif change == "foreign":
            tensors["AuxLogits.fc.bias"] = torch.zeros(1000)
        else:
            tensors["fc.bias"] = torch.zeros(1000)
        save_file(tensors, tmp_path / "other.safetensors")
        with pytest.raises(WeightsError, match=r"other\.safetensors is no FID Inception: "):
            load_inception(tmp_path / "other.safetensors")
