"""Iothreads that come and go while system calls are filtered, when no thread can be started."""

import os
import struct

from driver import READABLE, WINDOW, WRITABLE, Buffer, Device, Script
from test_plug import HOT, add_disk, descriptors, image, refused
from tiny import IDLE, SPIN, Tiny, gone, threads, wait_until

SECTOR = 512
READ, WRITE = 0, 1


def add(qmp, name):
    qmp.execute("object-add", {"qom-type": "iothread", "id": name})


def spare(pid):
    return list(threads(pid).values()).count("spare")


def names(qmp):
    return [thread["id"] for thread in qmp.execute("query-iothreads")]


def copier(sizes):
    """A guest whose disk comes with each of these sizes in turn: it copies the first sector of each to the second."""
    script = Script()
    data = Buffer(script.place(bytes(SECTOR)), SECTOR)
    chains = [
        [(struct.pack("<IIQ", READ, 0, 0), READABLE), (data, WRITABLE), (1, WRITABLE)],
        [(struct.pack("<IIQ", WRITE, 0, 1), READABLE), (data, READABLE), (1, WRITABLE)],
    ]
    queue = Device(script, 0, {0: chains}).queues[0]
    for number, size in enumerate(sizes):
        script.wait(WINDOW + 0x100, size // SECTOR)
        for step in 1, 2:
            queue.offer()
            queue.wait(2 * number + step)
    return script.code


def sector(path, number):
    with open(path, "rb") as file:
        file.seek(number * SECTOR)
        return file.read(SECTOR)


def test_a_spare_thread_becomes_an_iothread(work):
    """And goes back, again and again; a guest uses the disk on it each time."""
    path = image(work, "disk")
    sizes = [(2048 + number) * SECTOR for number in range(51)]
    with Tiny(work, copier(sizes), *HOT) as guest:
        qmp, pid = guest.qmp, guest.process.pid
        assert names(qmp) == [] and spare(pid) == 1, "it is no iothread yet"
        for number, size in enumerate(sizes):
            name = f"io{number}"
            os.truncate(path, size)
            mark = name.encode().ljust(SECTOR, b".")
            with open(path, "r+b") as file:
                file.write(mark)
            add(qmp, name)
            [thread] = qmp.execute("query-iothreads")
            assert thread["id"] == name and threads(pid)[thread["thread-id"]] == name
            assert spare(pid) == 0
            add_disk(qmp, "a", path, iothread=name)
            wait_until(lambda: sector(path, 1) == mark)
            refused(qmp, "object-del", {"id": name}, "in use by the device a")
            if number == 0:
                qmp.execute("stop")
                qmp.execute("cont")
            qmp.execute("device_del", {"id": "a"})
            qmp.wait_event("DEVICE_DELETED")
            qmp.execute("object-del", {"id": name})
            assert names(qmp) == [] and spare(pid) == 1
            if number == 0:
                first = descriptors(guest), threads(pid)
        assert (descriptors(guest), threads(pid)) == first
        qmp.execute("quit")
        guest.check_end(left=["disk"])


def test_there_are_as_many_as_were_asked_for(work):
    options = ["-machine", "microvm,hotplug=on,spare-iothreads=2", "-object", "iothread,id=io0"]
    with Tiny(work, SPIN, *options) as guest:
        qmp, pid = guest.qmp, guest.process.pid
        assert names(qmp) == ["io0"] and spare(pid) == 2
        refused(qmp, "object-add", {"qom-type": "iothread", "id": "io0"}, "an object 'io0' already")
        long = "a-name-that-is-longer-than-a-thread's"
        add(qmp, "spare")
        add(qmp, long)
        assert sorted(threads(pid).values()).count(long[:15]) == 1
        refused(qmp, "object-add", {"qom-type": "iothread", "id": "io3"}, "spare-iothreads=N")
        # One of the command line is as good as the others, and its name free when it has gone.
        qmp.execute("object-del", {"id": "io0"})
        assert "io0" not in threads(pid).values()
        add(qmp, "io0")
        assert names(qmp) == ["spare", long, "io0"]
        refused(qmp, "object-add", {"qom-type": "iothread", "id": "io3"}, "object-del one")
        qmp.execute("quit")
        guest.check_end()


def test_where_none_is_kept(work):
    path = image(work, "disk")
    with Tiny(work, SPIN, "-machine", "microvm,hotplug=on,spare-iothreads=0", "-object", "iothread,id=io0") as guest:
        qmp, pid = guest.qmp, guest.process.pid
        refused(qmp, "object-add", {"qom-type": "iothread", "id": "io1"}, "no spare iothread is left")
        add_disk(qmp, "a", path, iothread="io0")
        qmp.execute("device_del", {"id": "a"})
        qmp.execute("object-del", {"id": "io0"})
        assert not {"io0", "spare"} & set(threads(pid).values()), "the thread has ended"
        refused(qmp, "object-add", {"qom-type": "iothread", "id": "io0"}, "no spare iothread is left")
    # Hot plug that only the guest asks for comes without.
    for options in [], [*HOT, "-disable-seccomp"]:
        with Tiny(work, IDLE, *options) as guest:
            assert guest.qmp and spare(guest.process.pid) == 0


def test_a_daemon_has_them_too(work):
    pidfile = work / "pid"
    with Tiny(work, IDLE, *HOT, "-daemonize", "-pidfile", pidfile, serial=None) as guest:
        assert guest.wait() == 0
        pid = int(pidfile.read_text())
        add(guest.qmp, "io0")
        assert "io0" in threads(pid).values()
        guest.qmp.execute("quit")
        wait_until(lambda: gone(pid))
        assert not pidfile.exists()
