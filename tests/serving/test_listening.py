"""The listening socket of the servers."""

import socket

from cign.serving.listening import listen


def test_answers_are_sent_at_once():
    with listen("127.0.0.1", 0) as taken, socket.create_connection(taken.getsockname()):
        accepted, _ = taken.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
