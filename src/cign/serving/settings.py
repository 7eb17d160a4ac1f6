"""Settings of `cign serve`, and the limits that have no option."""

from __future__ import annotations

from dataclasses import dataclass

from cign.data.media.limits import MediaLimits
from cign.errors import InputError
from cign.serving.hosts import AllowedHost
from cign.serving.listening import is_local

# 8,192 x 4,096 pixels are more than any camera film has; twelve hours need no more memory than
# seconds, but a request with `every` must end.
MEDIA_LIMITS = MediaLimits(max_pixels=2**25, max_duration_s=12 * 3600.0)
MAX_WINDOWS = 10_000
MAX_MAPS = 1_000  # windows of a request with maps
MAX_TOP = 1_000
HEADER_TIMEOUT_S = 10.0
MAX_HEADER_BYTES = 16 * 2**10
MAX_JSON_BYTES = 16 * 2**10
FORM_BYTES = 64 * 2**10  # of a multipart body beside the files
MAX_CONNECTIONS = 512
MIN_TOKEN_CHARACTERS = 16


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of a server.

    Attributes:
        host: Address to listen on.
        token: Token that requests must carry; None for none.
        teach: Whether requests may change the model.
        allowed_hosts: Hosts that files may be fetched from.
        max_upload: Largest accepted body of a request, and largest fetched file, in bytes.
        timeout_s: Time for a request from its first byte to its answer, in seconds.
        max_queue: Requests of a worker that are received, decoded and computed at a time.
        max_batch: Windows that are encoded together.
        max_wait_s: How long a batch waits for requests that are still to be decoded, in seconds.
    """

    host: str = "127.0.0.1"
    token: str | None = None
    teach: bool = False
    allowed_hosts: tuple[AllowedHost, ...] = ()
    max_upload: int = 200 * 2**20
    timeout_s: float = 60.0
    max_queue: int = 64
    max_batch: int = 16
    max_wait_s: float = 0.03

    def __post_init__(self) -> None:
        if self.token is not None:
            _check_token(self.token)
        elif self.teach or not is_local(self.host):
            why = "--teach lets requests change the model"
            if not self.teach:
                why = f"{self.host} can be reached from other machines"
            raise InputError(
                "missing-option",
                f"{why}, so a token is required: set the environment variable CIGN_TOKEN, or give "
                "--token",
            )


def _check_token(token: str) -> None:
    """Refuse a token that no header can carry, or that is easily guessed.

    Raises:
        InputError: The sentence does not contain the token.
    """
    if len(token) < MIN_TOKEN_CHARACTERS or not token.isascii() or not token.isprintable():
        raise InputError(
            "bad-value",
            f"the token has {len(token)} characters: use {MIN_TOKEN_CHARACTERS} or more printable "
            "ASCII characters, for example of `openssl rand -hex 16`",
        )
    if " " in token:
        raise InputError("bad-value", "the token contains a blank: use one without blanks")
