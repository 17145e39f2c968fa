"""Images that come as open files, to a machine that can open none itself."""

import contextlib
import fcntl
import json
import os
import socket

from monitor import QMPError
from test_iothreads import SECTOR, copier, sector
from test_plug import HOT, add_node, descriptors, disks, image, refused
from tiny import IDLE, SPIN, Tiny, wait_until

CLOSED = [*HOT, "-sandbox", "on,landlock=on"]


def add_fd(qmp, descriptor, **arguments):
    message = json.dumps({"execute": "add-fd", "arguments": arguments}).encode()
    socket.send_fds(qmp.socket, [message], [descriptor])
    reply = qmp.receive()
    if "error" in reply:
        raise QMPError(reply["error"])
    return reply["return"]


@contextlib.contextmanager
def opened(path, flags=os.O_RDWR):
    descriptor = os.open(path, flags)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def node(number, **more):
    return {"node-name": "a", "file": {"driver": "file", "filename": f"/dev/fdset/{number}"}, **more}


def is_locked(path):
    """Whether another process has the image's write lock."""
    with open(path, "r+b") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 101)
        except BlockingIOError:
            return True
        return False


def test_a_disk_that_is_handed_over(work):
    """A guest copies its first sector, with the host's page cache and without, whenever the set goes."""
    path = image(work, "disk")
    sizes = [(2048 + 8 * number) * SECTOR for number in range(4)]
    with Tiny(work, copier(sizes), *CLOSED) as guest:
        qmp = guest.qmp
        before = descriptors(guest)
        assert qmp.execute("query-fdsets") == []
        for number, size in enumerate(sizes):
            os.truncate(path, size)
            mark = b"%d" % number * SECTOR
            with open(path, "r+b") as file:
                file.write(mark)
            with opened(path, os.O_RDWR | (os.O_APPEND if number == 2 else 0)) as descriptor:
                kept = add_fd(qmp, descriptor, opaque="rdwr")
            assert kept["fdset-id"] == 0
            assert qmp.execute("query-fdsets") == [{"fdset-id": 0, "fds": [{"fd": kept["fd"], "opaque": "rdwr"}]}]
            qmp.execute("blockdev-add", node(0, cache={"direct": number % 2 == 1}))
            if number < 2:
                qmp.execute("remove-fd", {"fdset-id": 0})
            qmp.execute("device_add", {"id": "a", "driver": "virtio-blk-mmio", "drive": "a"})
            assert disks(qmp) == {"a": "/dev/fdset/0"}
            if number >= 2:
                qmp.execute("remove-fd", {"fdset-id": 0, "fd": kept["fd"]})
            assert qmp.execute("query-fdsets") == []
            wait_until(lambda: sector(path, 1) == mark)
            for _ in range(2):
                with opened(path) as descriptor:
                    message = {"execute": "getfd", "arguments": {"fdname": "image"}}
                    socket.send_fds(qmp.socket, [json.dumps(message).encode()], [descriptor])
                    assert qmp.receive() == {"return": {}}
                assert is_locked(path), "with any descriptor that is closed, the process loses the lock"
            qmp.execute("closefd", {"fdname": "image"})
            assert is_locked(path)
            qmp.execute("device_del", {"id": "a"})
            qmp.wait_event("DEVICE_DELETED")
            assert descriptors(guest) == before and not is_locked(path)
        qmp.execute("quit")
        guest.check_end(left=["disk"])


def test_sets_of_descriptors(work):
    path = image(work, "disk")
    with Tiny(work, IDLE, *CLOSED) as guest:
        qmp = guest.qmp
        before = descriptors(guest)
        with opened(path) as write, opened(path, os.O_RDONLY) as read:
            first, second = add_fd(qmp, write), add_fd(qmp, read)
            assert (first["fdset-id"], second["fdset-id"]) == (0, 1)
            third = add_fd(qmp, read, **{"fdset-id": 0})
            assert [len(entry["fds"]) for entry in qmp.execute("query-fdsets")] == [2, 1]
            refused(qmp, "remove-fd", {"fdset-id": 0, "fd": second["fd"]}, f"no descriptor {second['fd']} in the set 0")
            # A set stays as long as one of its descriptors does, and a disk takes the one that fits.
            qmp.execute("remove-fd", {"fdset-id": 0, "fd": third["fd"]})
            qmp.execute("blockdev-add", node(0, cache={"direct": False}))
            refused(qmp, "blockdev-add", {**node(1), "node-name": "b", "read-only": True}, "is also the image of a")
            qmp.execute("blockdev-del", {"node-name": "a"})
            # Twice for reading, and then an open file is one thing.
            for name in "ab":
                qmp.execute("blockdev-add", {**node(1, cache={"direct": False}), "node-name": name, "read-only": True})
            third = {**node(1), "node-name": "c", "read-only": True, "cache": {"direct": True}}
            refused(qmp, "blockdev-add", third, "is the image of")
            for name in "ab":
                qmp.execute("blockdev-del", {"node-name": name})
            for number in 0, 1:
                qmp.execute("remove-fd", {"fdset-id": number})
            assert descriptors(guest) == before
            for _ in range(64):
                add_fd(qmp, read, **{"fdset-id": 5})
            try:
                add_fd(qmp, read)
            except QMPError as error:
                assert "remove-fd those that are not needed" in str(error)
            else:
                raise AssertionError("there is no end to them")
        qmp.execute("remove-fd", {"fdset-id": 5})
        assert descriptors(guest) == before


