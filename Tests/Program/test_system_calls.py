"""The filters of system calls, against what machines really do: each call that they allow is made here, or stands in
the list below with the reason why a test cannot have it made."""

import contextlib
import os
import pty
import socket
import struct
import subprocess
import tempfile
import time

from driver import READABLE, WRITABLE, Device, Script
from harness import Skip
from test_plug import HOT, add_disk, image, open_tap
from tiny import IDLE, PATIENCE, SPIN, Tiny
from trace import Trace

MAIN, IOTHREAD, VCPU = "main", "iothread", "vcpu"
REACTORS, ALL = {MAIN, IOTHREAD}, {MAIN, IOTHREAD, VCPU}

# What no test can have made when it wants, or not on every host: the call's number, its arguments' values (or any),
# whose, and why.
PI_LOCK, PI_UNLOCK = 0x86, 0x87
HAS_VHOST = os.path.exists("/dev/vhost-net") and os.path.exists("/dev/vhost-vsock")
VHOST = [
    0xAF01, 0x8008AF00, 0x4008AF00, 0x4008AF03, 0x4008AF10, 0x4028AF11, 0x4008AF12, 0xC008AF12, 0x4008AF20, 0x4008AF21,
    0x4008AF22, 0x4008AF30, 0x4004AF61,
]  # fmt: skip
EXCUSED = [
    (228, None, ALL, "clock_gettime: only where the vDSO has no clock"),
    (202, ((1, 0x80),), REACTORS, "futex: two threads at one lock of the C library in the same moment"),
    (202, ((1, PI_LOCK),), ALL, "futex: two threads at one lock of Swift's in the same moment"),
    (202, ((1, PI_UNLOCK),), ALL, "futex: two threads at one lock of Swift's in the same moment"),
    (202, ((1, 0x109),), {MAIN}, "futex: the wait for a thread that is about to end, if it has not ended by then"),
    (12, None, ALL, "brk: when the heap happens to be full"),
    (9, None, ALL, "mmap: in place of brk, by what was freed before"),
    (11, None, REACTORS, "munmap: the end of such a mapping"),
    (231, None, {VCPU, IOTHREAD}, "exit_group: after a forbidden call, which the tests of Sandbox make"),
    (290, None, REACTORS, "eventfd2: for a device with more queues than any before it in its slot"),
    (3, None, {IOTHREAD}, "close: where an iothread is the last to use a file"),
    *((16, ((1, request),), REACTORS, "ioctl: of vhost, which this host lacks") for request in VHOST if not HAS_VHOST),
]


class Coverage:
    """What is allowed and what is made, by role."""

    def __init__(self):
        self._names, self._allowed, self._used = {}, {}, {}

    def add(self, calls, iothreads=()):
        for thread, program, number, name, arguments in calls:
            role = VCPU if thread.startswith("CPU ") else IOTHREAD if thread in iothreads else MAIN
            self._names[number] = name
            self._allowed.setdefault(role, set()).update(program.allowed())
            made = program.name(number, arguments)
            assert made, f"{role} made the forbidden {name}({', '.join(map(hex, arguments))})"
            self._used.setdefault(role, set()).add(made)

    def check(self):
        assert set(self._allowed) == ALL, self._allowed.keys()
        unused = []
        for role, allowed in self._allowed.items():
            for number, arguments in sorted(allowed - self._used[role]):
                if not any(
                    number == excused and values in (None, arguments) and role in roles
                    for excused, values, roles, _ in EXCUSED
                ):
                    text = ", ".join(f"{position}: {value:#x}" for position, value in arguments)
                    unused.append(f"{role}: {self._names.get(number, number)} {text}".rstrip())
        assert not unused, "allowed, but never made:\n" + "\n".join(unused)
        everything = set().union(*self._allowed.values())
        for number, values, _, reason in EXCUSED:
            assert any(number == n and values in (None, a) for n, a in everything), f"not even allowed: {reason}"


def test_everything_that_is_allowed_is_made(work):
    if os.geteuid() != 0:
        raise Skip("taps need root")
    coverage = Coverage()
    scenarios = [devices, plugging, plugging_alone, consoles]
    if HAS_VHOST:
        scenarios.append(devices_of_the_kernel)
    for number, scenario in enumerate(scenarios):
        folder = work / scenario.__name__
        folder.mkdir()
        trace = Trace(work / f"trace-{number}")
        tiny = scenario(folder, trace.under)
        coverage.add(trace.read(tiny.process.pid), {"io0", "spare"})
    coverage.check()


