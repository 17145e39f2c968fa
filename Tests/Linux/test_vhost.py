"""The devices whose packets the host's kernel moves."""

import os
import socket

import vsock_cases
from guest import IMAGES, Guest, initramfs_with
from harness import Skip, limit

from monitor import Monitor

CID = 77


class KernelSockets:
    """The host's side of a guest that the kernel serves."""

    def __init__(self, cid):
        self.cid = cid

    def connect(self, port):
        stream = socket.socket(socket.AF_VSOCK)
        stream.connect((self.cid, port))
        return stream

    def listen(self, port):
        listener = socket.socket(socket.AF_VSOCK)
        listener.bind((socket.VMADDR_CID_ANY, port))
        listener.listen(256)
        return listener


def refusal(work, *options, **more):
    """What apus says when it does not start."""
    boot = ["-machine", "microvm", "-kernel", IMAGES / "vmlinuz", "-initrd", IMAGES / "initramfs"]
    with Monitor(work, *boot, *options, serial=None, **more) as monitor:
        assert monitor.wait() == 1
        return monitor.errors


@limit(600)
def test_vsock(work):
    """Connections both ways, many at once, and much data, while the machine pauses; also over a new driver."""
    if not os.path.exists("/dev/vhost-vsock"):
        raise Skip("the kernel has no vhost-vsock")
    host = KernelSockets(CID)
    device = f"vhost-vsock-device,id=vsock0,guest-cid={CID}"
    inherited = os.open("/dev/vhost-vsock", os.O_RDWR)
    options = ["-device", f"{device},vhostfd={inherited}"]
    initrd = initramfs_with(work, "vsock")
    with Guest(work, *options, initrd=initrd, cpus=2, pass_fds=[inherited]) as guest:
        os.close(inherited)
        vsock_cases.host_calls_guest(guest, host)
        vsock_cases.guest_calls_host(guest, host)
        vsock_cases.bulk_with_pauses(guest, host)
        # The address is taken.
        told = refusal(work, "-device", device)
        assert f"guest-cid={CID}" in told and "another machine" in told and "socket=PATH" in told, told
        # A descriptor of something else is no device.
        with open("/dev/null") as null:
            told = refusal(work, "-device", f"{device},vhostfd={null.fileno()}", pass_fds=[null.fileno()])
            assert f"vhostfd={null.fileno()}" in told and "/dev/vhost-vsock" in told, told
        # The driver goes and comes again.
        guest.shell("rmmod vmw_vsock_virtio_transport && modprobe vmw_vsock_virtio_transport")
        vsock_cases.guest_calls_host(guest, host)
        guest.type("exit\n")
        assert guest.wait() == 0
        assert "WARN" not in guest.errors and "ERROR" not in guest.errors, guest.errors
