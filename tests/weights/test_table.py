"""The table of published weights."""

import hashlib
import re
from pathlib import Path

import pytest

import vtok.weights
from vtok import recipes
from vtok.errors import UnknownModelError
from vtok.tokenizers.registry import ALL
from vtok.weights import DEFAULT, TABLE, Weights, load_tokenizer, names, weights
from vtok.weights.table import Bundled, Hub, Upstream, name_of

BUNDLED = [name for name, row in TABLE.items() if isinstance(row.source, Bundled)]


def folder(name: str) -> Path:
    source = TABLE[name].source
    assert isinstance(source, Bundled)
    return Path(vtok.weights.__file__).parent / source.folder


def test_the_default_is_in_the_table_and_in_the_package() -> None:
    assert isinstance(weights(DEFAULT).source, Bundled)


@pytest.mark.parametrize("name", TABLE)
def test_a_name_is_an_architecture_and_a_tag_or_one_of_our_recipes(name: str) -> None:
    assert re.fullmatch(r"[a-z0-9_]+\.[a-z0-9_]+", name) or name in recipes.names()


@pytest.mark.parametrize("row", TABLE.values(), ids=list(TABLE))
def test_a_row_names_a_family_that_exists(row: Weights) -> None:
    assert row.family in ALL


@pytest.mark.parametrize("row", TABLE.values(), ids=list(TABLE))
def test_weights_of_ours_on_the_hub_are_pinned_to_a_commit(row: Weights) -> None:
    assert not isinstance(row.source, Hub) or re.fullmatch(r"[0-9a-f]{40}", row.source.revision)


@pytest.mark.parametrize("row", [row for row in TABLE.values() if isinstance(row.source, Upstream)], ids=lambda row: row.name)
def test_weights_of_others_state_paper_figure_licence_and_terms(row: Weights) -> None:
    assert re.fullmatch(r"\d{4}\.\d{5}", row.paper or "")
    unknown = row.name == "flextok_d18_d28.dfn" or ".t2i" in row.name  # of which no figure was found
    assert ((row.gfid if row.tokenizer else row.rfid) is None) == unknown
    assert row.num_values is not None
    assert row.licence
    assert row.terms


@pytest.mark.parametrize("name", BUNDLED)
def test_bundled_tensors_are_those_of_the_table(name: str) -> None:
    data = (folder(name) / "model.safetensors").read_bytes()
    assert hashlib.sha256(data).hexdigest() == TABLE[name].sha256


@pytest.mark.parametrize("name", BUNDLED)
def test_bundled_weights_have_the_digest_of_the_table(name: str) -> None:
    assert load_tokenizer(name).code_digest == TABLE[name].digest


@pytest.mark.parametrize("name", BUNDLED)
def test_bundled_weights_are_at_most_20_mb_with_a_card(name: str) -> None:
    assert sum(path.stat().st_size for path in folder(name).iterdir()) <= 20_000_000
    assert "license:" in (folder(name) / "README.md").read_text(encoding="utf-8")


def test_a_wrong_name_brings_its_neighbours() -> None:
    with pytest.raises(UnknownModelError, match=r"no weights named 'foto64'; did you mean photo64\?"):
        weights("foto64")


def test_a_name_near_to_nothing_points_to_the_list() -> None:
    with pytest.raises(UnknownModelError, match="`vtok models`"):
        weights("zzz")


def test_names_takes_a_glob() -> None:
    assert names() == sorted(TABLE)
    assert DEFAULT in names("photo*")
    assert names("nothing*") == []


def test_digests_that_are_no_sha256_are_refused() -> None:
    with pytest.raises(ValueError, match="64 hex digits"):
        Weights("a.b", "linear", Hub("a/b", "0" * 40), "MIT", digest="00", sha256="0" * 64)


def test_weights_of_ours_have_digests() -> None:
    with pytest.raises(ValueError, match="have digests"):
        Weights("a.b", "linear", Bundled("a"), "MIT")


def test_weights_of_others_have_an_official_name() -> None:
    with pytest.raises(ValueError, match="official name"):
        Weights("a.b", "titok", Upstream("a/b", "c.bin"), "MIT")


def test_a_row_is_found_by_the_start_of_its_digest() -> None:
    assert name_of(bytes.fromhex(TABLE[DEFAULT].digest or "")[:4]) == DEFAULT
    assert name_of(b"\xde\xad\xbe\xef") is None
