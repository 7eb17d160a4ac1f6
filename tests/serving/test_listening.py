"""The listening socket of the servers."""

import socket

import pytest

from cign.serving.listening import listen
from refusals import input_error


def test_answers_are_sent_at_once():
    with listen("127.0.0.1", 0) as taken, socket.create_connection(taken.getsockname()):
        accepted, _ = taken.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


@pytest.mark.parametrize("host", ["a" * 64, "a..b", "\udcff"])
def test_an_invalid_host_name_is_one_sentence(host):
    with input_error("bad-value", "--host", repr(host)), listen(host, 0):
        pass
