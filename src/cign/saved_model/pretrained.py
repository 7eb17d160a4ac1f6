"""The methods by which libraries of a model hub save and load: ``from_pretrained`` and others.

Names and arguments are those of ``huggingface_hub.ModelHubMixin``, so that code written for it
works. The files are the same as those of `save` and `push`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from cign.errors import InputError
from cign.saved_model.hub import local_place


class Pretrained:
    """Saving and loading by the names that users of model hubs know."""

    if TYPE_CHECKING:

        @classmethod
        def load(cls, folder: Path | str, *, device: str | None = None) -> Self:
            """See `cign.learner.Learner.load`."""

        def save(self, folder: Path | str) -> None:
            """See `cign.trained.Trained.save`."""

        def push(self, name: str, *, private: bool = True, **how: Any) -> str:
            """See `cign.trained.Trained.push`."""

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: Path | str,
        *,
        force_download: bool = False,
        token: str | bool | None = None,
        cache_dir: Path | str | None = None,
        local_files_only: bool = False,
        revision: str | None = None,
        device: str | None = None,
    ) -> Self:
        """Load a model from a folder or a model hub.

        Args:
            pretrained_model_name_or_path: A MODEL or RUN folder, or ``owner/name`` on the hub.
            force_download: Whether to download again what is in the cache.
            token: Token of the hub; None takes the one of `hf auth login`, False sends none.
            cache_dir: Folder of the cache; None takes the hub's.
            local_files_only: Whether to use only the cache.
            revision: Branch, tag or commit.
            device: Compute device, as for `load`.

        Raises:
            InputError: If the model is missing, damaged or not cached.
        """
        name = str(pretrained_model_name_or_path)
        if revision is not None:
            if Path(name).exists():
                raise InputError(
                    "conflicting-options",
                    f"revision is {revision!r}, but {name} is a local folder, which has none: "
                    "leave it out",
                )
            name = f"{name}@{revision}"
        given = {
            "force_download": force_download,
            "token": token,
            "cache_dir": cache_dir,
            "local_files_only": local_files_only,
        }
        how = {name: value for name, value in given.items() if value is not None}
        return cls.load(local_place(name, **how), device=device)

    def save_pretrained(
        self,
        save_directory: Path | str,
        *,
        repo_id: str | None = None,
        push_to_hub: bool = False,
        **push_to_hub_kwargs: Any,
    ) -> str | None:
        """Write a MODEL folder, and push it if asked for.

        Args:
            save_directory: The folder; an existing model in it gets a new version.
            repo_id: ``owner/name`` to push to; None takes the folder's name.
            push_to_hub: Whether to push.
            **push_to_hub_kwargs: Further arguments of `push_to_hub`.

        Returns:
            URL of the commit if the model was pushed.

        Raises:
            InputError: See `save` and `push`.
        """
        if push_to_hub_kwargs and not push_to_hub:
            raise InputError(
                "conflicting-options",
                f"{next(iter(push_to_hub_kwargs))} has no effect without push_to_hub=True: leave "
                "it out, or push",
            )
        self.save(save_directory)
        if not push_to_hub:
            return None
        return self.push_to_hub(repo_id or Path(save_directory).name, **push_to_hub_kwargs)

    def push_to_hub(
        self,
        repo_id: str,
        *,
        commit_message: str = "Push model using cign",
        private: bool | None = None,
        token: str | bool | None = None,
        branch: str | None = None,
        create_pr: bool | None = None,
        keep: bool = False,
        licence: str | None = None,
    ) -> str:
        """Upload the model to a model hub.

        Args:
            repo_id: ``owner/name``.
            commit_message: Message of the commit.
            private: Whether a newly created repository is private; None creates a private one.
            token: Token of the hub; None takes the one of `hf auth login`.
            branch: Branch to push to; None takes the main one.
            create_pr: Whether to open a pull request.
            keep: As for `push`.
            licence: As for `push`.

        Returns:
            URL of the commit.

        Raises:
            InputError: See `push`.
        """
        given = {"token": token, "revision": branch, "create_pr": create_pr}
        how = {name: value for name, value in given.items() if value is not None}
        return self.push(
            repo_id,
            private=private is not False,
            keep=keep,
            licence=licence,
            message=commit_message,
            **how,
        )
