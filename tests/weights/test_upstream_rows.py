"""Rows of upstream's weights: one file is downloaded, compared with what the hub states of it, and converted."""

import hashlib
import io
import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import save
from torch import Tensor

from tests.weights.convert import flextok_states
from tests.weights.convert.states import state_of, tree_of
from tests.weights.hub_server import HubServer
from vtok.errors import UnknownModelError, VtokError, WeightsError
from vtok.tokenizers.flextok import FlextokTokenizer
from vtok.weights import TABLE, Weights, load
from vtok.weights.convert import recognise, to_upstream
from vtok.weights.convert.official import OFFICIAL
from vtok.weights.table import Upstream

REPO, FILE = "somebody/tokenizers", "tiny.bin"
Row = Callable[..., Weights]


def bytes_of(state: dict[str, Tensor]) -> bytes:
    data = io.BytesIO()
    torch.save(state, data)
    return data.getvalue()


STATE = state_of("titok")
DATA = bytes_of(STATE)


@pytest.fixture(autouse=True)
def row(monkeypatch: pytest.MonkeyPatch) -> Row:
    """Puts `tiny.tests` into the table, whose official model has tiny sizes; what it is can be changed."""
    monkeypatch.setitem(OFFICIAL, "Tiny", ("titok", recognise(STATE).config))

    def put(source: Upstream = Upstream(REPO, FILE), sha256: str | None = None) -> Weights:  # noqa: B008 - frozen
        made = Weights("tiny.tests", "titok", source, "MIT", sha256=sha256, official="Tiny")
        monkeypatch.setitem(TABLE, "tiny.tests", made)
        return made

    put()
    return put


def loads() -> bool:
    """Load the row; whether what came is what the file holds."""
    own = to_upstream(load("tiny.tests"))
    return all(torch.equal(own[name], value) for name, value in STATE.items())


def one_line(error: pytest.ExceptionInfo[VtokError]) -> str:
    text = str(error.value)
    assert "\n" not in text
    return text


def downloads(hub: HubServer) -> int:
    return sum(request.startswith("GET") for request in hub.requests)


def downloads_of(hub: HubServer, file: str) -> int:
    return sum(request.startswith("GET") and request.endswith(file) for request in hub.requests)


def blob() -> Path:
    """Where the cache keeps the file."""
    (found,) = Path(constants.HF_HUB_CACHE).glob(f"*/blobs/{hashlib.sha256(DATA).hexdigest()}")
    return found


def test_one_file_is_downloaded_and_converted(hub: HubServer) -> None:
    hub.publish(REPO, {FILE: DATA, "config.json": b"{}", "another.bin": b"large"})
    assert loads()
    assert hub.requests == [f"{method} /{REPO}/resolve/main/{FILE}" for method in ("HEAD", "GET")]


def test_the_second_time_it_comes_from_the_cache(hub: HubServer) -> None:
    hub.publish(REPO, {FILE: DATA})
    assert loads()
    assert loads()
    assert downloads(hub) == 1


def test_without_a_network_the_cache_serves(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.publish(REPO, {FILE: DATA})
    assert loads()
    hub.requests.clear()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert loads()
    assert hub.requests == []


def test_a_revision_picks_its_commit(hub: HubServer, row: Row) -> None:
    commit = hub.publish(REPO, {FILE: DATA})
    hub.publish(REPO, {FILE: b"newer"})
    row(Upstream(REPO, FILE, commit))
    assert loads()


def test_a_download_that_breaks_off_goes_on_where_it_was(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda *_: None)
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1000)
    hub.publish(REPO, {FILE: DATA})
    hub.cuts += [10_000, 20_000]
    assert loads()
    assert downloads(hub) == 3
    assert hub.starts == [0, 10_000, 30_000]


@pytest.mark.usefixtures("closed_network")
def test_a_closed_network_says_how_a_copy_works() -> None:
    with pytest.raises(WeightsError, match="the hub cannot be reached") as error:
        load("tiny.tests")
    text = one_line(error)
    for words in (REPO, FILE, "HF_HUB_OFFLINE", "vtok convert FILE -o DIR", "--model DIR"):
        assert words in text


