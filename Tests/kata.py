"""Kata Containers' driver for StratoVirt, played: what it starts, how it is connected, and what it sends, byte for byte.

It is Kata's Go runtime (virtcontainers/stratovirt.go, and govmm's QMP client) as apus meets it, no more: a machine is
started with descriptors from 3 up, its QMP socket is tried at once and then each 50 ms, one command is under way at a
time, without an id, with an object's keys in order, and answers are told from events by their keys alone.
"""

import contextlib
import fcntl
import json
import os
import select
import signal
import socket
import struct
import tempfile
import time
import uuid
from pathlib import Path

import harness
from monitor import APUS, PATIENCE, QMPError

RETRY = 0.05

TUNSETIFF, IFF_TAP, IFF_MULTI_QUEUE, IFF_NO_PI, IFF_VNET_HDR = 0x400454CA, 0x0002, 0x0100, 0x1000, 0x4000


def open_tap():
    """A tap as Kata makes them; its descriptor."""
    tap = os.open("/dev/net/tun", os.O_RDWR)
    flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | IFF_MULTI_QUEUE
    fcntl.ioctl(tap, TUNSETIFF, struct.pack("16sH22x", b"apkata%d", flags))
    return tap


class Client:
    """govmm's end of a QMP connection: whatever is on a line, by its keys."""

    def __init__(self, path):
        self._socket = socket.socket(socket.AF_UNIX)
        try:
            self._socket.settimeout(PATIENCE)
            self._socket.connect(path)
            self._lines = self._socket.makefile("rb")
            self.events = []
            while "QMP" not in (greeting := self._line()):
                pass
        except BaseException:
            self.close()
            raise
        version = greeting["QMP"]["version"]["qemu"]
        assert all(type(version[part]) is int for part in ("major", "minor", "micro")), version
        assert version["major"] >= 5 and isinstance(greeting["QMP"]["capabilities"], list), greeting
        self.execute("qmp_capabilities")

    def _line(self):
        line = self._lines.readline()
        if not line.endswith(b"\n"):
            raise EOFError("the QMP connection was closed")
        return json.loads(line)

    def execute(self, command, arguments=None):
        message = {"execute": command}
        if arguments is not None:
            message["arguments"] = arguments
        self._socket.sendall(json.dumps(message, sort_keys=True, separators=(",", ":")).encode() + b"\n")
        while True:
            answer = self._line()
            if "event" in answer:
                self.events.append(answer)
            elif "error" in answer:
                raise QMPError(answer["error"])
            elif "return" in answer:
                return answer["return"]

    def wait_deleted(self, device):
        """Waits for the DEVICE_DELETED of a device, which may have come before the answer to its command."""
        while True:
            while self.events:
                event = self.events.pop(0)
                if event["event"] == "DEVICE_DELETED" and event["data"]["device"] == device:
                    return
            answer = self._line()
            if "event" in answer:
                self.events.append(answer)

    def close(self):
        self._socket.close()


