"""The web page: its fields and event handlers. The rest of the app does not use Gradio events."""

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
from cign.app.label_events import connect
from cign.app.label_page import LabelHandlers, LabelTabs, correction_fields, joining_fields
from cign.app.labelling import Labelling
from cign.app.maps import maps
from cign.app.service import Answer, Service
from cign.app.uploads import Sessions, check_upload, shown_size
from cign.data.media.recognition import AUDIO_SUFFIXES, MEDIA_SUFFIXES
from cign.errors import InputError
from cign.explain.drawing import draw
from cign.serving.clip_tables import MOST_CLIPS, lay_out

# Formats that most browsers play.
_PLAYED = frozenset({".mp4", ".m4v", ".webm", ".mov", ".mp3", ".wav", ".m4a", ".ogg", ".flac"})
_LOCKED = (
    "Teaching is locked on this page. To unlock it, start the page with <code>cign app MODEL "
    "--teach</code>."
)


class Handlers:
    """Event handlers of the page; each returns the new values of the fields that change.

    Args:
        service: The model.
        root: Folder for uploads and images.
    """

    def __init__(self, service: Service, root: Path) -> None:
        self.service, self._root = service, root
        self._sessions = Sessions(root)
        self._answers: dict[str, tuple[Path, Answer]] = {}  # the latest of each open page

    def ask(self, file: str | None, request: gr.Request) -> tuple[Any, ...]:
        """Predict a clip; returns the answer, the maps and the clip."""
        session = str(request.session_hash)
        self._answers.pop(session, None)
        if not file:
            return cards.empty(), "", None
        try:
            clip = check_upload(file, self._root)
            self._sessions.uses(session, [clip])
            one = self.service.answer(clip)
        except Exception as error:
            return cards.problem(cards.sentence(error)), "", None
        self._answers[session] = clip, one
        return cards.answer(one, media=player(clip, one)), maps(one.scene), file

    def picture(self, request: gr.Request) -> Any:
        """Draw the image to be saved, after the answer is shown."""
        session = str(request.session_hash)
        if session not in self._answers:
            return gr.update(visible=False)
        clip, one = self._answers[session]
        place = self._sessions.folder(session) / f"{clip.stem}-maps.png"
        draw(one.scene).save(place)
        return gr.update(value=str(place), visible=True)

    def teach(self, name: str, files: list[str] | None, request: gr.Request) -> tuple[Any, ...]:
        """Teach a class; returns its effect and the fields that describe the model."""
        session = str(request.session_hash)
        folder = self._sessions.folder(session) / uuid.uuid4().hex
        try:
            clips = [check_upload(file, self._root) for file in files or ()]
            self._sessions.uses(session, clips)
            result = self.service.teach(lay_out(name or "", clips, folder))
        except Exception as error:
            return cards.problem(cards.sentence(error)), *self.state()
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return cards.taught(result, name.strip()), *self.state()

    def undo(self, shown_version: int) -> tuple[Any, ...]:
        """Return to the previous version."""
        try:
            number = self.service.undo(shown_version)
        except Exception as error:
            return cards.problem(cards.sentence(error)), *self.state()
        return cards.reverted(number), *self.state()

    def asked_clip(self, request: gr.Request) -> Path | None:
        """The clip that an open page shows a prediction of."""
        found = self._answers.get(str(request.session_hash))
        return None if found is None else found[0]

    def state(self) -> tuple[Any, ...]:
        """Header, classes, undo button, and number of the version that is shown."""
        model, versions = self.service.model, self.service.versions()
        label = cards.undo_label(versions) if self.service.can_teach else None
        button = gr.update(value=label or "Undo", visible=label is not None)
        number = versions[-1].number
        name = self.service.place.absolute()
        shown = name.parent.name if name.name == "model" else name.name
        return cards.head(model, shown, number), cards.classes(model, versions), button, number

    def close(self, request: gr.Request) -> None:
        """Remove the files of a closed page."""
        self._answers.pop(str(request.session_hash), None)
        self._sessions.close(str(request.session_hash))


def player(clip: Path, one: Answer) -> str:
    """An HTML tag that plays the clip; empty for formats that browsers do not play."""
    if clip.suffix.lower() not in _PLAYED:
        return ""
    tag = "audio" if clip.suffix.lower() in AUDIO_SUFFIXES else "video"
    address = escape(f"gradio_api/file={quote(str(clip))}", quote=True)
    return f"<{tag} class='clip' controls preload='metadata' src='{address}'></{tag}>"


