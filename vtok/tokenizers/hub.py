"""Model folders on the Hugging Face hub: fetching and pushing, with one line for what goes wrong."""

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from huggingface_hub import HfApi, hf_hub_download, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from vtok.errors import UnknownModelError, WeightsError
from vtok.tokenizers.folder import CARD_FILE, CONFIG_FILE, TENSOR_FILE

_HUB_ID = re.compile(r"[A-Za-z0-9_][\w.-]*/[A-Za-z0-9_][\w.-]*", re.ASCII)
_SHA256 = re.compile(r"[0-9a-f]{64}")
_FOLDER = "give a local folder"
_HUB_ERRORS: tuple[type[Exception], ...] = (*HfHubHTTPError.__bases__, ValueError)  # the root of its HTTP library's, whichever that is


def is_hub_id(name: str) -> bool:
    """Whether a name has the form `organisation/name`."""
    return _HUB_ID.fullmatch(name) is not None


def fetch(repo: str, *, revision: str | None, cache_dir: str | Path | None, local_files_only: bool, token: str | bool | None) -> Path:
    """The folder in the hub's cache with the configuration and tensors of `organisation/name`, downloaded where they are not there yet.

    Raises:
        UnknownModelError: no such model or revision on the hub, or no access to it.
        WeightsError: the hub cannot be reached and the cache has no copy.
    """
    with _explained(repo, revision):
        folder = snapshot_download(
            repo,
            revision=revision,
            cache_dir=cache_dir,
            local_files_only=local_files_only,
            token=token,
            allow_patterns=[CONFIG_FILE, TENSOR_FILE],
        )
    return Path(folder)


def fetch_file(repo: str, file: str, *, revision: str | None = None, instead: str = "give a local file") -> Path:
    """One file of `organisation/name` in the hub's cache, downloaded where it is not there yet; a transfer that broke off goes on.

    Args:
        instead: what the user can do without the hub, for messages.

    Raises:
        UnknownModelError, WeightsError: as of `fetch`, or there is no such file.
    """
    with _explained(repo, revision, instead):
        try:
            return Path(hf_hub_download(repo, file, revision=revision))
        except RemoteEntryNotFoundError:
            raise WeightsError(f"{repo}: has no file {file} at {revision or 'main'}; {instead}") from None


def check_sha256(file: Path, sha256: str | None = None) -> None:
    """Compare a file of the hub's cache with a checksum in hex.

    Args:
        sha256: None: what the hub said of the file when it was downloaded. Of large files that is their SHA-256, the name by which the
            cache keeps them; where it keeps them otherwise, nothing is compared.

    Raises:
        WeightsError: it is another one; the message has the file to delete.
    """
    stated = file.readlink().name if file.is_symlink() else ""
    wanted = sha256 or (stated if _SHA256.fullmatch(stated) else None)
    if wanted is None:
        return
    with file.open("rb") as data:
        found = hashlib.file_digest(data, "sha256").hexdigest()
    if found != wanted:
        raise WeightsError(
            f"{file.resolve()}: damaged, or not what was published: SHA-256 is {found[:12]}..., expected {wanted[:12]}...; "
            "delete the file and load again"
        )


def has_card(repo: str, *, token: str | bool | None) -> bool:
    """Whether `organisation/name` is on the hub and has a model card.

    Raises:
        WeightsError: the hub cannot be reached.
    """
    with _explained(repo, None):
        return HfApi(token=token).file_exists(repo, CARD_FILE)


def push(folder: Path, repo: str, *, message: str, private: bool | None, token: str | bool | None) -> str:
    """Upload a model folder as one commit, making the repository where there is none, and return the address of the commit.

    Raises:
        UnknownModelError: no permission for that repository.
        WeightsError: the hub cannot be reached.
    """
    api = HfApi(token=token)
    with _explained(repo, None):
        name = api.create_repo(repo, private=private, exist_ok=True).repo_id
        return str(api.upload_folder(repo_id=name, folder_path=folder, commit_message=message).commit_url)


@contextmanager
def _explained(repo: str, revision: str | None, instead: str = _FOLDER) -> Iterator[None]:
    try:
        yield
    except RevisionNotFoundError:
        raise UnknownModelError(f"{repo}: the hub has no revision {revision!r} of it") from None
    except GatedRepoError:
        raise UnknownModelError(f"{repo}: its owner asks for consent; accept on its hub page and log in (`hf auth login`)") from None
    except RepositoryNotFoundError:
        raise UnknownModelError(f"{repo}: not on the hub, or private; check the name, log in (`hf auth login`), or {instead}") from None
    except LocalEntryNotFoundError:
        raise WeightsError(
            f"{repo}: not in the local cache, and the hub cannot be reached; connect (and unset HF_HUB_OFFLINE), or {instead}"
        ) from None
    except _HUB_ERRORS as error:
        first = (str(error).splitlines() or [""])[0][:200]
        raise WeightsError(f"{repo}: the hub failed ({type(error).__name__}: {first}); try again, or {instead}") from error
