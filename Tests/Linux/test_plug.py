"""Disks that come and go under a stock kernel: it finds them where its driver waits, and what is written arrives."""

import os
import subprocess

from guest import Guest, QMPError, copy_image
from harness import limit

MIB = 1 << 20


def add_disk(qmp, node, path, **more):
    file = {"driver": "file", "filename": str(path), "aio": "native"}
    qmp.execute("blockdev-add", {"driver": "raw", "read-only": False, "node-name": node, "file": file})
    qmp.execute("device_add", {"id": node, "driver": "virtio-blk-mmio", "drive": node, "romfile": "", **more})


def remove_disk(qmp, node):
    qmp.execute("device_del", {"id": node})
    assert qmp.wait_event("DEVICE_DELETED")["data"]["device"] == node


def file_system(path, size=64 * MIB):
    path.write_bytes(b"")
    os.truncate(path, size)
    subprocess.run(["/sbin/mke2fs", "-q", "-t", "ext4", path], check=True)
    return path


def wait_for_size(guest, disk, size):
    """Waits until the guest has seen that the disk has `size` bytes."""
    guest.shell(f"until [ $(cat /sys/class/block/{disk}/size) = {size // 512} ]; do sleep 0.1; done", timeout=60)


@limit(600)
def test_disks_come_and_go(work):
    root = copy_image("root.ext4", work)
    options = ["-object", "iothread,id=io0"]
    with Guest(
        work, *options, append="root=/dev/vda rw", machine="microvm,hotplug=on", cpus=2, disks=[root]
    ) as guest:
        qmp = guest.qmp
        for letter in "bcd":
            wait_for_size(guest, f"vd{letter}", 0)

        # On the main loop and on an iothread, each in the place that was asked for.
        for node, letter, more in [("one", "b", {"addr": "1"}), ("two", "d", {"addr": "0x3", "iothread": "io0"})]:
            disk = file_system(work / node)
            add_disk(qmp, node, disk, serial=node, **more)
            wait_for_size(guest, f"vd{letter}", 64 * MIB)
            assert guest.shell(f"cat /sys/class/block/vd{letter}/serial").strip() == node
            guest.shell(f"mkdir -p /mnt/{node}; mount -t ext4 /dev/vd{letter} /mnt/{node}")
            guest.shell(f"dd if=/dev/urandom of=/mnt/{node}/a bs=1M count=8 2>/dev/null; sync; md5sum /mnt/{node}/a")

        # Both at work while the machine is paused time and again, and a third comes and goes beside them.
        copying = "for i in 1 2 3; do cp /mnt/one/a /mnt/two/b; cp /mnt/two/a /mnt/one/b; sync; done"
        guest.type(f"({copying}; echo COP''IED) &\n")
        spare = file_system(work / "three")
        for _ in range(5):
            qmp.execute("stop")
            add_disk(qmp, "three", spare, addr="2")
            qmp.execute("cont")
            remove_disk(qmp, "three")
        guest.expect(r"COPIED\n")
        guest.type("\n")
        guest.shell("cmp /mnt/one/a /mnt/two/b && cmp /mnt/two/a /mnt/one/b && umount /mnt/one /mnt/two")

        for node, letter in ("one", "b"), ("two", "d"):
            remove_disk(qmp, node)
            wait_for_size(guest, f"vd{letter}", 0)
            checked = subprocess.run(["/sbin/e2fsck", "-fn", work / node], capture_output=True, text=True)
            assert checked.returncode == 0, checked.stdout

        # The same image in another place.
        add_disk(qmp, "again", work / "one", addr="2")
        wait_for_size(guest, "vdc", 64 * MIB)
        guest.shell("mkdir -p /mnt/again; mount -t ext4 /dev/vdc /mnt/again; ls -l /mnt/again/a; umount /mnt/again")
        try:
            qmp.execute("device_add", {"id": "again", "driver": "virtio-blk-mmio"})
        except QMPError as error:
            assert "already" in str(error), error
        else:
            raise AssertionError("a device of the same id was taken")