class Sandbox:
    """One machine as Kata runs it. Use it in a `with`: at its end the process is killed, as Kata does.

    `image` is a root file system, or `initrd` one in memory; `vsock` is an open vhost-vsock with the guest's address;
    `shared` is the socket of a virtiofsd that runs already; `taps` are lists of open descriptors, one for each card.
    `machine`, `devices` and `parameters` are more keys, options and kernel parameters, where a test needs any; Kata
    has its guests without ACPI unless `acpi`.
    """

    def __init__(
        self, work, kernel, *, image=None, initrd=None, debug=False, vsock=None, shared=None, taps=(), cpus=1,
        memory=256, machine="", acpi=False, parameters=(), devices=()
    ):  # fmt: skip
        self.folder = Path(tempfile.mkdtemp(prefix="vm-", dir=work))
        self.qmp_path = str(self.folder / "qmp.socket")
        self.console_path = str(self.folder / "console.socket")
        self._descriptors = []
        self._client = None
        self.status = None

        words = ["-name", f"sandbox-{uuid.uuid4().hex}", "-uuid", str(uuid.uuid4()), "-smp", str(cpus)]
        words += ["-m", str(memory), "-kernel", str(kernel)]
        words += ["-append", " ".join(self._parameters(image, debug, acpi, parameters))]
        words += ["-qmp", f"unix:{self.qmp_path},server,nowait", "-D", "-disable-seccomp"]
        words += ["-machine", f"type=microvm,dump-guest-core=off{',mem-share=on' if shared else ''}{machine}"]
        if initrd:
            words += ["-initrd", str(initrd)]
        words += ["-object", "rng-random,id=objrng0,filename=/dev/urandom"]
        words += ["-device", "virtio-rng-device,rng=objrng0,id=virtio-rng0"]
        if debug:
            words += ["-device", "virtio-serial-device,id=virtio-serial0"]
            words += ["-chardev", f"socket,id=charconsole0,path={self.console_path},server,nowait"]
            words += ["-device", "virtconsole,chardev=charconsole0,id=virtio-console0,nr=0"]
        if image:
            words += ["-drive", f"id=rootfs,file={image},readonly=on,direct=off"]
            words += ["-device", "virtio-blk-device,drive=rootfs,id=virtio-blk0"]
        if vsock:
            descriptor, cid = vsock
            words += ["-device", f"vhost-vsock-device,id=vsock-id,guest-cid={cid},vhostfd={self._give(descriptor)}"]
        if shared:
            words += ["-chardev", f"socket,id=virtio_fs,path={shared},server,nowait"]
            words += ["-device", "vhost-user-fs-device,chardev=virtio_fs,tag=kataShared,id=virtio-fs0"]
        for number, tap in enumerate(taps):
            given = ":".join(str(self._give(descriptor)) for descriptor in tap)
            words += ["-netdev", f"tap,id=tap{number}_kata,fds={given}", "-device"]
            words += [f"virtio-net-device,netdev=tap{number}_kata,id=tap{number}_kata,mac=02:00:00:00:00:{number:02x}"]
        self.command = [APUS, *words, *devices]
        self._start(debug)
        harness.keep(self)

    @staticmethod
    def _parameters(image, debug, acpi, more):
        root = "root=/dev/vda1 rootflags=data=ordered,errors=remount-ro ro rootfstype=ext4".split() if image else []
        found = [*more, *root, "reboot=k", "panic=1", "net.ifnames=0", "ramdom.trust_cpu=on"]
        found += [] if acpi else ["pci=off", "iommu=off", "acpi=off"]
        return found + (["debug", "console=hvc0"] if debug else ["quiet", "8250.nr_uarts=0", "agent.log_vport=1025"])

    def _give(self, descriptor):
        """Hands a descriptor over, at the next number from 3 up."""
        self._descriptors.append(descriptor)
        return 2 + len(self._descriptors)

    def _start(self, debug):
        environment = {"STRATOVIRT_LOG_LEVEL": "info"} if debug else os.environ
        self._errors = open(self.folder / "errors", "w+b")
        # Copies that are out of the way of the numbers they go to.
        copies = [fcntl.fcntl(one, fcntl.F_DUPFD_CLOEXEC, 100) for one in [self._errors.fileno(), *self._descriptors]]
        null = os.open("/dev/null", os.O_RDWR)
        places = [(null, 0), (null, 1), (copies[0], 2), *((copy, 3 + n) for n, copy in enumerate(copies[1:]))]
        actions = [(os.POSIX_SPAWN_DUP2, copy, place) for copy, place in places]
        self.started = time.monotonic()
        # It returns when the program has been executed.
        self.pid = os.posix_spawn(APUS, self.command, environment, file_actions=actions)
        self._ended = os.pidfd_open(self.pid)
        for copy in [null, *copies]:
            os.close(copy)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()

    def start_vm(self):
        """Waits until the machine answers, as `waitVM` does: connects, and hangs up. How many attempts it took."""
        attempts = 0
        while True:
            attempts += 1
            try:
                Client(self.qmp_path).close()
                return attempts
            except OSError:
                assert self.wait(0) is None, f"apus has ended:\n{self.errors}"
                assert time.monotonic() < self.started + PATIENCE, "apus does not listen"
            time.sleep(RETRY)

    @property
    def client(self):
        """The connection of all that follows, made at its first use."""
        if self._client is None:
            self._client = Client(self.qmp_path)
        return self._client

    def thread_ids(self):
        """The vCPUs' threads, by their numbers."""
        found = {cpu["CPU"]: cpu["thread_id"] for cpu in self.client.execute("query-cpus")}
        assert all(thread > 0 for thread in found.values()), found
        return found

    def hotplug(self, name, path, letter, read_only=False, sector_sizes=None):
        """Plugs a disk in where the agent expects /dev/vd`letter`."""
        driver = "file" if os.path.isfile(path) else "host_device"
        file = {"driver": driver, "filename": str(path), "aio": "native"}
        node = {"driver": "raw", "read-only": read_only, "node-name": name, "file": file}
        self.client.execute("blockdev-add", node)
        device = {"id": name, "driver": "virtio-blk-mmio", "drive": name, "addr": str(ord(letter) - ord("a"))}
        device["romfile"] = ""
        if sector_sizes:
            device["logical_block_size"], device["physical_block_size"] = sector_sizes
        try:
            self.client.execute("device_add", device)
        except QMPError:
            with contextlib.suppress(QMPError):
                self.client.execute("blockdev-del", {"node-name": name})
            raise

    def unplug(self, name):
        self.client.execute("device_del", {"id": name})
        self.client.wait_deleted(name)

    def console(self):
        """A connection to the console of a machine for debugging."""
        stream = socket.socket(socket.AF_UNIX)
        stream.settimeout(PATIENCE)
        stream.connect(self.console_path)
        return stream

    def stop_vm(self):
        """Ends the machine: sees that it answers, and kills it."""
        self.client.execute("qmp_capabilities")
        self.kill()
        assert self.status == -signal.SIGKILL, self.status

    def wait(self, timeout=PATIENCE):
        """Waits for the end; the exit status, negative for a signal, or None."""
        if self.status is None and select.select([self._ended], [], [], timeout)[0]:
            self.status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.status

    def kill(self):
        if self.wait(0) is None:
            os.kill(self.pid, signal.SIGKILL)
            self.wait()
        if self._client is not None:
            self._client.close()

    @property
    def errors(self):
        """What apus said on stderr."""
        self._errors.seek(0)
        return self._errors.read().decode(errors="replace")

    def log(self):
        return f"{' '.join(self.command)}\nexit status {self.status}\nstderr:\n{self.errors}"
