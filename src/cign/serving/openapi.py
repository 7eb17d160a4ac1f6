"""Descriptions and examples of the routes, for OpenAPI and the page /docs."""

from __future__ import annotations

from typing import Any

DESCRIPTION = (
    "Audio-visual predictions of a `cign` model. Every answer names the version of the model that "
    "made it; an error is an object with `error`, a sentence, and `code`, which is stable."
)
_PREDICTION = {
    "file": "clip.mp4",
    "start_s": 1.0,
    "end_s": 4.0,
    "label": "dog",
    "unknown": 0.31,
    "is_unknown": False,
    "unknown_threshold": 0.75,
    "unknown_evidence": {"max_logit": -0.9, "margin": -0.8, "leverage": -0.7},
    "why_unknown": None,
    "modalities": {
        "audio": [{"label": "clock", "probability": 0.62}],
        "visual": [{"label": "dog", "probability": 0.91}],
        "audio_visual": [{"label": "dog", "probability": 0.97}],
    },
    "labels": ["dog"],
    "threshold": None,
    "below_threshold": None,
    "missing": [],
    "error": None,
    "error_code": None,
    "model_version": 3,
    "model_checksum": "5f0c9a2be11d",
}
_BINARY = {"type": "string", "format": "binary"}
_ERROR_SCHEMA = {
    "type": "object",
    "required": ["error", "code"],
    "properties": {"error": {"type": "string"}, "code": {"type": "string"}},
}


def _json(description: str, example: Any) -> dict[str, Any]:
    kind = "array" if isinstance(example, list) else "object"
    content = {"schema": {"type": kind}, "example": example}
    return {"description": description, "content": {"application/json": content}}


def _error(description: str, code: str, sentence: str) -> dict[str, Any]:
    content = {"schema": _ERROR_SCHEMA, "example": {"error": sentence, "code": code}}
    return {"description": description, "content": {"application/json": content}}


_FAILURES = {
    "401": _error("the token is missing or wrong", "unauthorized", "the token is missing or wrong"),
    "408": _error("the body did not arrive in time", "timeout", "the body did not arrive"),
    "413": _error("the body is too large", "too-large", "the body has more than 209,715,200 bytes"),
    "422": _error("the clip cannot be read", "file-unreadable", "a.mp4 cannot be read"),
    "503": _error("too many requests; Retry-After says when", "overloaded", "try again"),
}


def _form(field: str, description: str, *, several: bool, **others: Any) -> dict[str, Any]:
    files: dict[str, Any] = {"type": "array", "items": _BINARY} if several else _BINARY
    return {
        "schema": {
            "type": "object",
            "required": [field, *others],
            "properties": {field: {**files, "description": description}, **others},
        }
    }


PLAIN: dict[str, Any] = {"responses": {"200": {"description": "as described"}}}
PREDICT: dict[str, Any] = {
    "description": "The objects of `cign predict --json`: one, or with `every` one per window.",
    "responses": {"200": _json("predictions", [_PREDICTION]), **_FAILURES},
    "openapi_extra": {
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": _form("file", "a video or audio file", several=False),
                "application/json": {
                    "schema": {
                        "type": "object",
                        "required": ["url"],
                        "properties": {"url": {"type": "string", "format": "uri"}},
                    },
                    "example": {"url": "https://media.example.org/clip.mp4"},
                },
                "application/x-npz": {
                    "schema": {
                        **_BINARY,
                        "description": "numpy.savez of audio, rate_hz, frames, frame_rate_hz; or "
                        "of audio_features and visual_features",
                    }
                },
            },
        }
    },
}
CLASSES: dict[str, Any] = {
    "responses": {
        "200": _json(
            "classes in the order of learning",
            {
                "model_version": 3,
                "model_checksum": "5f0c9a2be11d",
                "classes": [{"name": "dog", "task": 1}],
            },
        )
    }
}
HEALTH: dict[str, Any] = {
    "responses": {
        "200": _json(
            "state",
            {
                "live": True,
                "ready": True,
                "model_version": 3,
                "model_checksum": "5f0c9a2be11d",
                "num_classes": 24,
                "reload_error": None,
                "teach": False,
            },
        )
    }
}
_TAUGHT = {
    "model_version": 4,
    "new": {"rooster": 7},
    "known": {},
    "num_replaced": 0,
    "removed": [],
    "notes": [],
    "cost": {"num_clips": 25, "before": 96.0, "after": 92.0, "to_new": 4.0, "to_old": 0.0},
    "seconds": 1.4,
}
_CONFLICT = {
    "409": _error("another version is current, or the model is in use", "model-changed", "...")
}
ADD: dict[str, Any] = {
    "description": "Adds clips of one class, new or known. Of five clips or more, one in five is "
    "stored for validation and not learned.",
    "responses": {"200": _json("what was learned", _TAUGHT), **_FAILURES, **_CONFLICT},
    "openapi_extra": {
        "requestBody": {
            "required": True,
            "content": {"multipart/form-data": _form("files", "clips", several=True)},
        }
    },
}
CORRECT: dict[str, Any] = {
    "description": "Learns a clip with the right label, in place of what was learned of it before.",
    "responses": {"200": _json("what was learned", _TAUGHT), **_FAILURES, **_CONFLICT},
    "openapi_extra": {
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": _form(
                    "file",
                    "the clip",
                    several=False,
                    label={"type": "string", "description": "its class; repeated for several"},
                )
            },
        }
    },
}
UNDO: dict[str, Any] = {
    "description": "Returns to the previous version.",
    "responses": {"200": _json("the version", {"model_version": 3}), **_CONFLICT},
}


def with_examples(api: dict[str, Any]) -> dict[str, Any]:
    """The description with complete examples: FastAPI omits their fields that are null."""
    for path, method, given in (("/predict", "post", PREDICT), ("/health", "get", HEALTH)):
        content = api["paths"][path][method]["responses"]["200"]["content"]
        content["application/json"] = given["responses"]["200"]["content"]["application/json"]
    return api
