"""Saving and loading of models as folders and on the hub, with the names and habits of the Hugging Face ecosystem."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import BaseModel
from torch import Tensor, nn

from vtok.data.atomic import atomic_folder
from vtok.data.files import expand_home
from vtok.errors import ConfigError, WeightsError
from vtok.models.int8 import Int8
from vtok.tokenizers.card import model_card
from vtok.tokenizers.folder import CARD_FILE, CONFIG_FILE, TENSOR_FILE, parse_config, read_config, read_tensors, write_config, write_tensors
from vtok.tokenizers.hub import fetch, has_card, is_hub_id, push
from vtok.tokenizers.registry import ALL, family


class Pretrained(nn.Module):
    """A model that is a folder: `config.json`, `model.safetensors`, `README.md` (its card).

    A class sets `family`, the name under which `families` lists it, and `Config`, a frozen pydantic model that forbids unknown keys; it is
    built by `cls(config)` and keeps `config`.
    """

    family: ClassVar[str]
    families: ClassVar[Mapping[str, str]] = ALL
    Config: ClassVar[type[BaseModel]]
    config: Any

    def stored_state(self) -> Mapping[str, Tensor | Int8]:
        """Tensors as written to the file, with the names and shapes of `state_dict()`; types come back as stored, `Int8` as float32."""
        return self.state_dict()

    def after_load(self) -> None:
        """Prepare what follows from the loaded tensors; a family overrides it where there is such a thing."""

    def save_pretrained(self, folder: str | Path, *, card: str | None = None, licence: str | None = None) -> None:
        """Write the model folder, whole or not at all.

        Args:
            folder: made where it is missing, in a parent that is there; other files in it stay.
            card: text of `README.md`; None keeps one that is there, and writes one with plain facts otherwise.
            licence: identifier such as `apache-2.0`, for the card that is written when `card` is None.

        Raises:
            OutputError: the folder cannot be written.
        """
        folder = Path(folder)
        with atomic_folder(folder) as part:
            write_tensors(part / TENSOR_FILE, self.stored_state())
            write_config(part / CONFIG_FILE, self.family, self.config)
            if card is not None or not (folder / CARD_FILE).exists():
                text = card if card is not None else model_card(self, folder.name, licence)
                (part / CARD_FILE).write_text(text, encoding="utf-8")

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path,
        *,
        revision: str | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
        token: str | bool | None = None,
    ) -> Self:
        """Load a model on the CPU, in eval mode, without gradients.

        Args:
            source: a folder, or `organisation/name` on the hub. The base class takes any family, a family only its own.
            revision: branch, tag or commit on the hub.
            cache_dir: where the hub's files are kept; its usual place when None.
            local_files_only: use the cache alone.
            token: for private models; the one stored by `hf auth login` when None.

        Raises:
            UnknownModelError: no such folder, model or revision, or a family that this version does not have.
            WeightsError: a file is missing or damaged, of a newer format or of another family, or the hub cannot be reached.
            ConfigError: a wrong key in `config.json`.
        """
        folder = expand_home(source)
        if not folder.exists() and is_hub_id(str(source)):
            folder = fetch(str(source), revision=revision, cache_dir=cache_dir, local_files_only=local_files_only, token=token)
        if not folder.is_dir():
            raise WeightsError(f"{source}: not a model folder (one with {CONFIG_FILE} and {TENSOR_FILE}), nor a hub id organisation/name")
        return cls._from_folder(folder)

    def push_to_hub(
        self,
        repo_id: str,
        *,
        commit_message: str = "Upload a vtok model",
        private: bool | None = None,
        token: str | bool | None = None,
        card: str | None = None,
    ) -> str:
        """Upload the model folder to `organisation/name`, made where there is none, and return the address of the commit.

        Args:
            card: text of `README.md`; None keeps one that is on the hub.

        Raises:
            UnknownModelError: no permission for that repository.
            WeightsError: the hub cannot be reached.
        """
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch) / repo_id.rpartition("/")[2]
            self.save_pretrained(folder, card=card)
            if card is None and has_card(repo_id, token=token):
                (folder / CARD_FILE).unlink()
            return push(folder, repo_id, message=commit_message, private=private, token=token)

    @classmethod
    def _from_folder(cls, folder: Path) -> Self:
        path = folder / CONFIG_FILE
        name, values = read_config(folder)
        chosen = family(name, cls.families)
        if not issubclass(chosen, cls):
            raise WeightsError(f"{path}: a model of the family {name!r}, which is no {cls.__name__}; load it by a class of that family")
        config = parse_config(chosen.Config, values, path)
        try:
            model = chosen(config)
        except (ConfigError, ValueError) as error:
            raise ConfigError(f"{path}: {error}") from error
        model.load_state_dict(read_tensors(folder / TENSOR_FILE, model.state_dict()), assign=True)
        model.after_load()
        return model.eval().requires_grad_(False)
