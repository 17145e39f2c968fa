"""What every kind of socket device must do, whoever serves it.

A case is given a guest, which has the program `vsock` (tools/vsock.c), and the host's side of its sockets: an object
with `connect(port)`, a connected stream socket to the guest's port, and `listen(port)`, a listening one where the
guest finds address 2 and that port.
"""

import contextlib
import hashlib
import os
import socket
import threading

from guest import Pauses

MIB = 1 << 20
AMOUNT = 64 * MIB


def guest_runs(guest, command):
    """Starts a program of the guest, in the background, and waits until it listens."""
    guest.shell(f"rm -f /tmp/says; ({command}) 2>/tmp/says & until grep -q LISTENS /tmp/says; do sleep 0.02; done")


def connect(host, port):
    """A connection to a port where a guest has just begun to listen."""
    stream = host.connect(port)
    stream.settimeout(120)
    return stream


@contextlib.contextmanager
def served(listener, serve):
    """Serves the connections of a listener, each by a call of `serve` on a thread, until the end."""

    ended = threading.Event()
    listener.settimeout(0.1)

    def each():
        while not ended.is_set():
            with contextlib.suppress(TimeoutError):
                client = listener.accept()[0]
                client.settimeout(120)
                threading.Thread(target=serve, args=[client], daemon=True).start()

    acceptor = threading.Thread(target=each)
    acceptor.start()
    try:
        yield
    finally:
        ended.set()
        acceptor.join()
        listener.close()


def echo(client):
    with client, contextlib.suppress(OSError):
        while data := client.recv(65536):
            client.sendall(data)


def receive_all(stream):
    whole = hashlib.sha256()
    count = 0
    while data := stream.recv(1 << 18):
        whole.update(data)
        count += len(data)
    return count, whole.hexdigest()


def host_calls_guest(guest, host):
    """An echo in the guest answers the host, in one connection and in many."""
    guest_runs(guest, "vsock echo 1234")
    with connect(host, 1234) as stream:
        for word in (b"hello", b"x" * 100_000, b"\0"):
            stream.sendall(word)
            heard = b""
            while len(heard) < len(word):
                heard += stream.recv(1 << 17)
            assert heard == word
        # Half a connection ends, and the other half follows.
        stream.shutdown(socket.SHUT_WR)
        assert stream.recv(1) == b""
    streams = [connect(host, 1234) for _ in range(200)]
    for number, stream in enumerate(streams):
        stream.sendall(b"%06d" % number * 100)
    for number, stream in enumerate(streams):
        heard = b""
        while len(heard) < 600:
            heard += stream.recv(600)
        assert heard == b"%06d" % number * 100, number
        stream.close()
    guest.shell("killall vsock 2>/dev/null; true")


def guest_calls_host(guest, host):
    """An echo on the host answers the guest, in one connection and in 200 at once; and nobody answers elsewhere."""
    with served(host.listen(4321), echo):
        assert guest.shell("echo hello | vsock connect 2 4321") == "hello\n"
        guest.shell("vsock many 2 4321 200")
    guest.shell("vsock refused 2 4322")
    guest.shell("vsock refused 2 4321")


def both_ways(stream, amount, pauses=None):
    """Sends `amount` bytes while it receives all that comes, with `pauses` of the machine until both are done.

    The hash of what was sent, and the number and hash of the bytes that came.
    """
    data = os.urandom(MIB)
    sent, result, errors = hashlib.sha256(), [], []

    def send():
        try:
            for _ in range(amount // MIB):
                stream.sendall(data)
                sent.update(data)
            stream.shutdown(socket.SHUT_WR)
        except OSError as error:
            errors.append(error)

    threads = [threading.Thread(target=send), threading.Thread(target=lambda: result.append(receive_all(stream)))]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        if pauses:
            pauses.once()
        for thread in threads:
            thread.join(pauses.between if pauses else 0.3)
    assert not errors and result, errors
    return sent.hexdigest(), *result[0]


def bulk_with_pauses(guest, host):
    """64 MiB each way at once arrive as they were sent, though the machine is stopped time and again."""
    pauses = Pauses(guest)
    guest.shell(f"head -c {AMOUNT} /dev/urandom >/tmp/data")
    guest_runs(guest, "vsock listen 5000 </tmp/data | sha256sum >/tmp/sum")
    with connect(host, 5000) as stream:
        sent, count, heard = both_ways(stream, AMOUNT, pauses)
    guest.shell("until [ -s /tmp/sum ]; do sleep 0.02; done")
    assert count == AMOUNT, count
    assert guest.shell("sha256sum </tmp/data").split()[0] == heard, "the host received something else"
    assert guest.shell("cat /tmp/sum").split()[0] == sent, "the guest received something else"
    guest.shell("rm /tmp/data /tmp/sum")
    assert pauses.count > 2, pauses.count
