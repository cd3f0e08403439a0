"""Exports to the Hugging Face hub: nothing is replaced without a word, and only what the card lists is sent."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ._card import listed
from ._export import ExportResult, export

_OF_THE_HUB = ".gitattributes"


@dataclass(frozen=True)
class HubUpload:
    """An export on the hub.

    Attributes:
        address: of the repository.
        files: that were sent.
        exported: the export; its folder is gone.
    """

    address: str
    files: tuple[str, ...]
    exported: ExportResult


def push(
    reference: str | os.PathLike[str],
    layout: str,
    name: str,
    *,
    licence: str,
    agree: Callable[[str], bool] = lambda question: False,
    allow_custom_code: bool = False,
) -> HubUpload:
    """Export a model, and send it to the hub in one commit; a push that was stopped has changed nothing.

    Args:
        reference: a model as `counterpoint.load` takes it.
        layout: a name of `LAYOUTS`.
        name: of the repository, ``USER/NAME``; one that does not exist is made.
        licence: of the model; see `export`.
        agree: is asked before the files of a repository are replaced, all of them; the answer is no unless given.
        allow_custom_code: see `export`.

    Raises:
        ValueError: for a name that is none, without a login, for a repository with files that are not to be replaced;
            and as for `export`.
        PermissionError: where the login may not write.
        ConnectionError: where the hub is not reached.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
    from huggingface_hub.errors import RepositoryNotFoundError

    if not re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        raise ValueError(f"{name!r} is no name of a repository: write --push USER/NAME")
    api = HfApi()
    with _reached(name):
        api.whoami()
        try:
            there = [file for file in api.list_repo_files(name) if file != _OF_THE_HUB]
        except RepositoryNotFoundError:
            there = []
    shown = ", ".join([*there[:3], *(["…"] if len(there) > 3 else [])])
    if there and not agree(f"{name} has {len(there)} files ({shown}), which will be replaced"):
        raise ValueError(
            f"{name} has {len(there)} files ({shown}), and nothing was sent: choose another name, or say --yes to "
            "replace them"
        )
    with tempfile.TemporaryDirectory() as above:
        folder = Path(above) / name.rpartition("/")[2]
        exported = export(
            reference,
            layout,
            folder,
            licence=licence,
            repository=name,
            allow_custom_code=allow_custom_code,
        )
        files = _sent(folder)
        with _reached(name):
            address = api.create_repo(name, exist_ok=True)
            api.create_commit(
                name,
                operations=[
                    *(CommitOperationDelete(file) for file in there if file not in files),
                    *(CommitOperationAdd(file, folder / file) for file in files),
                ],
                commit_message=f"Export to {exported.layout} by counterpoint",
            )
    return HubUpload(str(address), tuple(files), exported)


def _sent(folder: Path) -> list[str]:
    """Return the files of an export, all of which its card lists.

    Raises:
        ValueError: for a file that the card does not list, which nobody was told of.
    """
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    if unlisted := sorted(set(files) - listed(folder)):
        raise ValueError(f"nothing was sent: the card does not list {', '.join(unlisted)}")
    return files


@contextmanager
def _reached(name: str) -> Iterator[None]:
    """Turn what a call of the hub raises into one sentence that says what to do."""
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError

    try:
        yield
    except LocalTokenNotFoundError:
        raise ValueError("there is no login for the hub: run hf auth login, and push again") from None
    except HfHubHTTPError as error:
        status = error.response.status_code
        if status == 401:
            raise ValueError("the hub does not know the login: run hf auth login, and push again") from error
        if status == 403:
            raise PermissionError(
                f"this login may not write to {name}: run hf auth login with one that may"
            ) from error
        raise ConnectionError(f"the hub answers {status}: {str(error).strip().splitlines()[-1]}") from error
    except ValueError:
        raise
    except Exception as error:  # of whatever client the hub's library is built on
        raise ConnectionError(f"the hub is not reached ({type(error).__name__}): push again later") from error
