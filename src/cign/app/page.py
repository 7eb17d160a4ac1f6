"""The page itself: fields, and what happens when they are used. The rest of the app is pure."""

from __future__ import annotations

import functools
import shutil
import uuid
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

import gradio as gr
from gradio_client.utils import is_http_url_like

from cign.app import cards
from cign.app.maps import maps
from cign.app.service import Answer, Service
from cign.app.uploads import MOST_CLIPS, Sessions, check_upload, lay_out, shown_size
from cign.data.media.recognition import AUDIO_SUFFIXES, MEDIA_SUFFIXES
from cign.errors import CignError, InputError
from cign.explain.drawing import draw

# What most browsers play.
_PLAYED = frozenset({".mp4", ".m4v", ".webm", ".mov", ".mp3", ".wav", ".m4a", ".ogg", ".flac"})
_LOCKED = (
    "Teaching is locked on this page. Whoever runs it unlocks it with <code>cign app MODEL "
    "--teach</code>."
)


class Handlers:
    """What the page does with a model; each gives the values of the fields that change.

    Args:
        service: The model.
        root: Where uploads and pictures go.
    """

    def __init__(self, service: Service, root: Path) -> None:
        self._service, self._root = service, root
        self._sessions = Sessions(root)
        self._answers: dict[str, tuple[Path, Answer]] = {}  # the last one of each page

    def ask(self, file: str | None, request: gr.Request) -> tuple[Any, ...]:
        """Answer about a clip: answer, maps, the clip itself."""
        session = str(request.session_hash)
        self._answers.pop(session, None)
        if not file:
            return cards.empty(), "", None
        try:
            clip = check_upload(file, self._root)
            self._sessions.uses(session, [clip])
            one = self._service.answer(clip)
        except Exception as error:
            return cards.problem(sentence(error)), "", None
        self._answers[session] = clip, one
        return cards.answer(one, media=player(clip, one)), maps(one.scene), file

    def picture(self, request: gr.Request) -> Any:
        """Draw what is to be saved, after the answer is there."""
        session = str(request.session_hash)
        if session not in self._answers:
            return gr.update(visible=False)
        clip, one = self._answers[session]
        place = self._sessions.folder(session) / f"{clip.stem}-maps.png"
        draw(one.scene).save(place)
        return gr.update(value=str(place), visible=True)

    def teach(self, name: str, files: list[str] | None, request: gr.Request) -> tuple[Any, ...]:
        """Teach a class: what it cost, and the fields that tell of the model."""
        session = str(request.session_hash)
        folder = self._sessions.folder(session) / uuid.uuid4().hex
        try:
            clips = [check_upload(file, self._root) for file in files or ()]
            self._sessions.uses(session, clips)
            told = self._service.teach(lay_out(name or "", clips, folder))
        except Exception as error:
            return cards.problem(sentence(error)), *self.state()
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return cards.taught(told, name.strip()), *self.state()

    def undo(self, seen: int) -> tuple[Any, ...]:
        """Go back by a version."""
        try:
            number = self._service.undo(seen)
        except Exception as error:
            return cards.problem(sentence(error)), *self.state()
        return cards.gone_back(number), *self.state()

    def state(self) -> tuple[Any, ...]:
        """Top of the page, classes, button that goes back, and the version that is shown."""
        model, versions = self._service.model, self._service.versions()
        label = cards.undo_label(versions) if self._service.can_teach else None
        button = gr.update(value=label or "Undo", visible=label is not None)
        number = versions[-1].number
        name = self._service.place.absolute()
        shown = name.parent.name if name.name == "model" else name.name
        return cards.head(model, shown, number), cards.classes(model, versions), button, number

    def close(self, request: gr.Request) -> None:
        """Remove what a page left."""
        self._answers.pop(str(request.session_hash), None)
        self._sessions.close(str(request.session_hash))


def sentence(error: Exception) -> str:
    """What a person is told of an error."""
    if isinstance(error, CignError):
        return str(error).rstrip(".")
    if isinstance(error, OSError):
        return f"a file cannot be read or written ({error.strerror}): the model is as it was"
    return f"internal error ({type(error).__name__}): the model is as it was"


def player(clip: Path, one: Answer) -> str:
    """A tag that plays the clip, where browsers can."""
    if clip.suffix.lower() not in _PLAYED:
        return ""
    tag = "audio" if clip.suffix.lower() in AUDIO_SUFFIXES else "video"
    address = escape(f"gradio_api/file={quote(str(clip))}", quote=True)
    return f"<{tag} class='clip' controls preload='metadata' src='{address}'></{tag}>"


