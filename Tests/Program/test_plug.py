"""Devices that come and go while the machine runs, as far as that can be seen without their driver."""

import fcntl
import os
import socket
import struct
from pathlib import Path

from harness import Skip, limit
from tiny import IDLE, SPIN, QMPError, Tiny, threads, wait_until

HOT = ["-machine", "microvm,hotplug=on"]


def image(work, name, size=1 << 20):
    path = Path(work) / name
    path.write_bytes(b"")
    os.truncate(path, size)
    return path


def add_node(qmp, node, path, **more):
    qmp.execute("blockdev-add", {"node-name": node, "file": {"driver": "file", "filename": str(path)}, **more})


def add_disk(qmp, node, path, **more):
    add_node(qmp, node, path)
    qmp.execute("device_add", {"id": node, "driver": "virtio-blk-mmio", "drive": node, **more})


def refused(qmp, command, arguments, text, kind="GenericError"):
    try:
        qmp.execute(command, arguments)
    except QMPError as error:
        assert text in str(error) and error.kind == kind, (text, str(error))
    else:
        raise AssertionError(f"{command} {arguments} was not refused")


def descriptors(guest):
    return len(os.listdir(f"/proc/{guest.process.pid}/fd"))


def disks(qmp):
    return {disk["device"]: disk["inserted"]["file"] for disk in qmp.execute("query-block")}


def test_a_disk_comes_and_goes(work):
    first, second = image(work, "first"), image(work, "second")
    with Tiny(work, SPIN, *HOT, "-object", "iothread,id=io0") as guest:
        qmp = guest.qmp
        add_disk(qmp, "a", first, addr="0x1", romfile="", logical_block_size=512, physical_block_size=4096)
        assert disks(qmp) == {"a": str(first)}
        add_disk(qmp, "b", second, iothread="io0", serial="b")
        assert disks(qmp) == {"b": str(second), "a": str(first)}, "the first free place is the one before"
        for disk in "a", "b":
            qmp.execute("block_resize", {"device": disk, "size": 2 << 20})
        qmp.execute("device_del", {"id": "a"})
        assert qmp.wait_event("DEVICE_DELETED")["data"] == {"device": "a", "path": "a"}
        # The image has gone with its disk; asking again is no mistake, once.
        qmp.execute("blockdev-del", {"node-name": "a"})
        refused(qmp, "blockdev-del", {"node-name": "a"}, "there is no node 'a'")
        qmp.execute("stop")
        add_disk(qmp, "a", first)
        qmp.execute("device_del", {"id": "b"})
        qmp.execute("cont")
        assert disks(qmp) == {"a": str(first)}
        assert qmp.execute("query-status")["running"]


def test_what_cannot_be_plugged_in(work):
    first = image(work, "first")
    root = image(work, "root")
    boot = ["-drive", f"id=root,file={root}", "-device", "virtio-blk-device,drive=root,id=disk0"]
    with Tiny(work, IDLE, *HOT, *boot) as guest:
        qmp = guest.qmp
        before = descriptors(guest)
        refused(qmp, "device_add", {"id": "a", "driver": "virtio-blk-mmio"}, "there is no node 'a'; blockdev-add it")
        refused(qmp, "blockdev-add", {"node-name": "a", "file": {"filename": f"{work}/none"}}, "No such file")
        refused(qmp, "blockdev-add", {"node-name": "a", "file": {"filename": str(work)}}, "directory")
        refused(qmp, "blockdev-add", {"node-name": "a", "file": {"filename": str(root)}}, "is also the image of root")
        refused(qmp, "blockdev-add", {"node-name": "a"}, "argument 'file' is missing")
        refused(qmp, "blockdev-add", {"node-name": "a", "file": {"filename": str(first), "aio": [1]}}, "is an array")
        refused(qmp, "blockdev-add", {"node-name": "a", "file": {"filename": str(first)}, "y": 1}, "unknown")
        add_node(qmp, "a", first)
        refused(qmp, "blockdev-add", {"node-name": "a", "file": {"filename": str(first)}}, "registered already")
        for addr, text in [("0", "The slot 0 is occupied already."), ("4", "there is no slot 4"), ("x", "addr")]:
            refused(qmp, "device_add", {"id": "a", "driver": "virtio-blk-mmio", "addr": addr}, text)
        refused(qmp, "device_add", {"id": "disk0", "driver": "virtio-blk-mmio", "drive": "a"}, "a device 'disk0'")
        text = 'device_add virtio-blk-device: iothread: no iothread has the id "io9"; there is no iothread'
        refused(qmp, "device_add", {"id": "a", "driver": "virtio-blk-mmio", "iothread": "io9"}, text)
        refused(qmp, "device_add", {"id": "a", "driver": "virtio-blk-mmio", "drive": "root"}, "in use by the device")
        refused(qmp, "device_add", {"id": "a", "driver": "virtio-serial-device"}, "cannot be plugged into")
        refused(qmp, "device_add", {"id": "a", "driver": "virtio-blk-pci"}, "virtio-blk-pci")
        refused(qmp, "device_del", {"id": "none"}, "Device none not found", "DeviceNotFound")
        qmp.execute("blockdev-del", {"node-name": "a"})
        assert descriptors(guest) == before, "something stayed open"
        # Each is as good as before.
        add_disk(qmp, "a", first)
        qmp.execute("device_del", {"id": "disk0"})
        assert disks(qmp) == {"a": str(first)}
        for index in range(5):
            add_node(qmp, f"n{index}", image(work, f"n{index}"))
        refused(qmp, "blockdev-add", {"node-name": "n5", "file": {"filename": str(root)}}, "at most 6 disks")
        for index in range(3):
            qmp.execute("device_add", {"id": f"n{index}", "driver": "virtio-blk-device"})
        refused(qmp, "device_add", {"id": "n3", "driver": "virtio-blk-device"}, "all 4 places")


