"""Models go to the hub and come back; what goes wrong on the way is one line."""

from pathlib import Path

import pytest
import torch
from huggingface_hub import constants

from tests.weights.hub_server import HubServer
from vtok.errors import UnknownModelError, VtokError, WeightsError
from vtok.tokenizers.base import Tokenizer
from vtok.weights import load, load_tokenizer

REPO = "somebody/tiny"


def files_of(model: Tokenizer, folder: Path) -> dict[str, bytes]:
    model.save_pretrained(folder)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def same(one: Tokenizer, other: Tokenizer) -> bool:
    stored = one.state_dict()
    return all(torch.equal(stored[name], value) for name, value in other.state_dict().items())


def one_line(error: pytest.ExceptionInfo[VtokError]) -> str:
    text = str(error.value)
    assert "\n" not in text
    return text


def test_a_pushed_model_comes_back_equal(hub: HubServer, model: Tokenizer) -> None:
    address = model.push_to_hub(REPO)
    assert address.startswith(f"{hub.url}/{REPO}/commit/")
    assert same(model, Tokenizer.from_pretrained(REPO))
    assert same(model, load_tokenizer(REPO))


def test_a_pushed_folder_is_a_model_folder(hub: HubServer, model: Tokenizer) -> None:
    model.push_to_hub(REPO)
    files = list(hub.repositories[REPO].commits.values())[-1]
    assert {"config.json", "model.safetensors", "README.md"} <= files.keys()
    assert b"# tiny\n" in files["README.md"]


def test_a_private_push_makes_a_private_repository(hub: HubServer, model: Tokenizer) -> None:
    model.push_to_hub(REPO, private=True)
    assert hub.repositories[REPO].private


def test_pushing_again_keeps_the_card_on_the_hub(hub: HubServer, model: Tokenizer) -> None:
    hub.publish(REPO, {"README.md": b"written by hand"})
    model.push_to_hub(REPO)
    assert list(hub.repositories[REPO].commits.values())[-1]["README.md"] == b"written by hand"


def test_a_card_that_is_given_replaces_the_one_on_the_hub(hub: HubServer, model: Tokenizer) -> None:
    hub.publish(REPO, {"README.md": b"written by hand"})
    model.push_to_hub(REPO, card="newer")
    assert list(hub.repositories[REPO].commits.values())[-1]["README.md"] == b"newer"


def test_a_revision_picks_an_older_commit(hub: HubServer, model: Tokenizer, tmp_path: Path) -> None:
    commit = hub.publish(REPO, files_of(model, tmp_path / "model"))
    hub.publish(REPO, {"config.json": b"{}"})
    assert same(model, Tokenizer.from_pretrained(REPO, revision=commit))
    with pytest.raises(WeightsError, match="not the configuration of a vtok model"):
        Tokenizer.from_pretrained(REPO)


def test_the_cache_alone_serves_a_model_fetched_before(hub: HubServer, model: Tokenizer, tmp_path: Path) -> None:
    hub.publish(REPO, files_of(model, tmp_path / "model"))
    Tokenizer.from_pretrained(REPO)
    hub.requests.clear()
    assert same(model, Tokenizer.from_pretrained(REPO, local_files_only=True))
    assert hub.requests == []


def test_a_cache_of_ones_own_is_used(hub: HubServer, model: Tokenizer, tmp_path: Path) -> None:
    hub.publish(REPO, files_of(model, tmp_path / "model"))
    Tokenizer.from_pretrained(REPO, cache_dir=tmp_path / "mine")
    assert (tmp_path / "mine").is_dir()
    assert not Path(constants.HF_HUB_CACHE).exists()


def test_an_empty_cache_alone_is_one_line(hub: HubServer) -> None:
    with pytest.raises(WeightsError, match="not in the local cache") as error:
        Tokenizer.from_pretrained(REPO, local_files_only=True)
    assert "local folder" in one_line(error)
    assert hub.requests == []


@pytest.mark.usefixtures("closed_network")
def test_a_closed_network_is_one_line_that_says_what_to_do() -> None:
    with pytest.raises(WeightsError, match="the hub cannot be reached") as error:
        Tokenizer.from_pretrained(REPO)
    assert "HF_HUB_OFFLINE" in one_line(error)
    assert "local folder" in one_line(error)


@pytest.mark.usefixtures("closed_network")
def test_pushing_to_a_closed_network_is_one_line(model: Tokenizer) -> None:
    with pytest.raises(WeightsError, match=REPO) as error:
        model.push_to_hub(REPO)
    one_line(error)


def test_offline_mode_is_one_line(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(WeightsError, match="unset HF_HUB_OFFLINE") as error:
        Tokenizer.from_pretrained(REPO)
    one_line(error)
    assert hub.requests == []


@pytest.mark.usefixtures("hub")
def test_a_model_that_is_not_on_the_hub_is_one_line() -> None:
    with pytest.raises(UnknownModelError, match="somebody/tiny: not on the hub, or private") as error:
        load(REPO)
    one_line(error)


def test_a_revision_that_is_not_there_is_named(hub: HubServer, model: Tokenizer, tmp_path: Path) -> None:
    hub.publish(REPO, files_of(model, tmp_path / "model"))
    with pytest.raises(UnknownModelError, match="no revision 'v9'"):
        load(REPO, revision="v9")


def test_a_repository_without_tensors_is_named(hub: HubServer, model: Tokenizer, tmp_path: Path) -> None:
    files = files_of(model, tmp_path / "model")
    hub.publish(REPO, {"config.json": files["config.json"]})
    with pytest.raises(WeightsError, match=r"model\.safetensors: not found"):
        load(REPO)
