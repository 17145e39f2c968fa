"""Kata Containers' driver, played with a stock kernel.

Debian's kernel finds no device without ACPI, since it reads no MP table and has no `virtio_mmio.device=`; so one guest
is started just as Kata does, to see that all is taken and answered, and another, with ACPI, to see it used.
"""

import fcntl
import os
import shutil
import signal
import socket
import struct
import subprocess
import time

import vsock_cases
from guest import IMAGES, LAB_PARAMETERS, Guest, build_tool
from harness import Skip, limit
from kata import Sandbox, open_tap
from test_filesystem import FileServer

CID = 1077
MIB = 1 << 20
SECTOR = 512
VHOST_VSOCK_SET_GUEST_CID = 0x4008AF60
HOST, GUEST = "192.168.79.1", "192.168.79.2"


def vsock_device():
    """What Kata hands over: an open vhost-vsock that has the guest's address already."""
    if not os.path.exists("/dev/vhost-vsock"):
        raise Skip("the kernel has no vhost-vsock")
    device = os.open("/dev/vhost-vsock", os.O_RDWR)
    fcntl.ioctl(device, VHOST_VSOCK_SET_GUEST_CID, struct.pack("Q", CID))
    return device


def partitioned(image, path):
    """A disk with one partition, as Kata's images are, which holds a file system."""
    count = image.stat().st_size // SECTOR
    table = bytearray(MIB)
    table[446:462] = struct.pack("<B3sB3sII", 0, b"\xfe\xff\xff", 0x83, b"\xfe\xff\xff", MIB // SECTOR, count)
    table[510:512] = b"\x55\xaa"
    with open(path, "wb") as out, open(image, "rb") as file:
        out.write(table)
        shutil.copyfileobj(file, out, MIB)
    return path


def volume(path, *files):
    """A file system of its own with these files."""
    folder = path.with_suffix(".files")
    folder.mkdir()
    for file in files:
        shutil.copy(file, folder)
    path.write_bytes(b"")
    os.truncate(path, 32 * MIB)
    subprocess.run(["/sbin/mke2fs", "-q", "-t", "ext4", "-d", folder, path], check=True)
    return path


class Console(Guest):
    """The console of a sandbox that is debugged, with a shell."""

    def __init__(self, sandbox):
        self.output, self._from = "", 0
        self._sandbox, self._stream = sandbox, sandbox.console()
        self.use_console(self._stream.fileno())

    def wait(self, timeout=0):
        return self._sandbox.wait(timeout)


class KernelSockets:
    """The host's end of the guest's sockets."""

    def connect(self, port):
        stream = socket.socket(socket.AF_VSOCK)
        stream.connect((CID, port))
        return stream


@limit(300)
def test_as_kata_starts_it(work):
    """Everything of the command line and of QMP, without ACPI, quiet and for debugging."""
    image = partitioned(IMAGES / "root.ext4", work / "image")
    disk = volume(work / "volume")
    for debug in False, True:
        vsock, taps = vsock_device(), [open_tap(), open_tap()]
        with Sandbox(
            work, IMAGES / "vmlinuz", image=image, debug=debug, cpus=2, vsock=(vsock, CID), taps=[[tap] for tap in taps],
            parameters=LAB_PARAMETERS.split()
        ) as sandbox:  # fmt: skip
            for descriptor in [vsock, *taps]:
                os.close(descriptor)
            sandbox.start_vm()
            for thread in sandbox.thread_ids().values():
                os.sched_setaffinity(thread, {0})
            for _ in range(3):
                sandbox.hotplug("drive-1", disk, "b")
                sandbox.unplug("drive-1")
            sandbox.hotplug("drive-1", disk, "d", sector_sizes=(512, 512))
            assert "ERROR" not in sandbox.errors and "WARN" not in sandbox.errors, sandbox.errors
            sandbox.stop_vm()


@limit(400)
def test_a_guest_that_uses_it(work):
    """The same with ACPI: an image's partition as root, the agent's socket, a network, a folder of the host, volumes that
    come and go."""
    image = partitioned(IMAGES / "root.ext4", work / "image")
    disk = volume(work / "volume", build_tool(work, "vsock"))
    vsock, tap = vsock_device(), open_tap()
    name = next(one for one in os.listdir("/sys/class/net") if one.startswith("apkata"))
    subprocess.run(["ip", "addr", "add", f"{HOST}/24", "dev", name], check=True)
    subprocess.run(["ip", "link", "set", name, "up"], check=True)
    (work / "shared").mkdir()
    (work / "shared/file").write_text("of the host\n")
    server = FileServer(work, work / "shared")
    with Sandbox(
        work, IMAGES / "vmlinuz", initrd=IMAGES / "initramfs", image=image, debug=True, cpus=2, vsock=(vsock, CID),
        shared=server.path, taps=[[tap]], machine=",hotplug=on", acpi=True, parameters=LAB_PARAMETERS.split()
    ) as sandbox:  # fmt: skip
        os.close(vsock)
        os.close(tap)
        sandbox.start_vm()
        guest = Console(sandbox)
        processors = sorted(os.sched_getaffinity(0))
        for cpu, thread in sandbox.thread_ids().items():
            os.sched_setaffinity(thread, {processors[cpu % len(processors)]})
        assert guest.shell("cut -d ' ' -f 1-2 /proc/mounts | grep ' /$'").startswith("/dev/vda1 ")
        assert guest.shell("cat /sys/class/misc/hw_random/rng_current").startswith("virtio_rng")

        guest.shell("mount -t tmpfs tmpfs /mnt; mkdir /mnt/volume /mnt/shared; mount -t virtiofs kataShared /mnt/shared")
        assert guest.shell("cat /mnt/shared/file; echo of the guest >/mnt/shared/file") == "of the host\n"
        assert (work / "shared/file").read_text() == "of the guest\n"

        # A volume with the agent's program on it.
        sandbox.hotplug("drive-1", disk, "b", read_only=True)
        guest.shell("until [ $(cat /sys/class/block/vdb/size) != 0 ]; do sleep 0.1; done")
        guest.shell("mount -t ext4 -o ro /dev/vdb /mnt/volume")
        guest.shell("cp /mnt/volume/vsock /mnt; export PATH=$PATH:/mnt; umount /mnt/volume")
        sandbox.unplug("drive-1")
        guest.shell("until [ $(cat /sys/class/block/vdb/size) = 0 ]; do sleep 0.1; done")

        vsock_cases.host_calls_guest(guest, KernelSockets())
        assert guest.shell("cat /sys/class/net/eth0/address").strip() == "02:00:00:00:00:00"
        guest.shell(f"ifconfig eth0 {GUEST} netmask 255.255.255.0 up; ping -c 3 -W 20 {HOST}")

        assert "ERROR" not in sandbox.errors and "WARN" not in sandbox.errors, sandbox.errors
        sandbox.stop_vm()
    assert sandbox.status == -signal.SIGKILL
    server.wait()
    # The kernel takes a killed process's ring, and the tap with it, apart in its own time.
    deadline = time.monotonic() + 20
    while name in os.listdir("/sys/class/net"):
        assert time.monotonic() < deadline, "its tap goes with a machine that is killed"
        time.sleep(0.05)
