"""Model folders on the Hugging Face hub: fetching and pushing, with one line for what goes wrong."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError, RevisionNotFoundError

from vtok.errors import UnknownModelError, WeightsError
from vtok.tokenizers.folder import CARD_FILE, CONFIG_FILE, TENSOR_FILE

_HUB_ID = re.compile(r"[A-Za-z0-9_][\w.-]*/[A-Za-z0-9_][\w.-]*", re.ASCII)
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
def _explained(repo: str, revision: str | None) -> Iterator[None]:
    try:
        yield
    except RevisionNotFoundError:
        raise UnknownModelError(f"{repo}: the hub has no revision {revision!r} of it") from None
    except GatedRepoError:
        raise UnknownModelError(f"{repo}: its owner asks for consent; accept on its hub page and log in (`hf auth login`)") from None
    except RepositoryNotFoundError:
        raise UnknownModelError(
            f"{repo}: not on the hub, or private; check the name, log in (`hf auth login`), or give a local folder"
        ) from None
    except LocalEntryNotFoundError:
        raise WeightsError(
            f"{repo}: not in the local cache, and the hub cannot be reached; connect (and unset HF_HUB_OFFLINE), or give a local folder"
        ) from None
    except _HUB_ERRORS as error:
        first = (str(error).splitlines() or [""])[0][:200]
        raise WeightsError(f"{repo}: the hub failed ({type(error).__name__}: {first}); try again, or give a local folder") from error
