"""Events of Label Studio's webhooks: annotations that were created, changed or deleted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, TypeGuard

from cign.errors import InputError
from cign.integrations.label_studio.ledger import Ledger
from cign.integrations.label_studio.records import Annotation

START_TRAINING = "START_TRAINING"
_PUT = ("ANNOTATION_CREATED", "ANNOTATIONS_CREATED", "ANNOTATION_UPDATED")
_DELETED = ("ANNOTATION_DELETED", "ANNOTATIONS_DELETED")
_TASKS_DELETED = ("TASK_DELETED", "TASKS_DELETED")


def record(action: str, body: Mapping[str, Any], ledger: Ledger) -> int | None:
    """Record what an event says.

    Args:
        action: Name of the event.
        body: Its content.
        ledger: Receives it.

    Returns:
        How many annotations it changed; None for an event of another kind.

    Raises:
        InputError: If the content is not as Label Studio sends it.
    """
    project = body.get("project")
    if action not in (*_PUT, *_DELETED, *_TASKS_DELETED, START_TRAINING, "PROJECT_UPDATED"):
        return None
    if not isinstance(project, Mapping) or not _is_number(project.get("id")):
        raise InputError(
            "bad-list",
            f"event {action} names no project: switch on 'Send payload' for the webhook in Label "
            "Studio",
        )
    uid = _uid(project)
    if isinstance(project.get("label_config"), str):
        ledger.set_interface(uid, project["label_config"])
    if action in _PUT:
        return sum(ledger.put(one) in ("new", "updated") for one in _annotations(action, body, uid))
    if action in _DELETED:
        numbers = _numbers(body.get("annotations", body.get("annotation")), action)
        return ledger.delete(uid, numbers)
    if action in _TASKS_DELETED:
        numbers = _numbers(body.get("tasks", body.get("task")), action)
        return ledger.delete(uid, numbers, column="task")
    return 0


def record_tasks(tasks: object, project: str, ledger: Ledger) -> int:
    """Record the annotations of tasks as exports list them.

    Args:
        tasks: The tasks, each with ``data`` and ``annotations``.
        project: Identifies the project.
        ledger: Receives them.

    Returns:
        How many annotations were new or changed.

    Raises:
        InputError: If it is not a list of tasks.
    """
    if not isinstance(tasks, list):
        raise InputError("bad-list", "annotations is not a list of tasks: send it as exported")
    return sum(
        ledger.put(_annotation(one, task, project)) in ("new", "updated")
        for task in tasks
        for one in _listed(task.get("annotations") if isinstance(task, Mapping) else None)
    )


def _annotations(action: str, body: Mapping[str, Any], uid: str) -> Iterator[Annotation]:
    """The annotations of an event; several have a list of their tasks beside them."""
    given, tasks = body.get("annotation", body.get("annotations")), body.get("task")
    of = {
        task["id"]: task
        for task in _listed(tasks)
        if isinstance(task, Mapping) and _is_number(task.get("id"))
    }
    found = _listed(given)
    if not found:
        raise InputError("bad-list", f"event {action} has no annotation: check the webhook")
    for one in found:
        number = one.get("task") if isinstance(one, Mapping) else None
        yield _annotation(one, of.get(number) if _is_number(number) else None, uid)


def _annotation(given: object, task: object, uid: str) -> Annotation:
    if not isinstance(given, Mapping) or not isinstance(task, Mapping):
        raise InputError(
            "bad-list", "an annotation comes without its task: send both, as Label Studio does"
        )
    number, result, data = given.get("id"), given.get("result"), task.get("data")
    if not _is_number(number) or not _is_number(task.get("id")):
        raise InputError("bad-list", f"annotation {number!r} or its task has no number")
    if not isinstance(result, list) or not isinstance(data, Mapping):
        raise InputError(
            "bad-list", f"annotation {number} has no list of results, or its task no data"
        )
    return Annotation(
        project=uid,
        id=number,
        task=task["id"],
        data=data,
        result=result,
        ground_truth=given.get("ground_truth") is True,
        cancelled=given.get("was_cancelled") is True,
        updated_at=_text(given.get("updated_at")),
    )


def _numbers(given: object, action: str) -> list[int]:
    """The numbers of deleted entries."""
    found = [one.get("id") if isinstance(one, Mapping) else one for one in _listed(given)]
    numbers = [number for number in found if _is_number(number)]
    if not found or len(numbers) < len(found):
        raise InputError("bad-list", f"event {action} names no numbers of what was deleted")
    return numbers


def _listed(value: object) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _is_number(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63


def _text(value: object) -> str:
    """A date as text that can be compared; empty if it is none."""
    try:
        if not isinstance(value, str):
            return ""
        date = datetime.fromisoformat(value).astimezone(UTC)
        return date.isoformat(timespec="microseconds")
    except (ValueError, OverflowError):
        return ""


def _uid(project: Mapping[str, Any]) -> str:
    """The name by which Label Studio calls a project: its number and the time of its creation.

    The time tells projects of several servers apart.
    """
    created = project.get("created_at")
    try:
        time_s = int(datetime.fromisoformat(created).timestamp()) if created else None
    except (TypeError, ValueError):
        time_s = None
    return f"{project['id']}.{time_s}" if time_s is not None else str(project["id"])