def test_what_is_no_image(work):
    path = image(work, "disk")
    with Tiny(work, IDLE, *CLOSED) as guest:
        qmp = guest.qmp
        before = descriptors(guest)
        refused(qmp, "add-fd", {}, "No file descriptor supplied via SCM_RIGHTS")
        refused(qmp, "add-fd", {"fdset-id": -1}, "must be an integer from 0")
        refused(qmp, "blockdev-add", node(0), "/dev/fdset/0: there is no such set of descriptors")
        refused(qmp, "blockdev-add", node("x"), "/dev/fdset/x: names no set of descriptors")
        refused(qmp, "remove-fd", {"fdset-id": 0}, "there is no set 0")
        kind, closed = "is neither a regular file nor a block device", "is open for reading and writing"
        pipe = os.pipe()
        for path, flags, more, text in [
            (path, os.O_RDONLY, {}, closed),
            (path, os.O_WRONLY, {}, closed),
            (path, os.O_WRONLY, {"read-only": True}, "is open for reading"),
            (path, os.O_PATH, {"read-only": True}, "is not open for reading"),
            (work, os.O_RDONLY, {}, closed),
            (work, os.O_RDONLY, {"read-only": True}, kind),
            ("/dev/null", os.O_RDWR, {}, kind),
            (f"/proc/self/fd/{pipe[0]}", os.O_RDONLY, {"read-only": True}, kind),
            ("/proc/self/status", os.O_RDONLY, {"read-only": True, "cache": {"direct": True}}, "use direct=off"),
        ]:
            with opened(path, flags) as descriptor:
                add_fd(qmp, descriptor)
            refused(qmp, "blockdev-add", node(0, **more), text)
            qmp.execute("remove-fd", {"fdset-id": 0})
            assert descriptors(guest) == before, (path, flags)
        for end in pipe:
            os.close(end)
    with Tiny(work, IDLE, "-machine", "microvm,hotplug=off") as guest:
        with opened(work / "disk") as descriptor:
            add_fd(guest.qmp, descriptor)
        refused(guest.qmp, "blockdev-add", node(0), "takes no more devices")
        guest.qmp.execute("remove-fd", {"fdset-id": 0})


def test_a_refused_image_leaves_a_running_disk_its_lock(work):
    path = image(work, "disk")
    boot = ["-drive", f"id=root,file={path}", "-device", "virtio-blk-device,drive=root,id=disk0"]
    with Tiny(work, IDLE, *HOT, *boot) as guest:
        assert guest.qmp and is_locked(path)
        refused(guest.qmp, "blockdev-add", {"node-name": "a", "file": {"filename": str(path)}}, "is also the image of root")
        assert is_locked(path)


def test_one_of_two_disks_of_a_file_goes(work):
    """With its descriptor, which is closed when its device has ended, the process loses the other's lock too."""
    path = image(work, "disk")
    with Tiny(work, SPIN, *HOT, "-object", "iothread,id=io0") as guest:
        qmp = guest.qmp

        def add(name, **more):
            add_node(qmp, name, path, **{"read-only": True})
            qmp.execute("device_add", {"id": name, "driver": "virtio-blk-mmio", "drive": name, **more})

        add("a")
        for state in "cont", "stop":
            qmp.execute(state)
            for more in {}, {"iothread": "io0"}:
                add("b", **more)
                qmp.execute("device_del", {"id": "b"})
                assert is_locked(path), (state, more)
        add_node(qmp, "b", path, **{"read-only": True})
        qmp.execute("blockdev-del", {"node-name": "b"})
        assert is_locked(path)
        qmp.execute("device_del", {"id": "a"})
        assert not is_locked(path)