def test_places_are_there_when_they_are_wanted(work):
    first = image(work, "first")
    # A kernel without a format has no ACPI, and its clients do not say what they will do.
    with Tiny(work, IDLE) as guest:
        add_disk(guest.qmp, "a", first, addr="3")
    with Tiny(work, IDLE, "-machine", "microvm,hotplug=off") as guest:
        node = {"node-name": "a", "file": {"driver": "file", "filename": str(first)}}
        refused(guest.qmp, "blockdev-add", node, "-machine microvm,hotplug=on")
        refused(guest.qmp, "netdev_add", {"id": "a", "ifname": "apus9"}, "-machine microvm,hotplug=on")
        refused(guest.qmp, "device_add", {"id": "a", "driver": "virtio-blk-mmio"}, "-machine microvm,hotplug=on")
        refused(guest.qmp, "device_add", {"id": "a", "driver": "virtio-blk-mmio", "addr": 1}, "there is no slot 1")


@limit(300)
def test_a_thousand_times(work):
    first, second = image(work, "first"), image(work, "second")
    with Tiny(work, SPIN, *HOT, "-object", "iothread,id=io0") as guest:
        qmp = guest.qmp

        def cycle():
            add_disk(qmp, "a", first)
            add_disk(qmp, "b", second, iothread="io0")
            for disk in "a", "b":
                qmp.execute("device_del", {"id": disk})
                qmp.wait_event("DEVICE_DELETED")

        def memory():
            text = Path(f"/proc/{guest.process.pid}/smaps_rollup").read_text()
            return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("Private_Dirty"))

        for _ in range(50):
            cycle()
        files, kib = descriptors(guest), memory()
        for _ in range(950):
            cycle()
        assert descriptors(guest) == files, (descriptors(guest), files)
        assert memory() < kib + 512, (memory(), kib)


def test_a_disk_changes(work):
    """Its size and its limit, on the main loop and on an iothread that comes and goes itself."""
    first, second = image(work, "first"), image(work, "second")
    with Tiny(work, SPIN, *HOT, "-disable-seccomp") as guest:
        qmp = guest.qmp
        qmp.execute("object-add", {"qom-type": "iothread", "id": "io7"})
        [thread] = qmp.execute("query-iothreads")
        assert thread["id"] == "io7" and threads(guest.process.pid)[thread["thread-id"]] == "io7"
        refused(qmp, "object-add", {"qom-type": "iothread", "id": "io7"}, "an object 'io7' already")
        refused(qmp, "object-add", {"qom-type": "rng-random", "id": "r", "filename": "/dev/urandom"}, "only an iothread")
        add_disk(qmp, "a", first)
        add_disk(qmp, "b", second, iothread="io7")
        refused(qmp, "object-del", {"id": "io7"}, "in use by the device b")
        for disk, path in ("a", first), ("b", second):
            qmp.execute("block_resize", {"device": disk, "size": 2 << 20})
            assert path.stat().st_size == 2 << 20
            refused(qmp, "block_resize", {"node-name": disk, "size": 1 << 20}, "that would cut off data")
            qmp.execute("block_set_io_throttle", {"id": disk, "bps": 0, "iops": 200})
            refused(qmp, "block_set_io_throttle", {"id": disk, "bps": 1, "iops": 200}, "'bps' must be")
        [info, _] = sorted(qmp.execute("query-block"), key=lambda disk: disk["device"])
        assert info["inserted"]["iops"] == 200 and info["inserted"]["image"]["virtual-size"] == 2 << 20, info
        refused(qmp, "block_resize", {"device": "c", "size": 512}, "there is no disk 'c'", "DeviceNotFound")
        qmp.execute("device_del", {"id": "b"})
        qmp.execute("object-del", {"id": "io7"})
        assert qmp.execute("query-iothreads") == [] and "io7" not in threads(guest.process.pid).values()
        refused(qmp, "object-del", {"id": "io7"}, "no iothread 'io7'")
        before = descriptors(guest)
        for _ in range(20):
            qmp.execute("object-add", {"qom-type": "iothread", "id": "io7", "props": {}})
            add_disk(qmp, "b", second, iothread="io7")
            qmp.execute("device_del", {"id": "b"})
            qmp.execute("object-del", {"id": "io7"})
        assert descriptors(guest) == before
    with Tiny(work, IDLE) as guest:
        refused(guest.qmp, "object-add", {"qom-type": "iothread", "id": "io7"}, "-disable-seccomp")


