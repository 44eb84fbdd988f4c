"""TokenFlow's tensors with each of its towers, and what its file does not say."""

from typing import Any

import pytest
import torch
from torch import Tensor

from tests.weights.convert.states import HINTS, random_state, state_of, tiny
from vtok.errors import WeightsError
from vtok.models.conv import ConvConfig
from vtok.models.quantizers.config import SharedIndexConfig
from vtok.models.quantizers.part_config import SharedIndexPart, VqPart
from vtok.models.semantic_decoder import SemanticDecoderConfig
from vtok.models.towers import SiglipConfig, VitaminConfig
from vtok.tokenizers.tokenflow import SCALES, TokenflowTokenizer, square_scales
from vtok.weights.convert import Hints, from_upstream, recognise, to_upstream
from vtok.weights.convert.upstream import build

HINT = HINTS["tokenflow"]
SIGLIP = "encoder_vqkd.vision_model."


def changed(**own: Any) -> TokenflowTokenizer:
    """The tiny model with other settings."""
    return TokenflowTokenizer(TokenflowTokenizer.tiny().config.model_copy(update=own))


def same(model: Any, other: Any) -> bool:
    """Whether two models code and decode alike."""
    size = model.spec.input_size
    images = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0))
    tokens, again = model.encode(images), other.encode(images)
    close = torch.allclose(model.decode(tokens), other.decode(again), atol=1e-5)
    return torch.equal(tokens.ids, again.ids) and close and torch.equal(model.semantic_features(tokens), other.semantic_features(again))


def test_a_converted_tokenizer_computes_as_the_one_it_came_from() -> None:
    model = tiny("tokenflow")
    assert same(model, from_upstream(to_upstream(model), hints=HINT))


def test_both_parts_of_a_code_are_tables_of_their_own() -> None:
    model = tiny("tokenflow")
    state = to_upstream(model)
    tables = [state[f"quantize.embedding_{part}.weight"] for part in ("vqkd", "vqgan")]
    assert [table.shape for table in tables] == [(16, 6), (16, 4)]
    assert torch.equal(torch.cat(tables, 1), model.quantizer.table.codes[0])


def test_a_file_does_not_say_its_scales() -> None:
    with pytest.raises(WeightsError, match="nobody tells the scales of a map of 4 x 4"):
        recognise(state_of("tokenflow"))


def test_a_map_of_an_official_size_has_the_official_scales() -> None:
    tower = TokenflowTokenizer.tiny().config.semantic_encoder.model_copy(update={"patch_size": 2, "side": 14})
    config: Any = TokenflowTokenizer.tiny().config.model_copy(
        update={"image_size": 28, "semantic_encoder": tower, "quantizer": square_scales(SCALES[14], tiny_table())}
    )
    found: Any = recognise(to_upstream(TokenflowTokenizer(config)), hints=Hints(heads=2)).config
    assert found.quantizer == config.quantizer
    assert found.image_size == 28


def tiny_table() -> SharedIndexPart:
    return SharedIndexPart(widths=(6, 4), codebook_size=16)


def test_with_another_decoder_the_map_is_larger_than_the_one_learned() -> None:
    larger = ConvConfig(dim=64, multiples=(1, 2, 1), num_blocks=2, z_dim=16)
    found: Any = recognise(to_upstream(changed(decoder=larger)), hints=Hints(heads=2)).config
    assert found.decoder == larger
    assert (found.image_size, found.side, found.semantic_encoder.side) == (64, 16, 4)
    assert found.quantizer.sizes == tuple((side, side) for side in SCALES[16])


@pytest.mark.parametrize(
    ("quantizer", "kind"),
    [
        (square_scales((1, 4), SharedIndexPart(widths=(6, 4), codebook_size=16, weights=(1.0, 2.0))), "multiscale_stagewise"),
        (square_scales((1, 4), SharedIndexPart(widths=(6, 2, 2), codebook_size=16)), "multiscale_stagewise"),
        (square_scales((1, 4), VqPart(dim=10, codebook_size=16)), "multiscale_stagewise"),  # type: ignore[arg-type]
        (SharedIndexConfig(num_tokens=16, widths=(6, 4), codebook_size=16), "shared_index"),
    ],
)
def test_a_quantizer_that_upstream_does_not_have_has_no_way_back(quantizer: Any, kind: str) -> None:
    with pytest.raises(WeightsError, match=f"the family tokenflow with this quantizer, {kind}"):
        to_upstream(changed(quantizer=quantizer))


def siglip() -> TokenflowTokenizer:
    """Of 5 patches a side and a rest of 2 pixels."""
    pytest.importorskip("transformers", reason="needs the extra `models`")
    tower = SiglipConfig(dim=24, depth=2, heads=2, hidden=20, patch_size=4)
    return on_tower(tower, 22, 5)


def vitamin() -> TokenflowTokenizer:
    pytest.importorskip("timm", reason="needs the extra `models`")
    return on_tower(VitaminConfig(name="vitamin_small_224"), 32, 2)


def on_tower(tower: Any, image_size: int, side: int) -> TokenflowTokenizer:
    scales = square_scales((1, side), tiny_table())
    teller = SemanticDecoderConfig(dim=24, depth=1, heads=2, side=side, out_dim=8)
    return changed(semantic_encoder=tower, image_size=image_size, semantic_decoder=teller, quantizer=scales).eval()


def with_last_block(state: dict[str, Tensor], depth: int) -> dict[str, Tensor]:
    """A SigLIP whole, as upstream stores it."""
    last = {name: value for name, value in state.items() if name.startswith(f"{SIGLIP}encoder.layers.{depth - 1}.")}
    beyond = {name.replace(f".layers.{depth - 1}.", f".layers.{depth}."): value for name, value in last.items()}
    ends = {f"{SIGLIP}post_layernorm.weight": torch.ones(24), f"{SIGLIP}head.probe": torch.ones(1, 1, 24)}
    constants = {f"scaling_layer.{name}": torch.full((1, 3, 1, 1), 0.5) for name in ("shift", "scale")}
    return state | beyond | ends | constants | {"quantize.codebook_used": torch.zeros(131072)}


def test_of_a_siglip_the_blocks_that_are_used_are_kept() -> None:
    model = siglip()
    state = with_last_block(to_upstream(model), 2)
    found = recognise(state, hints=Hints(heads=2, scales=(1, 5)))
    config: Any = found.config
    assert config == model.config.model_copy(update={"image_size": 20})  # the rest is in no tensor
    back, extra = build(state, found)
    assert set(extra) == state.keys() - to_upstream(model).keys()
    assert all(torch.equal(value, back.state_dict()[name]) for name, value in model.state_dict().items())


def test_a_siglip_that_was_made_without_values_computes() -> None:
    model = siglip()
    whole = with_last_block(random_state(model), 2)
    back: Any = from_upstream(whole, hints=Hints(heads=2, scales=(1, 5)))
    images = torch.rand(1, 3, 20, 20)
    assert bool(back.decode(back.encode(images)).isfinite().all())
    assert not any(value.is_meta for value in back.buffers())


def test_a_vitamin_keeps_the_names_of_the_library() -> None:
    model: Any = vitamin()
    state = to_upstream(model)
    own = {f"encoder_vqkd.{name}" for name in model.semantic_encoder.model.state_dict()}
    assert own == {name for name in state if name.startswith("encoder_vqkd.")}
    assert recognise(state, hints=Hints(heads=2, scales=(1, 2))).config.semantic_encoder == VitaminConfig()  # type: ignore[attr-defined]
