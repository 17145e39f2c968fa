"""Disks under a stock kernel: what is written arrives, whatever happens meanwhile, and no disk is more than it says."""

import os
import subprocess
import time

from guest import Guest, Pauses, copy_image
from harness import limit

MIB = 1 << 20

# What is written on each disk, and read back on the host. The kernel's page cache in the guest holds less.
AMOUNT = 200 * MIB


def make_file(path, content=b"", size=None):
    path.write_bytes(content)
    if size is not None:
        os.truncate(path, size)
    return path


def file_system(path, size):
    """A new ext4 image."""
    make_file(path, size=size)
    subprocess.run(["/sbin/mke2fs", "-q", "-t", "ext4", "-m", "0", path], check=True)
    return path


def contents(image, name, work):
    """A file out of an ext4 image, which is found sound before."""
    checked = subprocess.run(["/sbin/e2fsck", "-fn", image], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout
    subprocess.run(["/sbin/debugfs", "-R", f"dump {name} {work}/dumped", image], check=True, capture_output=True)
    return (work / "dumped").read_bytes()


@limit(900)
def test_what_is_written_arrives(work):
    """Two disks, one past the host's page cache, one on an iothread, are filled from a third, while it all is paused
    time and again."""
    source = os.urandom(AMOUNT)
    root = copy_image("root.ext4", work)
    make_file(work / "source", source)
    direct = file_system(work / "direct", AMOUNT + 64 * MIB)
    cached = file_system(work / "cached", AMOUNT + 64 * MIB)
    disks = [
        root,
        (f"file={work}/source,readonly=on", "serial=source-of-it-all-20"),
        f"file={direct},direct=on",
        (f"file={cached},direct=off", "iothread=io0,serial=cached"),
    ]
    options = ["-object", "iothread,id=io0"]
    with Guest(work, *options, append="root=/dev/vda rw", cpus=2, disks=disks) as guest:
        # A disk is what its device says.
        serials = guest.shell("cd /sys/class/block; cat vda/serial; echo; cat vdb/serial; echo; cat vdd/serial; echo")
        assert serials.split() == ["source-of-it-all-20", "cached"], serials
        assert guest.shell("cat /sys/class/block/vdb/ro").strip() == "1"
        guest.shell("! dd if=/dev/zero of=/dev/vdb bs=4k count=1 conv=fsync 2>/dev/null")
        guest.shell("mkdir /mnt/c /mnt/d; mount -t ext4 /dev/vdc /mnt/c; mount -t ext4 /dev/vdd /mnt/d")
        started = time.monotonic()
        copy = "cat /dev/vdb >/mnt/c/file & cat /dev/vdb >/mnt/d/file; wait; umount /mnt/c /mnt/d"
        guest.type(f"{copy}; echo ALL''-DONE\n")
        pauses = Pauses(guest)

        def nothing_is_written():
            before = [(os.stat(path).st_mtime_ns, os.stat(path).st_blocks) for path in (direct, cached)]
            time.sleep(0.05)
            assert before == [(os.stat(path).st_mtime_ns, os.stat(path).st_blocks) for path in (direct, cached)]

        while not guest.shows(r"^ALL-DONE\n"):
            pauses.once(nothing_is_written)
            guest.listen(pauses.between)
        assert pauses.count > 3, (pauses.count, time.monotonic() - started)
        guest.type("exit\n")
        assert guest.wait() == 0
        assert "WARN" not in guest.errors and "ERROR" not in guest.errors, guest.errors
    assert (work / "source").read_bytes() == source, "the read-only disk is another"
    for image in (direct, cached):
        assert contents(image, "file", work) == source, f"{image.name} is not what the guest has written"


def test_discard_and_limit(work):
    """Discarded blocks go back to the host, and a limited disk takes as many requests a second as it may."""
    blank = make_file(work / "blank", os.urandom(8 * MIB))
    kept = make_file(work / "kept", os.urandom(8 * MIB))
    limited = make_file(work / "limited", size=8 * MIB)
    disks = [
        f"file={blank},discard=unmap,direct=off",
        f"file={kept},direct=off",
        f"file={limited},direct=off,throttling.iops-total=100",
    ]
    before = os.stat(kept).st_blocks
    with Guest(work, disks=disks) as guest:
        guest.shell("blkdiscard -o 1048576 -l 6291456 /dev/vda")
        # What does not discard says so before it is asked to.
        assert guest.shell("cat /sys/class/block/vdb/queue/discard_max_bytes").strip() == "0"
        guest.shell("! blkdiscard /dev/vdb 2>/dev/null")
        seconds = []
        for count in (100, 500):
            started = time.monotonic()
            guest.shell(f"dd if=/dev/vdc of=/dev/null iflag=direct bs=4k count={count} 2>/dev/null")
            seconds.append(time.monotonic() - started)
        # 400 requests more; a slow machine may take longer, and no machine less.
        assert 3.5 < seconds[1] - seconds[0] < 30, seconds
        guest.type("exit\n")
        assert guest.wait() == 0
    assert os.stat(blank).st_blocks * 512 <= 3 * MIB, os.stat(blank)
    assert os.stat(kept).st_blocks == before
    data = blank.read_bytes()
    assert len(data) == 8 * MIB and data[MIB : 7 * MIB] == bytes(6 * MIB) and any(data[:MIB]) and any(data[7 * MIB :])


def test_broken_image(work):
    """An image that is cut off under a running guest: errors in the guest, and the machine lives on."""
    image = make_file(work / "image", os.urandom(8 * MIB))
    with Guest(work, disks=[f"file={image},direct=off"]) as guest:
        guest.shell("dd if=/dev/vda of=/dev/null bs=1M count=1 2>/dev/null")
        os.truncate(image, 4 * MIB)
        guest.shell("! dd if=/dev/vda of=/dev/null iflag=direct bs=64k skip=100 count=1 2>/dev/null")
        guest.shell("dd if=/dev/vda of=/dev/null iflag=direct bs=64k skip=10 count=1 2>/dev/null")
        assert guest.qmp.execute("query-status")["running"]
        guest.type("exit\n")
        assert guest.wait() == 0
        assert "image" in guest.errors and len(guest.errors.splitlines()) < 20, guest.errors
