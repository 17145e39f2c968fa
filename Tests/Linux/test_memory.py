"""The host's side of a guest's memory: huge pages that are counted down and come back, or are too few."""

import contextlib
import subprocess
from pathlib import Path

from guest import IMAGES, Guest
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
