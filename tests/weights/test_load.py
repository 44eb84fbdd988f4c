"""`vtok.load`: names, folders, hub ids."""

import hashlib
from pathlib import Path

import pytest

from tests.weights.hub_server import HubServer
from vtok.errors import ConfigError, UnknownModelError, UnsupportedError, WeightsError
from vtok.tokenizers.base import Tokenizer
from vtok.tokenizers.titok_vae import TitokVae
from vtok.weights import DEFAULT, TABLE, Weights, load, load_by_digest, load_tokenizer
from vtok.weights.table import Bundled, Hub


def test_none_is_the_default() -> None:
    assert load_tokenizer().code_digest == load_tokenizer(DEFAULT).code_digest


def test_a_folder_loads_by_string_and_by_path(model: Tokenizer, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path / "mine")
    assert load(tmp_path / "mine").spec == load(str(tmp_path / "mine")).spec == model.spec


def test_a_folder_named_like_a_hub_id_wins(hub: HubServer, model: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "somebody").mkdir()
    model.save_pretrained(tmp_path / "somebody" / "tiny")
    monkeypatch.chdir(tmp_path)
    assert load("somebody/tiny").spec == model.spec
    assert hub.requests == []


def test_a_name_of_the_table_wins_over_a_folder(model: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model.save_pretrained(tmp_path / DEFAULT)
    monkeypatch.chdir(tmp_path)
    assert load(f"./{DEFAULT}").spec == model.spec
    assert load(DEFAULT).spec != model.spec


@pytest.mark.parametrize("name", ["nothing", "./nothing", "a/b/c", "~/no-such-folder-of-vtok", "~nobody-at-all/x"])
def test_a_name_that_is_nothing_says_what_is_possible(name: str) -> None:
    with pytest.raises(UnknownModelError, match=r"folder.*organisation/name|organisation/name.*folder") as error:
        load(name)
    assert name in str(error.value)
    assert "vtok models" in str(error.value)


def test_a_path_is_never_a_hub_id(hub: HubServer) -> None:
    with pytest.raises(UnknownModelError, match="no such file or folder"):
        load(Path("somebody/tiny"))
    assert hub.requests == []


def test_a_file_of_a_model_folder_is_refused(model: Tokenizer, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path / "mine")
    with pytest.raises(WeightsError, match="mine: is a vtok model already; give that folder"):
        load(tmp_path / "mine" / "model.safetensors")


def test_a_file_that_holds_no_weights_is_refused(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").touch()
    with pytest.raises(WeightsError, match=r"photo\.jpg: no file of weights"):
        load(tmp_path / "photo.jpg")


def test_an_empty_folder_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"config\.json: not found"):
        load(tmp_path)


def test_a_wrong_key_is_named_with_its_file(model: Tokenizer, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path / "mine")
    config = tmp_path / "mine" / "config.json"
    config.write_text(config.read_text(encoding="utf-8").replace('"tile_size"', '"tile_sise"'), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"config\.json: .*tile_si[sz]e"):
        load(tmp_path / "mine")


def row(model: Tokenizer, source: Bundled | Hub, sha256: str = "0" * 64) -> Weights:
    return Weights("tiny.tests", "linear", source, "MIT", digest=model.code_digest, sha256=sha256)


def test_a_row_of_the_hub_loads_at_its_commit(hub: HubServer, model: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model.save_pretrained(tmp_path / "mine")
    files = {path.name: path.read_bytes() for path in (tmp_path / "mine").iterdir()}
    commit = hub.publish("somebody/tiny", files)
    hub.publish("somebody/tiny", {"config.json": b"{}"})
    checksum = hashlib.sha256(files["model.safetensors"]).hexdigest()
    monkeypatch.setitem(TABLE, "tiny.tests", row(model, Hub("somebody/tiny", commit), checksum))
    assert load("tiny.tests").spec == model.spec


def test_a_download_with_another_checksum_is_refused(
    hub: HubServer, model: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model.save_pretrained(tmp_path / "mine")
    commit = hub.publish("somebody/tiny", {path.name: path.read_bytes() for path in (tmp_path / "mine").iterdir()})
    monkeypatch.setitem(TABLE, "tiny.tests", row(model, Hub("somebody/tiny", commit)))
    with pytest.raises(WeightsError, match=r"SHA-256 is [0-9a-f]{12}\.\.\., expected 0{12}\.\.\.; delete the file"):
        load("tiny.tests")


def test_bundled_weights_are_found_by_the_start_of_their_digest(model: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model.save_pretrained(tmp_path / "mine")
    monkeypatch.setitem(TABLE, "tiny.tests", row(model, Bundled(str(tmp_path / "mine"))))
    found = load_by_digest(bytes.fromhex(model.code_digest)[:4])
    assert found is not None
    assert found.spec == model.spec


def test_an_unknown_digest_finds_nothing() -> None:
    assert load_by_digest(b"\xde\xad\xbe\xef") is None


def test_an_empty_digest_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="empty digest"):
        load_by_digest(b"")


def test_a_continuous_tokenizer_loads(tmp_path: Path) -> None:
    TitokVae.tiny().save_pretrained(tmp_path / "vae")
    assert isinstance(load(tmp_path / "vae"), TitokVae)


def test_those_who_need_tokens_refuse_a_continuous_one(tmp_path: Path) -> None:
    TitokVae.tiny().save_pretrained(tmp_path / "vae")
    with pytest.raises(UnsupportedError, match=r"vae is continuous \(family titok_vae\): it has no tokens to store"):
        load_tokenizer(tmp_path / "vae")


def test_those_who_need_tokens_get_the_default_too() -> None:
    assert load_tokenizer().code_digest == TABLE[DEFAULT].digest
