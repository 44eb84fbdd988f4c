"""The sizes of the official models are those of their files, name by name."""

import json
import re
from pathlib import Path

import pytest
import torch
from torch import Tensor

from vtok.errors import WeightsError
from vtok.tokenizers.registry import family
from vtok.weights.convert import from_upstream, recognise, to_upstream
from vtok.weights.convert.official import OFFICIAL, official_name
from vtok.weights.convert.upstream import build
from vtok.weights.table import TABLE, Upstream, Weights

KEYS = {  # the files beside the checkout that list names and shapes
    "MaskGIT-VQGAN": "maskgit_vqgan",
    "TiTok-L-32": "titok_l32",
    "TiTok-B-64": "titok_b64",
    "TiTok-S-128": "titok_s128",
    "One-D-Piece-S-256": "one_d_piece_s256",
    "One-D-Piece-B-256": "one_d_piece_b256",
    "One-D-Piece-L-256": "one_d_piece_l256",
    "TiTok-BL-64 VQ8k": "titok_bl64_vq8k",
    "TiTok-BL-128 VQ8k": "titok_bl128_vq8k",
    "TiTok-SL-256 VQ8k": "titok_sl256_vq8k",
    "TiTok-LL-32 VAE": "titok_ll32_vae_c16",
    "TiTok-BL-64 VAE": "titok_bl64_vae_c16",
    "TiTok-BL-128 VAE": "titok_bl128_vae_c16",
    "TA-TiTok-BL-32 VQ": "tatitok_bl32_vq",
    "TA-TiTok-BL-64 VQ": "tatitok_bl64_vq",
    "TA-TiTok-BL-128 VQ": "tatitok_bl128_vq",
    "TA-TiTok-BL-32 VAE": "tatitok_bl32_vae",
    "TA-TiTok-BL-64 VAE": "tatitok_bl64_vae",
    "TA-TiTok-SL-128 VAE": "tatitok_sl128_vae",
    "FlexTok d12-d12": "flextok_d12-d12",
    "FlexTok d18-d18": "flextok_d18-d18",
    "FlexTok d18-d28": "flextok_d18-d28",
    "LlamaGen VQ-16": "llamagen_vq16",
    "LlamaGen VQ-8": "llamagen_vq8",
    "FQGAN-Dual VQ-16": "fqgan_dual_vq16",
    "FQGAN-Triple VQ-16": "fqgan_triple_vq16",
    "FQGAN-Dual VQ-8": "fqgan_dual_vq8",
    "FQGAN-Triple VQ-8": "fqgan_triple_vq8",
    "TokenFlow CLIP-B": "tokenflow_clipb_224",
    "TokenFlow CLIP-B enhanced": "tokenflow_clipb_224_enhanced",
    "TokenFlow ViTamin-XL": "tokenflow_vitamin_xlarge_256",
    "TokenFlow SigLIP": "tokenflow_siglip_384",
}
# Ids that were last used, and heads; of a TokenFlow also constants, and what stands behind the block of its SigLIP that is used.
TRAINING_ALONE = re.compile(r"\bcodebook_used$|feat_pred|^scaling_layer\.|vision_model\.(encoder\.layers\.26|post_layernorm|head)\.")
UNPUBLISHED = {"TokenFlow CLIP-B", "TokenFlow ViTamin-XL"}  # of which the sizes alone are known
FIRST_STAGES = [name for name, (kind, _) in OFFICIAL.items() if kind in ("titok", "one_d_piece")]
ROWS = [row for row in TABLE.values() if isinstance(row.source, Upstream) and row.tokenizer is None]  # see test_generators for others


def listed(shared: Path, name: str) -> dict[str, Tensor]:
    """Tensors without values of the names and shapes that a file is known to have."""
    file = shared / "specs" / "keys" / f"{name}.json"
    if not file.is_file():
        pytest.skip(f"needs the list of tensors {file}")
    return {key: torch.empty(shape, device="meta") for key, shape in json.loads(file.read_text(encoding="utf-8")).items()}


