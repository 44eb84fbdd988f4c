"""`linear` trained from a recipe to a model folder."""

import json
import math
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor

from vtok.data.sources.synthetic import SyntheticSource
from vtok.errors import ConfigError, DataError, MissingExtraError, OutputError, VtokError, WeightsError
from vtok.models.autoencoders.taef2 import Taef2
from vtok.tokenizers.base import Tokenizer
from vtok.tokenizers.linear import LinearTokenizer
from vtok.tokenizers.vae import Vae
from vtok.train import TABLE, load_config, run

SMALL = (
    "data.num_synthetic=12",
    "linear.num_tiles=600",
    "linear.codebook_size=16",
    "linear.rounds=2",
    "linear.stages=[{tokens = 4}, {tokens = 2}]",
)
Fit = Callable[..., LinearTokenizer]


@pytest.fixture(scope="module")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the shipped recipe writes."""
    return run(load_config("smoke-linear"), TABLE, tmp_path_factory.mktemp("smoke") / "model")


@pytest.fixture
def fit(tmp_path: Path) -> Fit:
    """Run the smoke recipe in small, with overrides, and load what it wrote."""

    def fitted(*overrides: str) -> LinearTokenizer:
        loaded = Tokenizer.from_pretrained(run(load_config("smoke-linear", [*SMALL, *overrides]), TABLE, tmp_path / "model"))
        assert isinstance(loaded, LinearTokenizer)
        return loaded

    return fitted


def unseen(count: int = 6, size: int = 128) -> Tensor:
    """Synthetic pictures of a seed that no run here has."""
    source = SyntheticSource(count, (size, size), seed=999)
    return torch.from_numpy(np.stack([source[i].pixels for i in range(count)])).permute(0, 3, 1, 2).float() / 255


def psnr(tok: Tokenizer, num_tokens: int, images: Tensor) -> float:
    rows, cols = (side // tile for side, tile in zip(images.shape[2:], tok.spec.input_size, strict=True))
    decoded = tok.decode_grid(tok.encode_grid(images, num_tokens), rows, cols)
    return -10 * math.log10(float((decoded - images).square().mean()))


def save_pictures(folder: Path, *sizes: tuple[int, int]) -> Path:
    """One noise picture (height, width) a size."""
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    for i, (height, width) in enumerate(sizes):
        Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(folder / f"{i}.png")
    return folder


def from_folder(folder: Path) -> tuple[str, str]:
    return "data.kind=folder", f"data.path={folder}"


def save_taef2(file: Path) -> Path:
    """taef2 with random weights."""
    torch.manual_seed(0)
    save_file({name: value.contiguous() for name, value in Taef2().state_dict().items()}, file)
    return file


def on_taef2(weights: Path) -> tuple[str, str]:
    return "linear.autoencoder=taef2", f"linear.autoencoder_weights={weights}"


class TestSmokeRecipe:
    def test_the_model_loads_as_its_recipe_says(self, smoke: Path) -> None:
        tok = Tokenizer.from_pretrained(smoke)
        assert isinstance(tok, LinearTokenizer)
        assert (tok.spec.max_tokens, tok.spec.codebook_sizes, tok.spec.input_size) == (16, (64,), (16, 16))
        assert tok.spec.nested

    def test_more_tokens_lose_less_on_pictures_never_seen(self, smoke: Path) -> None:
        tok = Tokenizer.from_pretrained(smoke)
        found = [psnr(tok, n, unseen()) for n in (1, 2, 4, 8, 16)]
        assert all(more > fewer + 0.3 for fewer, more in pairwise(found)), found
        assert found[-1] > 28

    def test_many_codes_are_used(self, smoke: Path) -> None:
        ids = Tokenizer.from_pretrained(smoke).encode_grid(unseen(12)).ids[..., 0]
        assert min(len(ids[:, k].unique()) for k in range(16)) > 16

    def test_the_second_stage_codes_components_again(self, smoke: Path) -> None:
        tok = Tokenizer.from_pretrained(smoke)
        assert isinstance(tok, LinearTokenizer)
        components = tok.quantizer.components.split(tok.quantizer.widths)
        first, second = (torch.cat(components[k : k + 8]) for k in (0, 8))
        for stage in (first, second):
            assert len(stage.unique()) == len(stage)
        assert set(second.tolist()) & set(first.tolist())

    def test_the_configuration_lies_beside_the_model_with_all_defaults(self, smoke: Path) -> None:
        stored = json.loads((smoke / "run.json").read_text(encoding="utf-8"))
        assert stored["objective"] == "linear"
        assert stored["data"]["split"] == "all"
        assert '"floor"' in (smoke / "run.json").read_text(encoding="utf-8")


class TestRepeatability:
    def test_the_same_seed_gives_the_same_model(self, fit: Fit) -> None:
        first = fit()
        again = fit()
        assert first.code_digest == again.code_digest
        assert all(torch.equal(value, again.state_dict()[name]) for name, value in first.state_dict().items())

    def test_another_seed_gives_another(self, fit: Fit) -> None:
        assert fit("seed=0").code_digest != fit("seed=1").code_digest

    def test_another_seed_gives_another_on_the_same_pictures(self, fit: Fit, tmp_path: Path) -> None:
        place = from_folder(save_pictures(tmp_path / "pictures", (40, 50), (64, 33)))
        assert fit(*place, "seed=0").code_digest != fit(*place, "seed=1").code_digest

    def test_the_state_of_other_random_numbers_does_not_matter(self, fit: Fit) -> None:
        torch.manual_seed(1)
        np.random.seed(1)
        first = fit()
        torch.manual_seed(2)
        np.random.seed(2)
        assert first.code_digest == fit().code_digest


class TestMetric:
    def test_pixels_under_the_decoders_metric_are_coded_as_well_as_plainly(self, fit: Fit) -> None:
        """The transform is orthonormal, so its metric is the unit but for noise."""
        plain = psnr(fit("linear.metric.kind=latents"), 6, unseen())
        seen = psnr(fit("linear.metric.kind=decoder", "linear.metric.num_passes=40"), 6, unseen())
        assert seen == pytest.approx(plain, abs=0.5)

    def test_pictures_come_round_again_for_more_passes_than_there_are(self, fit: Fit) -> None:
        assert fit("linear.metric.kind=decoder", "linear.metric.num_passes=30").spec.max_tokens == 6

    @pytest.mark.parametrize("small", [(8, 40), (40, 8), (4, 40), (1, 1)])
    def test_small_pictures_do_not_stop_the_estimate(self, fit: Fit, tmp_path: Path, small: tuple[int, int]) -> None:
        """Smaller than a tile of 16 pixels, or even than a latent of 8; neither gives a tile to fit on."""
        place = from_folder(save_pictures(tmp_path / "pictures", (64, 64), small))
        network = on_taef2(save_taef2(tmp_path / "taef2.safetensors"))
        passes = ("linear.metric.kind=decoder", "linear.metric.num_passes=4")
        assert fit(*place, *network, *passes, "linear.num_tiles=60").spec.input_size == (16, 16)

    def test_lpips_without_its_weights_stops_the_run_first(self, fit: Fit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("VTOK_LPIPS_WEIGHTS", raising=False)
        monkeypatch.setenv("TORCH_HOME", str(tmp_path))
        with pytest.raises((WeightsError, MissingExtraError), match="LPIPS needs"):
            fit("linear.metric.kind=decoder", "linear.metric.lpips=1.0", "data.kind=folder", "data.path=nowhere")

    @pytest.fixture
    def trunk(self, shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        pytest.importorskip("lpips", reason="needs the extra `eval`")
        monkeypatch.setenv("VTOK_LPIPS_WEIGHTS", str(shared / "data" / "weights" / "lpips_alex.safetensors"))

    @pytest.mark.usefixtures("trunk")
    def test_pictures_too_small_for_lpips_do_not_stop_the_estimate(self, fit: Fit, tmp_path: Path) -> None:
        place = from_folder(save_pictures(tmp_path / "pictures", (64, 64), (20, 40)))
        tok = fit(*place, "linear.metric.kind=decoder", "linear.metric.num_passes=4", "linear.metric.lpips=0.1", "linear.num_tiles=60")
        assert tok.spec.input_size == (16, 16)

    @pytest.mark.usefixtures("trunk")
    def test_lpips_is_seen_through_the_decoder(self, fit: Fit) -> None:
        overrides = ("linear.metric.kind=decoder", "linear.metric.num_passes=4")
        assert fit(*overrides).code_digest != fit(*overrides, "linear.metric.lpips=0.1").code_digest


class TestFrozenNetworks:
    @pytest.fixture
    def weights(self, tmp_path: Path) -> Path:
        return save_taef2(tmp_path / "taef2.safetensors")

    @pytest.fixture
    def few(self, tmp_path: Path) -> tuple[str, ...]:
        """Small pictures, since the network is a large one."""
        return (*from_folder(save_pictures(tmp_path / "pictures", (64, 48), (40, 56))), "linear.num_tiles=40")

    def test_a_network_is_read_and_stored_in_the_model(self, fit: Fit, weights: Path, few: tuple[str, ...]) -> None:
        tok = fit(*on_taef2(weights), *few)
        given = load_file(weights)
        assert all(torch.equal(value, given[name].half().float()) for name, value in tok.autoencoder.state_dict().items())
        assert tok.decode(tok.encode(unseen(2, 16))).shape == (2, 3, 16, 16)

    def test_a_model_file_serves_as_its_networks_weights(self, fit: Fit, weights: Path, few: tuple[str, ...], tmp_path: Path) -> None:
        tok = fit(*on_taef2(weights), *few)
        again = fit(*on_taef2(tmp_path / "model" / "model.safetensors"), *few)
        assert all(torch.equal(value, again.autoencoder.state_dict()[name]) for name, value in tok.autoencoder.state_dict().items())

    def test_an_autoencoder_of_diffusers_is_read_from_its_folder(self, fit: Fit, tmp_path: Path) -> None:
        diffusers = pytest.importorskip("diffusers", reason="needs the extra `models`")
        torch.manual_seed(0)
        widths = {"encoder_block_out_channels": (8, 8), "decoder_block_out_channels": (8, 8)}
        blocks = {"num_encoder_blocks": (1, 1), "num_decoder_blocks": (1, 1)}
        diffusers.AutoencoderTiny(**widths, **blocks).save_pretrained(tmp_path / "tiny")
        tok = fit(f"linear.autoencoder={tmp_path / 'tiny'}", "linear.num_tiles=100", "linear.tile_size=8")
        assert tok.autoencoder.downsample == 2
        assert tok.decode_grid(tok.encode_grid(unseen(1, 24)), 3, 3).shape == (1, 3, 24, 24)

    def test_a_kl_autoencoder_that_was_trained_is_read_from_its_folder(self, fit: Fit, tmp_path: Path) -> None:
        pytest.importorskip("diffusers", reason="needs the extra `models`")
        Vae.tiny().save_pretrained(tmp_path / "vae")
        tok = fit(f"linear.autoencoder={tmp_path / 'vae'}", "linear.num_tiles=100", "linear.tile_size=8")
        assert tok.autoencoder.downsample == 4
        assert tok.decode_grid(tok.encode_grid(unseen(1, 24)), 3, 3).shape == (1, 3, 24, 24)

    def test_a_missing_file_stops_the_run_before_pictures_are_read(self, fit: Fit, tmp_path: Path) -> None:
        with pytest.raises(WeightsError, match=r"none\.safetensors"):
            fit(*on_taef2(tmp_path / "none.safetensors"), "data.kind=folder", "data.path=nowhere")
        assert not (tmp_path / "model").exists()

    def test_a_file_of_something_else_is_named_with_what_it_lacks(self, fit: Fit, tmp_path: Path) -> None:
        save_file({"weight": torch.zeros(2)}, tmp_path / "other.safetensors")
        with pytest.raises(WeightsError, match=r"other\.safetensors lacks 158 tensors of the autoencoder, decoder\.1\.bias among them"):
            fit(*on_taef2(tmp_path / "other.safetensors"))

    def test_tensors_of_another_shape_are_refused(self, fit: Fit, weights: Path) -> None:
        state = {name: value.clone() for name, value in load_file(weights).items()}
        save_file(state | {"encoder.0.bias": torch.zeros(3)}, weights)
        with pytest.raises(WeightsError, match=r"taef2\.safetensors: .*encoder\.0\.bias") as error:
            fit(*on_taef2(weights))
        assert "\n" not in str(error.value)

    @pytest.mark.parametrize("content", [b"", b"no tensors at all"])
    def test_a_damaged_file_is_one_line(self, fit: Fit, weights: Path, content: bytes) -> None:
        weights.write_bytes(content)
        with pytest.raises(WeightsError, match=r"taef2\.safetensors: cannot read the autoencoder's weights"):
            fit(*on_taef2(weights))

    def test_a_name_that_is_no_network_is_refused(self, fit: Fit) -> None:
        with pytest.raises(WeightsError, match="no autoencoder 'taef3': neither pixels, nor taef2, nor a folder in diffusers' layout"):
            fit("linear.autoencoder=taef3")

    def test_a_folder_of_something_else_is_refused(self, fit: Fit, tmp_path: Path) -> None:
        with pytest.raises(WeightsError, match="not an autoencoder in diffusers' layout"):
            fit(f"linear.autoencoder={save_pictures(tmp_path / 'pictures', (8, 8))}")

    def test_a_tile_of_broken_latents_is_refused(self, fit: Fit, weights: Path) -> None:
        with pytest.raises(ConfigError, match="tile_size 12 is not a multiple of the 8 pixels of a latent of taef2"):
            fit(*on_taef2(weights), "linear.tile_size=12")

    def test_a_tile_too_large_for_plain_pixels_is_refused(self, fit: Fit) -> None:
        with pytest.raises(ConfigError, match="512"):
            fit("linear.tile_size=512")


class TestPictures:
    def test_a_folder_of_pictures_is_fitted(self, fit: Fit, tmp_path: Path) -> None:
        """One that is exactly a tile, and one that is broken, among them."""
        folder = save_pictures(tmp_path / "pictures", (16, 16), (40, 50), (17, 90))
        (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
        assert fit(*from_folder(folder)).spec.max_tokens == 6

    @pytest.mark.timeout(5)
    @pytest.mark.parametrize("kind", ["latents", "decoder"])
    def test_pictures_smaller_than_a_tile_give_none(self, fit: Fit, tmp_path: Path, kind: str) -> None:
        place = from_folder(save_pictures(tmp_path / "pictures", (200, 15), (15, 200), (8, 8)))
        with pytest.raises(DataError, match="0 tiles of 16 pixels found, 16 codes need at least as many"):
            fit(*place, f"linear.metric.kind={kind}")

    def test_fewer_tiles_than_codes_are_an_error(self, fit: Fit, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="15 tiles of 16 pixels found, 16 codes need at least as many"):
            fit("linear.num_tiles=15")
        assert not (tmp_path / "model").exists()

    def test_large_pictures_are_scaled_down(self, fit: Fit, tmp_path: Path) -> None:
        place = from_folder(save_pictures(tmp_path / "pictures", (64, 96)))
        with pytest.raises(DataError, match="0 tiles"):
            fit(*place, "data.max_side=15")
        assert fit(*place, "data.max_side=16").spec.max_tokens == 6

    def test_no_path_is_an_error_that_says_how_to_give_one(self, fit: Fit) -> None:
        with pytest.raises(ConfigError, match=r"--set data\.path=FOLDER"):
            fit("data.kind=auto")

    def test_a_folder_that_is_not_there_is_named(self, fit: Fit) -> None:
        with pytest.raises(DataError, match="nowhere"):
            fit("data.kind=folder", "data.path=nowhere")

    @pytest.mark.timeout(5)
    def test_a_folder_of_broken_pictures_is_an_error(self, fit: Fit, tmp_path: Path) -> None:
        (tmp_path / "pictures").mkdir()
        (tmp_path / "pictures" / "broken.png").write_bytes(b"nothing")
        with pytest.raises(DataError, match="no picture could be read"):
            fit(*from_folder(tmp_path / "pictures"), "linear.metric.kind=decoder")


class TestSettings:
    @pytest.mark.parametrize(
        ("override", "message"),
        [
            ("linear.tile_sise=8", r"\[linear\]: unknown key tile_sise; did you mean tile_size\?"),
            ("linear.metric.flor=8", r"unknown key metric\.flor; did you mean floor\?"),
            ("linear.codebook_size=1", r"\[linear\]: codebook_size: "),
            ("linear.rounds=many", "rounds: Input should be a valid integer"),
        ],
    )
    def test_a_wrong_key_or_value_is_named_before_pictures_are_read(self, fit: Fit, override: str, message: str) -> None:
        with pytest.raises(ConfigError, match=message):
            fit(override, "data.kind=folder", "data.path=nowhere")

    def test_an_unknown_objective_is_named_with_those_there_are(self, tmp_path: Path) -> None:
        config = load_config("smoke-linear").model_copy(update={"objective": "quadratic"})
        with pytest.raises(ConfigError, match="no objective 'quadratic'; there are: flextok, fqgan, linear"):
            run(config, TABLE, tmp_path / "model")

    @pytest.mark.timeout(5)
    def test_more_tokens_than_components_are_refused(self, fit: Fit) -> None:
        with pytest.raises(VtokError, match="components"):
            fit("linear.max_components=3")

    def test_components_that_are_many_are_all_used(self, fit: Fit) -> None:
        assert fit("linear.max_components=30000").config.num_components <= 83  # 7 * 7 + 2 * 3 * 3 of a 16-pixel tile, and none other

    def test_threads_are_set(self, fit: Fit) -> None:
        before = torch.get_num_threads()
        try:
            fit("threads=2")
            assert torch.get_num_threads() == 2
        finally:
            torch.set_num_threads(before)


class TestOutput:
    def config(self, **changes: Any) -> Any:
        return load_config("smoke-linear", SMALL).model_copy(update=changes)

    def test_a_file_in_the_place_of_the_folder_is_named_before_the_work(self, tmp_path: Path) -> None:
        (tmp_path / "model").write_text("mine")
        with pytest.raises(OutputError, match="model is a file; name a folder"):
            run(self.config(objective="none such"), TABLE, tmp_path / "model")
        assert (tmp_path / "model").read_text() == "mine"

    def test_a_missing_parent_is_named_before_the_work(self, tmp_path: Path) -> None:
        with pytest.raises(OutputError, match="deep: no such folder; make it"):
            run(self.config(objective="none such"), TABLE, tmp_path / "deep" / "model")

    def test_a_model_may_be_written_over(self, tmp_path: Path) -> None:
        first = Tokenizer.from_pretrained(run(self.config(), TABLE, tmp_path / "model")).code_digest
        second = Tokenizer.from_pretrained(run(self.config(seed=7), TABLE, tmp_path / "model")).code_digest
        assert first != second