def only_uploads(field: Any, root: Path) -> Any:
    """Have a field refuse whatever a browser names that was not uploaded: paths, addresses."""
    move: Callable[[Any], Any] = field.async_move_resource_to_block_cache

    @functools.wraps(move)
    async def checked(place: str | Path | None) -> Any:
        if place is not None and (
            is_http_url_like(str(place)) or not Path(place).resolve().is_relative_to(root)
        ):
            raise InputError("this file was not uploaded here: choose it again")
        return await move(place)

    field.async_move_resource_to_block_cache = checked
    return field


def build_page(service: Service, root: Path, *, max_upload: int) -> gr.Blocks:
    """Lay out the page.

    Args:
        service: The model.
        root: Where uploads and pictures go.
        max_upload: Bytes of the largest file that is taken, to be told.
    """
    do = Handlers(service, root)
    limit = f"at most {shown_size(max_upload)} each"
    suffixes = sorted(MEDIA_SUFFIXES)
    private: dict[str, Any] = {"api_visibility": "private"}
    with gr.Blocks(title="cign", analytics_enabled=False, delete_cache=(600, 21_600)) as page:
        head = gr.HTML(padding=False)
        clip, seen = gr.State(None), gr.State(0)
        with gr.Tabs():
            with gr.Tab("Ask"), gr.Row(equal_height=False):
                with gr.Column(scale=2, min_width=280):
                    with gr.Tabs():
                        with gr.Tab("Choose a clip"):
                            upload = only_uploads(
                                gr.File(
                                    label=f"Video or audio, {limit}",
                                    file_types=suffixes,
                                    height=150,
                                    elem_id="ask-file",
                                ),
                                root,
                            )
                        with gr.Tab("Record"):
                            record = only_uploads(
                                gr.Video(
                                    sources=["webcam"],
                                    include_audio=True,
                                    webcam_options=gr.WebcamOptions(mirror=False),
                                    label="Camera and microphone",
                                    height=260,
                                ),
                                root,
                            )
                    said = gr.HTML(cards.empty(), padding=False, elem_id="answer")
                with gr.Column(scale=3, min_width=280):
                    shown = gr.HTML(padding=False, elem_id="maps")
                    save = gr.DownloadButton(
                        "Save as one image", visible=False, size="sm", elem_id="save"
                    )
            with gr.Tab("Teach"):
                if service.can_teach:
                    name, files, teach, undo, told = _teaching(limit, suffixes, root)
                else:
                    gr.HTML(f"<section class='cign cign-empty'><p>{_LOCKED}</p></section>")
            with gr.Tab("Classes") as classes_tab:
                classes = gr.HTML(padding=False, elem_id="classes")
                if not service.can_teach:
                    undo = gr.Button(visible=False)

        asked = [said, shown, clip]
        state = [head, classes, undo, seen]
        modality: dict[str, Any] = {"concurrency_id": "read", "concurrency_limit": 1, **private}
        for field in (upload, record):
            asking = field.change(do.ask, field, asked, show_progress_on=said, **modality)
            asking.then(do.picture, None, save, show_progress="hidden", **modality)
        page.load(do.state, None, state, show_progress="hidden", **private)
        classes_tab.select(do.state, None, state, show_progress="hidden", **private)
        if service.can_teach:
            writing: dict[str, Any] = {
                "concurrency_id": "teach",
                "concurrency_limit": 1,
                "show_progress_on": told,
                **private,
            }
            for event in (
                teach.click(do.teach, [name, files], [told, *state], **writing),
                undo.click(do.undo, seen, [told, *state], **writing),
            ):
                # The clip that was asked about last, as the model sees it now.
                again = event.then(do.ask, clip, asked, show_progress="hidden", **modality)
                again.then(do.picture, None, save, show_progress="hidden", **modality)
        page.unload(do.close)
    return page


def _teaching(limit: str, suffixes: list[str], root: Path) -> tuple[Any, ...]:
    """The fields of the teaching tab."""
    with gr.Row(equal_height=False):
        with gr.Column(scale=2, min_width=280):
            name = gr.Textbox(
                label="Name of the class",
                info="A new name teaches a new class; a known one gets more clips.",
                max_lines=1,
                max_length=100,
                elem_id="class-name",
            )
            files = only_uploads(
                gr.File(
                    label=f"Up to {MOST_CLIPS} clips, {limit}",
                    file_count="multiple",
                    file_types=suffixes,
                    height=180,
                    elem_id="teach-files",
                ),
                root,
            )
            teach = gr.Button("Teach", variant="primary", elem_id="teach")
            undo = gr.Button("Undo", visible=False, elem_id="undo")
        with gr.Column(scale=3, min_width=280):
            told = gr.HTML(
                "<section class='cign cign-empty'><p class='soft'>A handful of clips with audio "
                "and video is enough. What the new class costs the old ones is measured and "
                "shown here, and one press takes it back.</p></section>",
                padding=False,
                elem_id="told",
            )
    return name, files, teach, undo, told
