"""Fixtures for models in folders and on the hub."""

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import close_session, constants

from tests.weights.hub_server import HubServer
from vtok.tokenizers.base import Tokenizer
from vtok.tokenizers.linear import LinearTokenizer


@pytest.fixture
def model() -> Tokenizer:
    """A tiny model of the first family."""
    return LinearTokenizer.tiny()


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[HubServer]:
    """A hub on this machine, an empty cache, and a user who is logged in."""
    with HubServer() as server:
        _point_to(server.url, monkeypatch, tmp_path)
        yield server
        close_session()


@pytest.fixture
def closed_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """A hub whose port refuses connections, and an empty cache; nobody waits between attempts."""
    monkeypatch.setattr(time, "sleep", lambda *_: None)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, not listening
        _point_to(f"http://127.0.0.1:{taken.getsockname()[1]}", monkeypatch, tmp_path)
        yield
        close_session()


def _point_to(url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_TOKEN", "hf_of_the_tests")
    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    close_session()