@contextlib.contextmanager
def packets(interface):
    """A socket on an interface that is up."""
    subprocess.run(["ip", "link", "set", interface, "up"], check=True)
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)) as link:
        link.settimeout(PATIENCE)
        link.bind((interface, 0))
        yield link


FRAME = b"\xff" * 6 + b"\x02" * 6 + b"\x88\xb5" + bytes(46)
HOST, GUEST, PORT = 2, 3, 1234
REQUEST, SHUTDOWN = 1, 4


def vsock(operation, flags=0):
    return struct.pack("<QQIIIHHIII", GUEST, HOST, 1, PORT, 0, 1, operation, flags, 1 << 16, 0)


def network_card(script, slot):
    """A driver of a card with two pairs of queues, which sends a frame, takes one, and wants both pairs."""
    control = [(struct.pack("<BBH", 4, 0, 2), READABLE), (1, WRITABLE)]
    chains = {0: [[(2048, WRITABLE)]], 1: [[(bytes(12) + FRAME, READABLE)]], 4: [control]}
    card = Device(script, slot, chains, features=1 << 17 | 1 << 22)
    for queue in card.queues.values():
        queue.offer()
    return card


def devices(work, under):
    """A guest drives devices of either reactor, and is paused."""
    script = Script()
    cards = [network_card(script, slot) for slot in (0, 1)]
    caller = Device(script, 2, {0: [[(4096, WRITABLE)]] * 4, 1: [[(vsock(REQUEST), READABLE)], [(vsock(SHUTDOWN, 2), READABLE)]]})
    caller.queues[0].offer(4)
    caller.queues[1].offer()
    caller.queues[0].wait(1)
    caller.queues[1].offer()
    disk = Device(script, 3, {0: [[(struct.pack("<IIQ", 0, 0, 0), READABLE), (512, WRITABLE), (1, WRITABLE)]]})
    disk.queues[0].offer()
    disk.queues[0].wait(1)
    for card in cards:
        for index in 0, 1, 4:
            card.queues[index].wait(1)
    # An address where nothing is: the disk stops, and the log says so.
    disk.queues[0].offer_nonsense()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(work / f"vsock_{PORT}"))
        listener.listen()
        listener.settimeout(PATIENCE)
        names = [f"apsc{os.getpid() % 100000}{letter}" for letter in "ab"]
        with Tiny(
            work, script.code, "-smp", "2", "-machine", "microvm,hotplug=off", "-object", "iothread,id=io0",
            "-netdev", f"tap,id=net0,ifname={names[0]},queues=2", "-device", "virtio-net-device,netdev=net0,id=card0,mq=on",
            "-netdev", f"tap,id=net1,ifname={names[1]},queues=2", "-device",
            "virtio-net-device,netdev=net1,id=card1,iothread=io0,mq=on",
            "-device", f"vhost-vsock-device,id=vsock0,guest-cid={GUEST},socket={work}/vsock",
            "-drive", f"id=d0,file={image(work, 'disk')},direct=off", "-device", "virtio-blk-device,drive=d0,id=d0,iothread=io0",
            under=under,
        ) as tiny:  # fmt: skip
            qmp = tiny.qmp
            peer, _ = listener.accept()
            peer.settimeout(PATIENCE)
            assert peer.recv(1) == b"", "the guest says no more"
            for name in names:
                with packets(name) as link:
                    link.send(FRAME)
            while "d0" not in tiny.errors:
                time.sleep(0.01)
            qmp.execute("stop")
            qmp.execute("cont")
            qmp.execute("block_resize", {"device": "d0", "size": 2 << 20})
            qmp.execute("quit")
            peer.close()
            for name in "vsock_1234", "disk":
                (work / name).unlink()
            tiny.check_end()
    return tiny


