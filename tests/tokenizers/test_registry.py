"""The registry of families."""

import subprocess
import sys

import pytest

from vtok.errors import UnknownModelError
from vtok.tokenizers.base import Tokenizer
from vtok.tokenizers.latents import LatentTokenizer
from vtok.tokenizers.registry import FAMILIES, PREFIX_FAMILIES, family


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_is_a_tokenizer_that_knows_its_name(name: str) -> None:
    found = family(name)
    assert issubclass(found, Tokenizer | LatentTokenizer)
    assert found.family == name


def test_the_families_with_prefixes_are_those_that_are_named_as_such() -> None:
    tokenizers = [found for name in FAMILIES if issubclass(found := family(name), Tokenizer)]
    nested = {own.family for own in tokenizers if own.tiny().spec.nested}
    assert {name.removesuffix("_proxy") for name in nested} == set(PREFIX_FAMILIES)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_configuration_is_frozen_and_forbids_unknown_keys(name: str) -> None:
    config = family(name).Config.model_config
    assert config.get("frozen") is True
    assert config.get("extra") == "forbid"


def test_an_unknown_family_brings_its_neighbours() -> None:
    with pytest.raises(UnknownModelError, match="no family named 'linnear'; did you mean linear"):
        family("linnear")


@pytest.mark.parametrize("name", ["os:system", "vtok.tokenizers.linear:LinearTokenizer", "../linear", ""])
def test_a_name_from_a_file_is_never_imported(name: str) -> None:
    with pytest.raises(UnknownModelError):
        family(name)


def test_listing_the_families_imports_no_torch() -> None:
    code = "import sys, vtok.tokenizers.registry; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
