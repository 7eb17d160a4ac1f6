"""Opens the clips to label and their work folder while a page is served."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from cign.app.label_learning import check_labelling
from cign.app.label_pool import ClipPool, prepared
from cign.app.labelling import Labelling
from cign.app.service import Service
from cign.data.store import Store
from cign.errors import InputError
from cign.utils.files import folder_lock
from cign.utils.progress import Progress


@contextmanager
def opened_labelling(
    service: Service,
    *,
    clips: Path | None = None,
    learned: Path | None = None,
    work: Path | None = None,
    progress: Progress | None = None,
    tell: Callable[[str], None] = print,
) -> Iterator[Labelling | None]:
    """Prepare the clips of a page once, and lock the work folder.

    Args:
        service: The model.
        clips: Clips to label: a folder, a list or a prepared store; None without.
        learned: A prepared store of clips that the model learned; None without.
        work: Folder for labels and prepared clips; None takes a temporary one, which is removed at
            the end unless labels in it are not learned.
        progress: Receives the progress of clips.
        tell: Receives messages for the user.

    Yields:
        The labelling; None if the model may not be changed, or cannot be labelled for and neither
        clips nor a folder are given.

    Raises:
        InputError: If the clips or the folder cannot be used.
    """
    asked = any(one is not None for one in (clips, learned, work))
    if not service.can_teach:
        yield None
        return
    model = service.model
    try:
        check_labelling(model)
    except InputError:
        if asked:
            raise
        yield None
        return
    own = Path(tempfile.mkdtemp(prefix="cign-labels-")) if work is None else None
    folder = own or work
    assert folder is not None
    labelling = None
    try:
        with folder_lock(folder, "work folder"):
            notes: tuple[str, ...] = ()
            store = None
            if clips is not None:
                encoders = service.backbone(model) or model.media_spec
                store, notes = prepared(clips, folder, encoders, progress)
                if progress is not None:
                    progress.stop()
            known = None if learned is None else Store.open(learned)
            pool = ClipPool(store, known)
            pool.source(model, range(len(pool)))  # refuse tokens of another backbone
            labelling = Labelling(service, pool, folder, notes)
            for one in notes:
                tell(one)
            yield labelling
    finally:
        if own is not None:
            if labelling is not None and labelling.pending():
                tell(
                    f"labels that are not learned are in {own}: continue with the same --clips and "
                    f"--work {own}"
                )
            else:
                shutil.rmtree(own, ignore_errors=True)
