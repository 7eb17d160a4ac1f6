"""Models on a hub of models, by name: ``owner/name`` or ``owner/name@revision``.

Only the four files of a MODEL folder travel. What was downloaded is read as any other model is:
JSON and safetensors with checksums, strictly; nothing is unpickled and no code is run.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from cign.errors import InputError, RunError
from cign.saved_model.files import ABOUT, CARD, KEPT, WEIGHTS, model_place, read_about
from cign.utils.connection import hub_trouble
from cign.utils.files import read_json

_NAME = re.compile(r"(?P<repo>[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95})(@(?P<revision>.+))?")
# Of `cign.backbones.registry`: one or two names, shipped or on the hub, and what is taken of
# tokens.
_PART = r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?"
_BACKBONE = re.compile(rf"{_PART}(\+{_PART})?(@[\w.+-]+)?")
_FILES = [ABOUT, CARD, KEPT, WEIGHTS]


def hub_name(name: Path | str) -> tuple[str, str | None] | None:
    """Name and revision on the hub; None where a path of this machine is meant.

    What exists here is a path, and so is ``owner/name`` where a folder ``owner`` lies here: a
    typing error in it must not ask the hub.
    """
    found = _NAME.fullmatch(str(name))
    if found is None or Path(name).exists() or Path(str(name).split("/")[0]).exists():
        return None
    return found["repo"], found["revision"]


def local_place(name: Path | str) -> Path:
    """The folder of a model: itself, or where its download lies.

    Raises:
        InputError: If the hub has no such model, or cannot be reached and it was not downloaded.
    """
    wanted = hub_name(name)
    if wanted is None:
        return Path(name)
    from huggingface_hub import snapshot_download

    repo, revision = wanted
    trouble = hub_trouble()
    # Without a network the cache is asked alone: the client would try again for a long time.
    how: dict[str, Any] = {"local_files_only": True} if trouble else {}
    try:
        folder = Path(snapshot_download(repo, revision=revision, allow_patterns=_FILES, **how))
    except Exception as error:
        raise InputError(
            f"model {str(name)!r} is no folder here and could not be had from the hub "
            f"({trouble or _reason(error)}): check the name and the network, or download it where "
            "there is one and name its folder"
        ) from None
    if not (folder / ABOUT).is_file():
        raise InputError(f"{name} on the hub is not a model of cign: it has no {ABOUT}")
    return folder


def refuse_missing(name: Path | str) -> None:
    """Refuse a model that is not here, before what reads one is imported, which takes seconds.

    Raises:
        InputError: If a path of this machine is meant, and no description of a model lies there.
    """
    if hub_name(name) is None:
        read_about(model_place(Path(name)))


def check_backbone(backbone: dict[str, Any], where: str) -> None:
    """Refuse a model that nobody else can load, or that reads folders of this machine.

    Args:
        backbone: That entry of a description. Trained encoders with a record need no folder.
        where: Which model, for the error message.

    Raises:
        InputError: If the backbone is a path and not a name.
    """
    name = backbone["name"]
    if backbone.get("record") is None and not _BACKBONE.fullmatch(name):
        raise InputError(
            f"{where} reads the backbone folder {name!r} of the machine it was made on: a model on "
            "a hub needs a backbone that has a name there, so train it with one"
        )


def upload(folder: Path, name: str, *, private: bool) -> str:
    """Put a MODEL folder on the hub.

    Args:
        folder: Its files are those of one version.
        name: ``owner/name``.
        private: Whether a repository that is made for it is private.

    Returns:
        Address of the commit.

    Raises:
        InputError: If the name is none, or the model's backbone is a folder of this machine.
        RunError: If the hub refuses it or cannot be reached.
    """
    found = _NAME.fullmatch(name)
    if found is None or found["revision"]:
        raise InputError(f"hub name {name!r} is none: use owner/name")
    check_backbone(read_json(folder / ABOUT, "model")["backbone"], f"model {name}")
    from huggingface_hub import create_repo, upload_folder

    trouble = hub_trouble()
    try:
        if trouble:
            raise ConnectionError(trouble)
        create_repo(name, private=private, exist_ok=True)
        commit: Any = upload_folder(
            repo_id=name,
            folder_path=folder,
            allow_patterns=_FILES,
            # Clips that an earlier push took along must not stay when this one does not.
            delete_patterns=[KEPT],
            commit_message="A model of cign",
        )
    except Exception as error:
        raise RunError(
            f"model {name} could not be put on the hub ({_reason(error)}): check the network and "
            "`hf auth login`, or copy the folder that `save` writes"
        ) from None
    return str(commit.commit_url)


def _reason(error: Exception) -> str:
    """The first line of what went wrong, and its kind."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:160]}" if lines else type(error).__name__