def test_offline_mode_says_how_a_copy_works(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(WeightsError, match="unset HF_HUB_OFFLINE") as error:
        load("tiny.tests")
    assert "vtok convert FILE" in one_line(error)
    assert hub.requests == []


def test_a_file_that_is_not_there_is_named(hub: HubServer) -> None:
    hub.publish(REPO, {"another.bin": DATA})
    with pytest.raises(WeightsError, match=r"somebody/tokenizers: has no file tiny\.bin at main") as error:
        load("tiny.tests")
    one_line(error)


@pytest.mark.usefixtures("hub")
def test_a_repository_that_is_not_there_is_named() -> None:
    with pytest.raises(UnknownModelError, match="somebody/tokenizers: not on the hub, or private") as error:
        load("tiny.tests")
    one_line(error)


@pytest.mark.parametrize("spoil", [lambda data: data[:-100], lambda data: data[:5000] + b"!" + data[5001:]], ids=["cut", "changed"])
def test_a_damaged_file_in_the_cache_is_found_and_can_be_fetched_anew(hub: HubServer, spoil: Callable[[bytes], bytes]) -> None:
    hub.publish(REPO, {FILE: DATA})
    assert loads()
    blob().write_bytes(spoil(DATA))
    with pytest.raises(WeightsError, match="SHA-256 is") as error:
        load("tiny.tests")
    assert one_line(error).startswith(f"{blob()}: damaged")
    assert "delete the file and load again" in str(error.value)
    blob().unlink()
    assert loads()


def test_the_checksum_of_a_row_is_compared_too(hub: HubServer, row: Row) -> None:
    hub.publish(REPO, {FILE: DATA})
    row(sha256=hashlib.sha256(DATA).hexdigest())
    assert loads()
    row(sha256="0" * 64)
    with pytest.raises(WeightsError, match="expected 000000000000"):
        load("tiny.tests")


def test_another_model_under_that_name_is_refused(hub: HubServer) -> None:
    hub.publish(REPO, {FILE: bytes_of(state_of("titok_pixel"))})
    with pytest.raises(WeightsError, match=r"is titok_pixel of no official size, tiny\.tests should be Tiny") as error:
        load("tiny.tests")
    one_line(error)


def test_a_copy_works_by_its_path(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(DATA)
    own = to_upstream(load(tmp_path / FILE))
    assert all(torch.equal(own[name], value) for name, value in STATE.items())


@pytest.fixture
def flextok(monkeypatch: pytest.MonkeyPatch) -> bytes:
    """Puts `flextok.tests` into the table, whose configuration may lie beside it; the bytes of its file."""
    monkeypatch.setitem(OFFICIAL, "Flex", ("flextok", flextok_states.CONFIG))
    source = Upstream("somebody/flextok", "model.safetensors", configured=True)
    monkeypatch.setitem(TABLE, "flextok.tests", Weights("flextok.tests", "flextok", source, "MIT", official="Flex"))
    other = flextok_states.tree_of(**{flextok_states.decoder_module("time_embedder__max_timestep"): 2.0})
    return save(flextok_states.small(), flextok_states.header_of(other))


def max_time(name: str) -> float:
    model = load(name)
    assert isinstance(model, FlextokTokenizer)
    return model.config.max_time


def test_a_configuration_comes_with_the_file(hub: HubServer, flextok: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    config = json.dumps({"config": flextok_states.tree_of()}).encode()
    hub.publish("somebody/flextok", {"model.safetensors": flextok, "config.json": config, "another.bin": b"large"})
    assert max_time("flextok.tests") == 1000.0
    assert "another.bin" not in "".join(hub.requests)
    assert downloads_of(hub, "model.safetensors") == 1
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert max_time("flextok.tests") == 1000.0


def test_a_repository_without_a_configuration_has_it_in_the_header(hub: HubServer, flextok: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.publish("somebody/flextok", {"model.safetensors": flextok})
    assert max_time("flextok.tests") == 2.0
    assert max_time("somebody/flextok") == 2.0
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert max_time("flextok.tests") == 2.0


def test_a_configuration_of_another_commit_is_not_taken(hub: HubServer, flextok: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = hub.publish("somebody/flextok", {"model.safetensors": flextok})
    hub.publish("somebody/flextok", {"config.json": json.dumps(flextok_states.tree_of()).encode()})
    source = Upstream("somebody/flextok", "model.safetensors", commit, configured=True)
    monkeypatch.setitem(TABLE, "flextok.tests", Weights("flextok.tests", "flextok", source, "MIT", official="Flex"))
    assert max_time("flextok.tests") == 2.0


def test_a_repository_with_upstreams_configuration_works_by_its_id(hub: HubServer) -> None:
    hub.publish(REPO, {"model.safetensors": save(state_of("titok_pixel")), "config.json": json.dumps(tree_of()).encode()})
    assert load(REPO).family == "titok_pixel"
