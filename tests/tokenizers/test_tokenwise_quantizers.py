"""The families whose tokens are vectors one by one, with quantizers other than those they were published with."""

from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import BaseModel, ValidationError

from tests.quantizer_kinds import KINDS
from vtok.errors import WeightsError
from vtok.tokenizers.base import Tokenizer
from vtok.tokenizers.flextok import FlextokTokenizer
from vtok.tokenizers.one_d_piece import OneDPiece
from vtok.tokenizers.tatitok import TaTitok
from vtok.tokenizers.titok import PixelTitok, Titok, scattered
from vtok.weights.convert.upstream import to_upstream

TOKENWISE = [kind for kind in KINDS if kind not in ("cascade", "multiscale", "multiscale_stagewise")]
FAMILIES: list[Any] = [PixelTitok, Titok, OneDPiece, TaTitok, FlextokTokenizer]
every_kind = pytest.mark.parametrize("kind", TOKENWISE)
every_family = pytest.mark.parametrize("made", FAMILIES, ids=[family.family for family in FAMILIES])


def with_quantizer(made: Any, kind: str) -> Any:
    if kind == "library":
        pytest.importorskip("vector_quantize_pytorch", reason="needs the extra `train`")
    tiny: BaseModel = made.tiny().config
    config = made.Config.model_validate(tiny.model_dump() | {"quantizer": KINDS[kind]})
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        return scattered(made(config))


@every_family
@every_kind
@torch.no_grad()
def test_a_model_is_saved_loaded_and_codes_as_before(made: Any, kind: str, tmp_path: Path) -> None:
    model = with_quantizer(made, kind)
    model.save_pretrained(tmp_path / "model")
    loaded = Tokenizer.from_pretrained(tmp_path / "model")
    assert (loaded.spec, loaded.code_digest) == (model.spec, model.code_digest)
    height, width = model.spec.input_size
    images = torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(0))
    tokens = model.encode(images)
    assert tokens.ids.shape == (2, 4, len(model.spec.codebook_sizes))
    assert torch.equal(loaded.encode(images).ids, tokens.ids)
    assert torch.equal(loaded.decode(tokens), model.decode(tokens))


@every_family
@torch.no_grad()
def test_codes_that_nothing_was_learned_of_mean_what_the_encoder_says(made: Any) -> None:
    model = with_quantizer(made, "lfq")
    before = model.code_digest
    model.encoder.head.weight += 1
    assert model.code_digest != before


@every_family
def test_upstream_has_no_such_model(made: Any) -> None:
    with pytest.raises(WeightsError, match="with this quantizer, simvq"):
        to_upstream(with_quantizer(made, "simvq"))


@every_family
@pytest.mark.parametrize("kind", ["cascade", "multiscale"])
def test_strings_of_scales_are_refused(made: Any, kind: str) -> None:
    with pytest.raises(ValidationError, match="quantizer"):
        made.Config.model_validate(made.tiny().config.model_dump() | {"quantizer": KINDS[kind]})
