"""Sockets between guest and host that apus itself serves, over Unix sockets."""

import os
import socket
import stat
import threading
import time

import vsock_cases
from guest import IMAGES, Guest, initramfs_with
from harness import limit

from monitor import Monitor


class HybridSockets:
    """The host's side of a guest that apus serves: one socket to call the guest, and others that the guest calls."""

    def __init__(self, path):
        self.path = path

    def call(self, port):
        """The connection, and the answer; an empty one if nobody listens in the guest."""
        stream = socket.socket(socket.AF_UNIX)
        stream.settimeout(120)
        stream.connect(self.path)
        stream.sendall(b"CONNECT %d\n" % port)
        answer = b""
        while not answer.endswith(b"\n") and (byte := stream.recv(1)):
            answer += byte
        return stream, answer

    def connect(self, port):
        stream, answer = self.call(port)
        assert answer.startswith(b"OK ") and int(answer[3:]) >= 1 << 30, answer
        return stream

    def listen(self, port):
        path = f"{self.path}_{port}"
        if os.path.exists(path):
            os.unlink(path)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(path)
        listener.listen(256)
        return listener


@limit(600)
def test_vsock(work):
    """What every socket device does, and what programs made for this kind of socket expect."""
    path = f"{work}/v.sock"
    host = HybridSockets(path)
    # Left by a machine that was killed: nobody listens there any more.
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(path)
    stale.close()
    device = f"vhost-vsock-device,id=vsock0,guest-cid=3,socket={path}"
    with Guest(work, "-device", device, initrd=initramfs_with(work, "vsock"), cpus=2) as guest:
        guest.shell("[ -e /dev/vsock ]")
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
        # Nobody listens in the guest.
        assert host.call(77)[1] == b""
        vsock_cases.host_calls_guest(guest, host)
        vsock_cases.guest_calls_host(guest, host)
        listeners_come_and_go(guest, host)
        half_ends(guest, host)
        slow_reader(guest, host)
        vsock_cases.bulk_with_pauses(guest, host)
        beside_others(guest, work, path)
        new_driver(guest, host)
        guest.type("exit\n")
        assert guest.wait() == 0
        assert "ERROR" not in guest.errors, guest.errors
    assert not os.path.exists(path), "the socket was left behind"


def listeners_come_and_go(guest, host):
    """Each time that somebody listens the guest reaches him, and else nobody."""
    for _ in range(3):
        guest.shell("vsock refused 2 6000")
        with vsock_cases.served(host.listen(6000), vsock_cases.echo):
            assert guest.shell("echo here | vsock connect 2 6000") == "here\n"
        guest.shell("vsock refused 2 6000")


def half_ends(guest, host):
    """The guest ends its direction, and gets what the host then sends."""
    heard = []

    def serve(client):
        with client:
            while data := client.recv(65536):
                heard.append(data)
            client.sendall(b"%d\n" % sum(len(data) for data in heard))

    with vsock_cases.served(host.listen(6001), serve):
        assert guest.shell("head -c 300000 /dev/zero | vsock connect 2 6001") == "300000\n"


def slow_reader(guest, host):
    """A program of the host that does not read stops its writer in the guest, and nobody else."""
    release = threading.Event()
    counts = []

    def serve(client):
        with client:
            release.wait(120)
            count = 0
            while data := client.recv(1 << 18):
                count += len(data)
            counts.append(count)

    with vsock_cases.served(host.listen(6002), serve), vsock_cases.served(host.listen(6003), vsock_cases.echo):
        guest.shell("for i in 1 2 3 4; do head -c 2000000 /dev/zero | vsock connect 2 6002 & done; sleep 0.3")
        assert guest.shell("echo quick | vsock connect 2 6003") == "quick\n"
        release.set()
        guest.shell("wait")
        deadline = time.monotonic() + 60
        while len(counts) < 4 and time.monotonic() < deadline:
            time.sleep(0.02)
    assert counts == [2000000] * 4, counts


def beside_others(guest, work, path):
    """Another machine may have the same CID, but not the same socket."""
    boot = ["-machine", "microvm", "-kernel", IMAGES / "vmlinuz", "-initrd", IMAGES / "initramfs", "-S"]
    with Monitor(work, *boot, "-device", f"virtio-vsock-device,guest-cid=3,socket={path}", serial=None) as other:
        assert other.wait() == 1
        assert "another process listens" in other.errors and path in other.errors, other.errors
    own = f"{work}/other.sock"
    with Monitor(work, *boot, "-device", f"virtio-vsock-device,guest-cid=3,socket={own}", serial=None) as other:
        assert not other.qmp.execute("query-status")["running"]
        assert os.path.exists(own)
        # A start that fails after the socket was made takes it away again.
        failing = ["-device", f"virtio-vsock-device,guest-cid=4,socket={work}/failed.sock"]
        failing += ["-drive", "id=d,file=/nonexistent", "-device", "virtio-blk-device,drive=d"]
        with Monitor(work, *boot, *failing, serial=None) as failed:
            assert failed.wait() == 1
        assert not os.path.exists(f"{work}/failed.sock")
        other.qmp.execute("quit")
        assert other.wait() == 0
    assert not os.path.exists(own)
    assert guest.qmp.execute("query-status")["running"]


def new_driver(guest, host):
    """The guest's driver goes, which ends what was connected, and comes again."""
    vsock_cases.guest_runs(guest, "vsock echo 1300")
    stream = host.connect(1300)
    stream.sendall(b"x")
    assert stream.recv(1) == b"x"
    module = "vmw_vsock_virtio_transport"
    # What is killed gives its sockets up in its own time.
    guest.shell(f"killall -9 vsock; until rmmod {module} 2>/dev/null; do sleep 0.2; done; modprobe {module}")
    assert stream.recv(1) == b""
    vsock_cases.guest_calls_host(guest, host)