def devices_of_the_kernel(work, under):
    """A guest starts devices that vhost serves, for either reactor."""
    script = Script()
    Device(script, 0, {0: [[(4096, WRITABLE)]], 1: [], 2: []})
    for slot in 1, 2:
        card = Device(script, slot, {0: [[(2048, WRITABLE)]], 1: [[(bytes(12) + FRAME, READABLE)]]})
        for queue in card.queues.values():
            queue.offer()
        card.queues[1].wait(1)
    names = [f"apsk{os.getpid() % 100000}{letter}" for letter in "ab"]
    with Tiny(
        work, script.code, "-S", "-machine", "microvm,hotplug=off", "-object", "iothread,id=io0",
        "-device", f"vhost-vsock-device,id=vsock0,guest-cid={os.getpid() % 1000000 + 3}",
        "-netdev", f"tap,id=net0,ifname={names[0]},vhost=on", "-device", "virtio-net-device,netdev=net0,id=card0",
        "-netdev", f"tap,id=net1,ifname={names[1]},vhost=on", "-device",
        "virtio-net-device,netdev=net1,id=card1,iothread=io0",
        under=under,
    ) as tiny:  # fmt: skip
        assert tiny.qmp
        with packets(names[0]) as first, packets(names[1]) as second:
            tiny.qmp.execute("cont")
            for link in first, second:
                while link.recv(2048) != FRAME:
                    pass
        tiny.qmp.execute("stop")
        tiny.qmp.execute("cont")
        tiny.qmp.execute("quit")
        tiny.check_end()
    return tiny


def hand_over(qmp, descriptor, name):
    """Gives a descriptor away."""
    socket.send_fds(qmp.socket, [b'{"execute":"getfd","arguments":{"fdname":"%s"}}\n' % name.encode()], [descriptor])
    assert qmp.receive() == {"return": {}}
    os.close(descriptor)


def plugging(work, under):
    """Devices come and go."""
    disk, other = image(work, "disk"), image(work, "other")
    tap = f"apsp{os.getpid() % 100000}"
    with Tiny(work, SPIN, *HOT, "-object", "iothread,id=io0", under=under) as tiny:
        qmp = tiny.qmp
        add_disk(qmp, "a", disk)
        add_disk(qmp, "b", other, iothread="io0")
        qmp.execute("object-add", {"qom-type": "iothread", "id": "io1"})
        # A file system that does not tell how direct transfers must be aligned.
        with tempfile.TemporaryDirectory(dir="/dev/shm") as place:
            add_disk(qmp, "d", image(place, "memory"))
        qmp.execute("device_del", {"id": "d"})
        qmp.wait_event("DEVICE_DELETED")
        qmp.execute("netdev_add", {"id": "net0", "ifname": tap, "vhost": HAS_VHOST})
        qmp.execute("device_add", {"id": "card", "driver": "virtio-net-mmio", "netdev": "net0"})
        hand_over(qmp, open_tap(tap + "h"), "tap0")
        qmp.execute("netdev_add", {"id": "net1", "fds": "tap0"})
        loop = subprocess.run(["losetup", "-f", "--show", disk], check=True, capture_output=True, text=True).stdout.strip()
        try:
            add_disk(qmp, "c", loop)
        finally:
            subprocess.run(["losetup", "-d", loop], check=True)
        for device in "a", "b", "card":
            qmp.execute("device_del", {"id": device})
            qmp.wait_event("DEVICE_DELETED")
        qmp.execute("quit")
        disk.unlink()
        other.unlink()
        tiny.check_end()
    return tiny


def plugging_alone(work, under):
    """The first device of a machine without iothreads: what the main thread does the first time for it."""
    disk = image(work, "disk")
    with Tiny(work, SPIN, "-machine", "microvm,hotplug=on,spare-iothreads=0", under=under) as tiny:
        add_disk(tiny.qmp, "a", disk)
        tiny.qmp.execute("quit")
        disk.unlink()
        tiny.check_end()
    return tiny


def consoles(work, under):
    """Clients come, by TCP too, and a terminal is set back at the end."""
    keyboard, terminal = pty.openpty()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    console = "socket,id=con0,host=127.0.0.1,port=%d,server,nowait" % port
    with Tiny(
        work, IDLE, "-chardev", console, "-device", "virtio-serial-device", "-device", "virtconsole,chardev=con0",
        under=under, stdin=terminal,
    ) as tiny:  # fmt: skip
        assert tiny.qmp
        with socket.create_connection(("127.0.0.1", port)):
            while not tiny.qmp.execute("query-chardev")[-1]["frontend-open"]:
                time.sleep(0.01)
        tiny.qmp.execute("quit")
        tiny.check_end()
    os.close(keyboard)
    os.close(terminal)
    return tiny