def only_uploads(field: Any, root: Path) -> Any:
    """Make a field reject paths and URLs in a request that are not uploads."""
    move: Callable[[Any], Any] = field.async_move_resource_to_block_cache

    @functools.wraps(move)
    async def checked(place: str | Path | None) -> Any:
        if place is not None and (
            is_http_url_like(str(place)) or not Path(place).resolve().is_relative_to(root)
        ):
            raise InputError("file-missing", "this file was not uploaded here: choose it again")
        return await move(place)

    field.async_move_resource_to_block_cache = checked
    return field


def build_page(
    service: Service, root: Path, *, max_upload: int, labelling: Labelling | None = None
) -> gr.Blocks:
    """Lay out the page.

    Args:
        service: The model.
        root: Folder for uploads and images.
        labelling: Labels and clips; None leaves the tabs Label and Check out.
        max_upload: Largest accepted file, in bytes; shown on the page.
    """
    do = Handlers(service, root)
    limit = f"at most {shown_size(max_upload)} each"
    suffixes = sorted(MEDIA_SUFFIXES)
    private: dict[str, Any] = {"api_visibility": "private"}
    with gr.Blocks(title="cign", analytics_enabled=False, delete_cache=(600, 21_600)) as page:
        head = gr.HTML(padding=False)
        clip, shown_version = gr.State(None), gr.State(0)
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
                    answer = gr.HTML(cards.empty(), padding=False, elem_id="answer")
                    corrections = None if labelling is None else correction_fields()
                with gr.Column(scale=3, min_width=280):
                    shown = gr.HTML(padding=False, elem_id="maps")
                    save = gr.DownloadButton(
                        "Save as one image", visible=False, size="sm", elem_id="save"
                    )
            with gr.Tab("Teach"):
                if service.can_teach:
                    name, files, teach, undo, taught = _teaching(limit, suffixes, root)
                else:
                    gr.HTML(f"<section class='cign cign-empty'><p>{_LOCKED}</p></section>")
            labels = None if labelling is None else LabelTabs()
            with gr.Tab("Classes") as classes_tab:
                classes = gr.HTML(padding=False, elem_id="classes")
                joining = None if labelling is None else joining_fields()
                if not service.can_teach:
                    undo = gr.Button(visible=False)

        asked = [answer, shown, clip]
        state = [head, classes, undo, shown_version]
        predicting: dict[str, Any] = {"concurrency_id": "read", "concurrency_limit": 1, **private}
        for field in (upload, record):
            asking = field.change(do.ask, field, asked, show_progress_on=answer, **predicting)
            asking.then(do.picture, None, save, show_progress="hidden", **predicting)
        page.load(do.state, None, state, show_progress="hidden", **private)
        classes_tab.select(do.state, None, state, show_progress="hidden", **private)
        if service.can_teach:
            writing: dict[str, Any] = {
                "concurrency_id": "teach",
                "concurrency_limit": 1,
                "show_progress_on": taught,
                **private,
            }
            for event in (
                teach.click(do.teach, [name, files], [taught, *state], **writing),
                undo.click(do.undo, shown_version, [taught, *state], **writing),
            ):
                # Predict the latest clip again with the changed model.
                again = event.then(do.ask, clip, asked, show_progress="hidden", **predicting)
                again.then(do.picture, None, save, show_progress="hidden", **predicting)
        if labelling and labels and corrections and joining:
            connect(
                LabelHandlers(labelling, do),
                labels,
                corrections,
                joining,
                state=state,
                again=lambda event: event.then(
                    do.ask, clip, asked, show_progress="hidden", **predicting
                ),
                page=page,
            )
        page.unload(do.close)
    return page


def _teaching(limit: str, suffixes: list[str], root: Path) -> tuple[Any, ...]:
    """The fields of the Teach tab."""
    with gr.Row(equal_height=False):
        with gr.Column(scale=2, min_width=280):
            name = gr.Textbox(
                label="Name of the class",
                info="A new name adds a class; a known name adds clips to that class.",
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
            taught = gr.HTML(
                "<section class='cign cign-empty'><p class='soft'>A handful of clips with audio "
                "and video is enough. The effect on the old classes is measured and shown here; "
                "Undo restores the previous version.</p></section>",
                padding=False,
                elem_id="told",
            )
    return name, files, teach, undo, taught