TUNSETIFF, TAP = 0x400454CA, 0x1002 | 0x4000  # IFF_TAP, IFF_NO_PI, IFF_VNET_HDR


def open_tap(name):
    tap = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(tap, TUNSETIFF, struct.pack("16sH22x", name.encode(), TAP))
    return tap


def has_interface(name):
    return os.path.exists(f"/sys/class/net/{name}")


def test_a_network_card_comes_and_goes(work):
    if os.geteuid() != 0 or not os.path.exists("/dev/net/tun"):
        raise Skip("taps need root and /dev/net/tun")
    name = f"apus{os.getpid() % 100000}"
    with Tiny(work, SPIN, *HOT, "-object", "iothread,id=io0") as guest:
        qmp = guest.qmp
        card = {"id": "net0", "driver": "virtio-net-mmio"}
        refused(qmp, "device_add", card, "netdev_add it first")
        refused(qmp, "netdev_add", {"id": "net0", "ifname": "lo"}, "is not a tap")
        refused(qmp, "netdev_add", {"id": "net0"}, "neither name nor descriptor")
        refused(qmp, "netdev_add", {"id": "net0", "fds": "missing"}, "missing")
        # All of these are apus's own, and stay so.
        for number in sorted(int(name) for name in os.listdir(f"/proc/{guest.process.pid}/fd")):
            refused(qmp, "netdev_add", {"id": "net0", "fds": str(number)}, f"no descriptor {number} came with getfd")
        before = descriptors(guest)
        for slot, more in [("0x0", {}), ("1", {"iothread": "io0", "mac": "52:54:00:11:22:33"}), ("0", {})]:
            qmp.execute("netdev_add", {"id": "net0", "ifname": name})
            assert has_interface(name), "the tap is made when it is asked for"
            refused(qmp, "netdev_add", {"id": "net0", "ifname": name}, "registered already")
            for key in "iothread", "rx-iothread", "tx-iothread":
                text = f'device_add virtio-net-device: {key}: no iothread has the id "io9"; known ids: "io0"'
                refused(qmp, "device_add", {**card, "addr": slot, key: "io9"}, text)
            qmp.execute("device_add", {**card, "addr": slot, **more})
            refused(qmp, "netdev_del", {"id": "net0"}, "in use by the device net0")
            for up in False, True:
                qmp.execute("set_link", {"name": "net0", "up": up})
            qmp.execute("device_del", {"id": "net0"})
            assert qmp.wait_event("DEVICE_DELETED")["data"]["device"] == "net0"
            assert descriptors(guest) == before
            # The kernel may take a moment more: its ring had the tap open too.
            wait_until(lambda: not has_interface(name))
        refused(qmp, "set_link", {"name": "net0", "up": True}, "not found", "DeviceNotFound")

        # A tap that another process has made comes with the command that names it.
        tap = open_tap(name)
        qmp.socket.settimeout(10)
        socket.send_fds(qmp.socket, [b'{"execute":"getfd","arguments":{"fdname":"tap0"}}\n'], [tap])
        assert qmp.receive() == {"return": {}}
        os.close(tap)
        qmp.execute("netdev_add", {"id": "net1", "fds": "tap0"})
        refused(qmp, "closefd", {"fdname": "tap0"}, "no descriptor named 'tap0'")
        qmp.execute("device_add", {"id": "net1", "driver": "virtio-net-mmio", "addr": "0x1"})
        refused(qmp, "device_add", {"id": "net2", "driver": "virtio-net-mmio", "addr": "0x2"}, "there is no slot 2")
        qmp.execute("device_del", {"id": "net1"})
        assert descriptors(guest) == before
        wait_until(lambda: not has_interface(name))
