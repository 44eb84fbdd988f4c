"""Tokenizers with a token for each square: pictures of other sizes, quantizers and branches other than the published ones."""

from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from tests.quantizer_kinds import KINDS
from vtok.errors import ConfigError, UnsupportedError, WeightsError
from vtok.models.quantizers.part_config import VqPart
from vtok.tokenizers.base import Tokenizer
from vtok.tokenizers.fqgan import BranchConfig, FqganConfig, FqganTokenizer
from vtok.tokenizers.llamagen_vq import LlamagenVq
from vtok.tokenizers.maskgit_vqgan import MaskgitVqgan
from vtok.tokenizers.titok import scattered
from vtok.weights.convert import Hints, from_upstream, to_upstream

COMPOSITES = ("residual", "factorized", "shared_index", "cascade", "multiscale")
PARTS = {  # of single latents, which rasters take
    name: {key: value for key, value in own.items() if key not in ("num_tokens", "shared")}
    for name, own in KINDS.items()
    if not name.startswith(COMPOSITES)
}
any_size = pytest.mark.parametrize("made", [LlamagenVq, MaskgitVqgan], ids=["llamagen_vq", "maskgit_vqgan"])


def pictures(height: int, width: int, seed: int = 0) -> Tensor:
    return torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(seed))


def built(made: Any, **changes: Any) -> Any:
    config = made.Config.model_validate(made.tiny().config.model_dump() | changes)
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        return scattered(made(config))


@any_size
def test_a_picture_of_another_size_has_a_raster_of_its_own(made: Any) -> None:
    model = made.tiny()
    tokens = model.encode(pictures(12, 20))
    assert tokens.spec == model.spec_for(12, 20)
    assert (tokens.spec.grid, tokens.spec.max_tokens) == ((3, 5), 15)
    assert model.decode(tokens).shape == (2, 3, 12, 20)


@any_size
@pytest.mark.parametrize("size", [(10, 16), (16, 10), (0, 16), (4100, 16)])
def test_pictures_that_are_no_whole_squares_are_refused(made: Any, size: tuple[int, int]) -> None:
    with pytest.raises(UnsupportedError, match="multiples of 4 pixels up to 4096, 16 x 16 as a tile"):
        made.tiny().spec_for(*size)


@pytest.mark.parametrize("made", [LlamagenVq, MaskgitVqgan, FqganTokenizer], ids=lambda made: made.family)
def test_a_tile_that_is_no_whole_number_of_squares_is_refused(made: Any) -> None:
    with pytest.raises(ConfigError, match="image_size 18 is not a multiple of the 4 pixels of a token"):
        built(made, image_size=18)


def test_adapters_take_the_size_whose_positions_they_have_learned() -> None:
    with pytest.raises(UnsupportedError, match="fqgan takes 16 x 16 pixels, not 32 x 32"):
        FqganTokenizer.tiny().encode(pictures(32, 32))


def test_tokens_are_row_by_row() -> None:
    model, images = LlamagenVq.tiny(), pictures(16, 16)
    latents = model.latents(images)
    torch.testing.assert_close(latents[:, 4 * 2 + 3], model.encode_map(images)[:, :, 2, 3])


def test_sub_tokens_are_in_the_order_of_the_branches() -> None:
    model, images = FqganTokenizer.tiny(), pictures(16, 16)
    maps = model.encoder(2 * images - 1)
    ids = [part(branch(maps).flatten(2).mT).ids for branch, part in zip(model.branches, model.quantizer.parts, strict=True)]
    assert model.spec.codebook_sizes == (16, 8)
    assert torch.equal(model.encode(images).ids, torch.cat(ids, 2))


