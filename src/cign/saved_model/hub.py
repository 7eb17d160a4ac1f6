"""Models on a model hub, by name: ``owner/name`` or ``owner/name@revision``.

Only the four files of a MODEL folder are transferred. A download is validated like any other
model: JSON and safetensors with checksums; nothing is unpickled and no code is run.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from cign.data.tokens import is_features
from cign.errors import InputError, RunError
from cign.saved_model.files import ABOUT, CARD, KEPT, WEIGHTS, model_place, read_about
from cign.utils.connection import hub_trouble
from cign.utils.files import read_json

_NAME = re.compile(r"(?P<repo>[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95})(@(?P<revision>.+))?")
# Names in `cign.backbones.registry`: one or two names, built-in or on the hub, and a token grid.
_PART = r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?"
_BACKBONE = re.compile(rf"{_PART}(\+{_PART})?(@[\w.+-]+)?")
_FILES = [ABOUT, CARD, KEPT, WEIGHTS]


def hub_name(name: Path | str) -> tuple[str, str | None] | None:
    """Name and revision on the hub; None if a local path is meant.

    An existing path is local. ``owner/name`` is also local if a folder ``owner`` exists: a typing
    error in a path must not cause a request to the hub.
    """
    found = _NAME.fullmatch(str(name))
    if found is None or Path(name).exists() or Path(str(name).split("/")[0]).exists():
        return None
    return found["repo"], found["revision"]


def local_place(name: Path | str, **how: Any) -> Path:
    """The folder of a model: a local folder, or that of the download.

    Args:
        name: Path or hub name.
        **how: Further arguments of ``huggingface_hub.snapshot_download``, for example
            ``local_files_only=True``.

    Raises:
        InputError: If the hub has no such model, or is unreachable and the model is not cached.
    """
    found = hub_name(name)
    if found is None:
        return Path(name)
    from huggingface_hub import snapshot_download

    repo, revision = found
    trouble = "" if how.get("local_files_only") else hub_trouble()
    if trouble:  # use only the cache: the client would retry for a long time
        how["local_files_only"] = True
    try:
        folder = Path(snapshot_download(repo, revision=revision, allow_patterns=_FILES, **how))
    except Exception as error:
        raise InputError(
            "hub-failed",
            f"model {str(name)!r} is not a local folder and could not be downloaded from the hub "
            f"({trouble or _reason(error)}): check the name and the network, or download the "
            "model on another machine and name its folder",
        ) from None
    if not (folder / ABOUT).is_file():
        raise InputError(
            "wrong-format", f"{name} on the hub is not a model of cign: it has no {ABOUT}"
        )
    return folder


def refuse_missing(name: Path | str) -> None:
    """Check that a local model exists, before slow imports.

    Raises:
        InputError: If a local path is meant, and it has no valid description of a model.
    """
    if hub_name(name) is None:
        read_about(model_place(Path(name)))


def check_backbone(backbone: dict[str, Any], where: str) -> None:
    """Refuse a model whose backbone is a local folder, which others cannot load.

    Args:
        backbone: Entry ``backbone`` of a description. Trained encoders with a record are allowed.
        where: Name of the model, for the error message.

    Raises:
        InputError: If the backbone is a path and not a name.
    """
    name = backbone["name"]
    is_name = is_features(name) or _BACKBONE.fullmatch(name)
    if backbone.get("record") is None and not is_name:
        raise InputError(
            "unsupported",
            f"{where} uses the local backbone folder {name!r}: a model on a hub needs a backbone "
            "with a name on the hub, so train it with one",
        )


def upload(
    folder: Path,
    name: str,
    *,
    private: bool,
    message: str = "A model of cign",
    token: str | bool | None = None,
    **how: Any,
) -> str:
    """Upload a MODEL folder to the hub.

    Args:
        folder: A MODEL folder with the files of one version.
        name: ``owner/name``.
        private: Whether a newly created repository is private.
        message: Message of the commit.
        token: Token of the hub; None takes the one of `hf auth login`.
        **how: Further arguments of ``huggingface_hub.upload_folder``, for example ``revision``.

    Returns:
        URL of the commit.

    Raises:
        InputError: If the name is invalid, or the model's backbone is a local folder.
        RunError: If the hub refuses the upload or cannot be reached.
    """
    found = _NAME.fullmatch(name)
    if found is None or found["revision"]:
        raise InputError("bad-value", f"invalid hub name {name!r}: use owner/name")
    check_backbone(read_json(folder / ABOUT, "model")["backbone"], f"model {name}")
    from huggingface_hub import create_repo, upload_folder

    trouble = hub_trouble()
    try:
        if trouble:
            raise ConnectionError(trouble)
        access: dict[str, Any] = {} if token is None else {"token": token}
        create_repo(name, private=private, exist_ok=True, **access)
        commit: Any = upload_folder(
            repo_id=name,
            folder_path=folder,
            allow_patterns=_FILES,
            # Delete validation clips of an earlier push if this one has none.
            delete_patterns=[KEPT],
            commit_message=message,
            **access,
            **how,
        )
    except Exception as error:
        raise RunError(
            "hub-failed",
            f"model {name} could not be uploaded to the hub ({_reason(error)}): check the network "
            "and `hf auth login`, or copy the folder that `save` writes",
        ) from None
    return str(commit.commit_url)


def _reason(error: Exception) -> str:
    """Type and first line of an error."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:160]}" if lines else type(error).__name__