def shapes(state: dict[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in state.items()}


def of_the_model(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value for name, value in state.items() if not TRAINING_ALONE.search(name)}


def test_every_official_model_has_a_list() -> None:
    assert KEYS.keys() == OFFICIAL.keys()


@pytest.mark.parametrize("name", OFFICIAL)
def test_names_and_shapes_are_those_of_the_file(shared: Path, name: str) -> None:
    kind, config = OFFICIAL[name]
    with torch.device("meta"):
        own = to_upstream(family(kind)(config))
    assert shapes(own) == shapes(of_the_model(listed(shared, KEYS[name])))


@pytest.mark.parametrize("name", OFFICIAL)
def test_a_file_is_recognised_by_its_tensors_alone(shared: Path, name: str) -> None:
    state = listed(shared, KEYS[name])
    assert recognise(state).name == name
    assert from_upstream(state).family == OFFICIAL[name][0]


@pytest.mark.parametrize("name", FIRST_STAGES)
def test_a_first_stage_is_recognised_beside_the_proxy(shared: Path, name: str) -> None:
    state, proxy = listed(shared, f"{KEYS[name]}_stage1"), listed(shared, KEYS["MaskGIT-VQGAN"])
    assert recognise(state, proxy=proxy).name == f"{name}, first stage"
    assert shapes(to_upstream(from_upstream(state, proxy=proxy))) == shapes(state)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_row_of_the_table_has_the_family_and_the_number_of_values(row: Weights) -> None:
    kind, config = OFFICIAL[row.official or ""]
    assert row.family == kind
    with torch.device("meta"):
        assert row.num_values == sum(value.numel() for value in to_upstream(family(kind)(config)).values())


def test_the_parts_of_the_flextoks_have_the_published_numbers_of_values() -> None:
    published = {  # encoder, decoder, and the autoencoder that all of them have
        "FlexTok d12-d12": (85_382_406, 172_448_320),
        "FlexTok d18-d18": (287_326_086, 578_587_456),
        "FlexTok d18-d28": (287_326_086, 2_169_735_744),
    }
    for name, (encoder, decoder) in published.items():
        with torch.device("meta"):
            state = to_upstream(family("flextok")(OFFICIAL[name][1]))
        counts = {"encoder.": encoder, "decoder.": decoder, "vae.": 83_821_011}
        assert {part: sum(value.numel() for key, value in state.items() if key.startswith(part)) for part in counts} == counts


@pytest.mark.parametrize(
    ("name", "whole", "heads"),
    [
        ("LlamaGen VQ-16", 71_883_403, 0),
        ("LlamaGen VQ-8", 70_109_835, 0),
        ("FQGAN-Dual VQ-16", 150_410_131, 39_115_776),
        ("FQGAN-Dual VQ-8", 150_209_427, None),
        ("FQGAN-Triple VQ-16", 159_295_515, 5_575_296 + 22_062_336),
        ("FQGAN-Triple VQ-8", 159_586_331, None),
    ],
)
def test_convolutional_models_have_the_published_numbers_of_parameters(shared: Path, name: str, whole: int, heads: int | None) -> None:
    state = {key: value.numel() for key, value in listed(shared, KEYS[name]).items() if not key.endswith("codebook_used")}
    own = sum(value.numel() for value in to_upstream(from_upstream(listed(shared, KEYS[name]))).values())
    assert sum(state.values()) == whole
    assert whole - own == sum(count for key, count in state.items() if "feat_pred" in key)
    assert heads in (whole - own, None)


@pytest.mark.parametrize("name", [name for name, (kind, _) in OFFICIAL.items() if kind in ("fqgan", "llamagen_vq", "tokenflow")])
def test_what_the_training_alone_needs_is_left_out_and_told(shared: Path, name: str) -> None:
    state = listed(shared, KEYS[name])
    _, extra = build(state, recognise(state))
    assert set(extra) == state.keys() - of_the_model(state).keys()
    with pytest.raises(WeightsError, match=r"has unknown encoder\.extra"):
        from_upstream(state | {"encoder.extra": torch.empty(1, device="meta")})


@pytest.mark.parametrize(
    ("name", "tower", "teller", "decoder", "left_out"),
    [
        ("TokenFlow CLIP-B", 85_799_424, 21_440_256, 42_449_795, 0),
        ("TokenFlow CLIP-B enhanced", 85_799_424, 21_440_256, 237_117_187, 0),
        ("TokenFlow ViTamin-XL", 434_724_672, 48_154_752, 42_449_795, 0),
        ("TokenFlow SigLIP", 428_225_600, 48_699_648, 42_449_795, 428_225_600 - 397_745_440),
    ],
)
def test_the_parts_of_the_tokenflows_have_the_published_numbers_of_values(
    shared: Path, name: str, tower: int, teller: int, decoder: int, left_out: int
) -> None:
    parts = {"encoder_vqkd.": tower, "decoder_vqkd.": teller, "encoder.": 29_298_176, "decoder.": decoder, "quantize.emb": 1_310_720}
    file = listed(shared, KEYS[name])
    own = to_upstream(from_upstream(file))
    assert {part: sum(value.numel() for key, value in file.items() if key.startswith(part)) for part in parts} == parts
    parts["encoder_vqkd."] -= left_out
    assert {part: sum(value.numel() for key, value in own.items() if key.startswith(part)) for part in parts} == parts


def test_each_official_model_is_in_the_table_once_but_one_that_was_trained_on_two_data_sets() -> None:
    assert sorted(row.official or "" for row in ROWS) == sorted([*(OFFICIAL.keys() - UNPUBLISHED), "FlexTok d18-d28"])


def test_official_models_differ() -> None:
    assert [official_name(kind, config) for kind, config in OFFICIAL.values()] == list(OFFICIAL)