@pytest.mark.parametrize("made", [LlamagenVq, FqganTokenizer], ids=lambda made: made.family)
@pytest.mark.parametrize("kind", PARTS)
@torch.no_grad()
def test_a_model_with_any_quantizer_is_saved_loaded_and_codes_as_before(made: Any, kind: str, tmp_path: Path) -> None:
    if kind == "library":
        pytest.importorskip("vector_quantize_pytorch", reason="needs the extra `train`")
    branches = [{"name": "one", "depth": 1, "heads": 2, "quantizer": PARTS[kind]}, {"name": "two", "depth": 0, "heads": 2}]
    model = built(made, **({"quantizer": PARTS[kind]} if made is LlamagenVq else {"branches": branches}))
    model.save_pretrained(tmp_path / "model")
    loaded = Tokenizer.from_pretrained(tmp_path / "model")
    assert (loaded.spec, loaded.code_digest) == (model.spec, model.code_digest)
    tokens = model.encode(pictures(16, 16))
    assert tokens.ids.shape == (2, 16, len(model.spec.codebook_sizes))
    assert torch.equal(loaded.encode(pictures(16, 16)).ids, tokens.ids)
    assert torch.equal(loaded.decode(tokens), model.decode(tokens))
    if kind != "spherical_vq":
        with pytest.raises(WeightsError, match="with this quantizer"):
            to_upstream(model)


@torch.no_grad()
def test_codes_that_nothing_was_learned_of_mean_what_the_head_says() -> None:
    own = {"quantizer": PARTS["lfq"]}
    plain, branched = built(LlamagenVq, **own), built(FqganTokenizer, branches=[{"name": "one", "heads": 2, "depth": 1} | own])
    for model, head in ((plain, plain.head), (branched, branched.branches[0].head)):
        before = model.code_digest
        head.project.weight += 1
        assert model.code_digest != before


def test_training_begins_with_codes_of_length_1() -> None:
    model = FqganTokenizer(FqganTokenizer.tiny().config)
    for table in model.quantizer.learned_tables():
        torch.testing.assert_close(table.codes.norm(dim=-1), torch.ones(table.codes.shape[:2]))


@pytest.mark.parametrize("made", [LlamagenVq, FqganTokenizer], ids=lambda made: made.family)
def test_blocks_computed_again_give_the_same_gradients(made: Any) -> None:
    found = []
    for again in (False, True):
        model = made.tiny().train()
        model.set_gradient_checkpointing(again)
        model.decode_map(model.encode_map(pictures(16, 16))).square().mean().backward()
        found.append([parameter.grad for parameter in model.parameters()])
    torch.testing.assert_close(found[1], found[0])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"branches": [{"name": "vis", "heads": 2}, {"name": "vis", "heads": 2}]}, "branches have names of their own, got vis, vis"),
        ({"branches": [{"name": "vis", "heads": 3}]}, "3 heads of the branch vis do not divide the 32 channels"),
        ({"branches": [{"name": "Vis"}]}, "branches.0.name"),
        ({"branches": []}, "branches"),
        (
            {"branches": [{"name": "vis", "heads": 2, "quantizer": {"kind": "vq", "dim": 4096, "codebook_size": 2**20}}]},
            "tables would take",
        ),
        ({"dim": 2048, "multiples": (1,), "branches": [{"name": "vis", "depth": 128}]}, "adapters would have"),
        ({"branches": [{"name": "vis", "quantizer": KINDS["residual"]}]}, "does not match any of the expected tags"),
    ],
)
def test_branches_that_are_none_are_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        FqganConfig.model_validate(FqganTokenizer.tiny().config.model_dump() | changes)


def test_a_table_without_bounds_is_refused() -> None:
    with pytest.raises(ValidationError, match="the table would take"):
        LlamagenVq.Config.model_validate({"quantizer": {"kind": "vq", "dim": 4096, "codebook_size": 2**20}})


def test_upstream_has_two_or_three_branches() -> None:
    part = VqPart(kind="spherical_vq", dim=4, codebook_size=16)
    alone = (BranchConfig(name="vis", depth=1, heads=2, quantizer=part),)
    with pytest.raises(WeightsError, match="has 1 branches, upstream's models have 2 or 3"):
        to_upstream(built(FqganTokenizer, branches=alone))
    names = ("vis", "sem_mid", "sem_high")
    three = built(FqganTokenizer, branches=tuple(alone[0].model_copy(update={"name": name}) for name in names))
    back = from_upstream(to_upstream(three), hints=Hints(heads=2))
    assert back.config == three.config
    assert all(torch.equal(value, three.state_dict()[name]) for name, value in back.state_dict().items())
