"""The host's side of a guest's memory: huge pages that are counted down and come back, or are too few."""

import contextlib
import subprocess
from pathlib import Path

from guest import IMAGES, Guest, QMPError
from harness import limit
from monitor import APUS

PAGE = 2 << 20
POOL = Path("/sys/kernel/mm/hugepages/hugepages-2048kB")


def pages(name="free_hugepages"):
    return int((POOL / name).read_text())


@contextlib.contextmanager
def huge_pages(count, folder):
    """Sets aside `count` huge pages more, mounted at `folder`."""
    before = pages("nr_hugepages")
    folder.mkdir()
    (POOL / "nr_hugepages").write_text(str(before + count))
    assert pages("nr_hugepages") == before + count, "this host has no room for huge pages"
    subprocess.run(["mount", "-t", "hugetlbfs", "-o", "pagesize=2M", "none", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)
        (POOL / "nr_hugepages").write_text(str(before))


def refused(work, *options):
    command = [APUS, "-kernel", IMAGES / "vmlinuz", "-initrd", IMAGES / "initramfs", "-qmp", f"unix:{work}/q,server,nowait"]
    ran = subprocess.run([*command, *map(str, options)], capture_output=True, text=True, timeout=60)
    assert ran.returncode == 1, ran
    return ran.stderr


def test_huge_pages(work):
    """All the ways to them, what each takes while the guest runs, and that the guest can use them."""
    folder = work / "huge"
    with huge_pages(160, folder):
        free = pages()
        backend = f"memory-backend-file,id=ram0,size=256M,mem-path={folder}"
        # Pages are taken when they are touched.
        for machine, options, taken in [
            ("microvm", ["-mem-path", folder, "-mem-prealloc"], range(128, 129)),
            ("microvm,memory-backend=ram0", ["-object", backend + ",mem-prealloc=on"], range(128, 129)),
            ("microvm,mem-share=on", ["-mem-path", folder], range(9, 129)),
        ]:
            with Guest(work, *options, append="apus.run=shell", machine=machine) as guest:
                guest.shell("dd if=/dev/urandom of=/tmp/a bs=1M count=16 2>/dev/null; cp /tmp/a /tmp/b; cmp /tmp/a /tmp/b")
                used = free - pages()
                assert used in taken, (options, used)
                guest.qmp.execute("quit")
                assert guest.wait() == 0
            assert pages() == free, f"{options} keeps pages"
            assert not list(folder.iterdir()), "a file was left on the hugetlbfs"

        found = refused(work, "-m", "257", "-mem-path", folder)
        assert "-m has to be a multiple of the page size there, 2048 KiB" in found, found
        found = refused(work, "-m", "1024", "-mem-path", folder)
        wanted = f"-mem-path {folder}: 1024 MiB take 512 pages of 2048 KiB and {free} are free"
        assert wanted in found and "/proc/sys/vm/nr_hugepages" in found, found
        assert pages() == free


@limit(400)
def test_balloon_over_huge_pages(work):
    """A balloon of huge pages says that it has no effect; what the guest reports to be free stays, and is the guest's."""
    folder = work / "huge"
    device = "virtio-balloon-device,id=balloon0,free-page-reporting=true,auto-balloon=true,monitor-interval=5"
    with huge_pages(160, folder):
        backend = f"memory-backend-file,id=ram0,size=256M,mem-path={folder}"
        for machine, options in [
            ("microvm", ["-mem-path", folder, "-mem-prealloc"]),
            ("microvm,memory-backend=ram0", ["-object", backend]),
        ]:
            free = pages()
            with Guest(work, *options, "-device", device, append="apus.run=shell", machine=machine) as guest:
                guest.shell("dd if=/dev/zero of=/tmp/fill bs=1M count=72 2>/dev/null")
                used = free - pages()
                # Reports are the only thing that the driver is interrupted for by now.
                interrupts = "awk '/virtio/ { n += $2 } END { print n + 0 }' /proc/interrupts"
                before = int(guest.shell(interrupts))
                guest.shell(f"rm /tmp/fill; until [ $({interrupts}) -gt {before} ]; do sleep 0.2; done")
                try:
                    guest.qmp.execute("balloon", {"value": 128 << 20})
                except QMPError as error:
                    assert "guest memory is of huge pages" in str(error), error
                else:
                    raise AssertionError("a balloon moves over huge pages")
                guest.shell("dd if=/dev/urandom of=/tmp/a bs=1M count=24 2>/dev/null; cp /tmp/a /tmp/b; cmp /tmp/a /tmp/b")
                answer = guest.qmp.execute("query-balloon")
                assert answer["actual"] == 256 << 20 and answer["stats"]["stat-free-memory"] > 0, answer
                assert free - pages() >= used, (free, pages(), used)
                assert "balloon0: the balloon has no effect" in guest.errors, guest.errors
                assert "ERROR" not in guest.errors, guest.errors
                guest.qmp.execute("quit")
                assert guest.wait() == 0
            assert pages() == free
