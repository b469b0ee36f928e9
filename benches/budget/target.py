"""The smallest target and the smallest caller: one connection each, the same bytes every time, so that counts repeat."""

import socket
import threading

BODY = b'{"ok":true,"result":{"id":"0193f2c0","score":0.87,"notes":["alpha","beta"]}}'
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(BODY), BODY)


def length(head):
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.split(b":", 1)[1])
    return 0


class Stream:
    """Messages with a length, off a socket."""

    def __init__(self, stream):
        self.stream, self.left = stream, b""
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def message(self):
        """A head, once what belongs to it has been read; `None` at the end."""
        while b"\r\n\r\n" not in self.left:
            if not self._more():
                return None
        head, _, self.left = self.left.partition(b"\r\n\r\n")
        wanted = length(head)
        while len(self.left) < wanted:
            if not self._more():
                return None
        self.left = self.left[wanted:]
        return head

    def _more(self):
        more = self.stream.recv(1 << 18)
        self.left += more
        return bool(more)


class Target:
    """Answers every request alike, on every connection."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            stream, _ = self.listener.accept()
            threading.Thread(target=self._serve, args=(stream,), daemon=True).start()

    @staticmethod
    def _serve(stream):
        requests = Stream(stream)
        try:
            while requests.message() is not None:
                stream.sendall(ANSWER)
        except OSError:
            pass


class Caller:
    """One kept connection, one call after the other."""

    def __init__(self, port):
        self.stream = socket.create_connection(("127.0.0.1", port), 60)
        self.answers = Stream(self.stream)

    def calls(self, request, times, expected):
        for _ in range(times):
            self.stream.sendall(request)
            head = self.answers.message()
            status = int(head.split(b" ", 2)[1]) if head else None
            if status != expected:
                raise RuntimeError(f"a call was answered {status}, not {expected}")
