"""Folders of the host in a guest, served by Debian's virtiofsd."""

import contextlib
import hashlib
import os
import socket
import subprocess
import time

from guest import IMAGES, Guest, Pauses
from harness import keep, limit

from monitor import PATIENCE, Monitor

VIRTIOFSD = "/usr/lib/qemu/virtiofsd"


class FileServer:
    """A virtiofsd on a folder."""

    def __init__(self, work, folder):
        self.path, self.folder = work / "fs.sock", folder
        self.log_path = work / "virtiofsd.log"
        self.start()
        keep(self)

    def start(self):
        """Starts it, and waits until it listens."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)
        command = [VIRTIOFSD, f"--socket-path={self.path}", "-f", "-o", f"source={self.folder}", "-o", "sandbox=chroot"]
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + PATIENCE
        while not os.path.exists(self.path):
            assert self.process.poll() is None and time.monotonic() < deadline, self.log()
            time.sleep(0.01)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def wait(self):
        """Waits for its end, which comes when the guest's machine has gone."""
        self.process.wait(PATIENCE)

    def log(self):
        return f"virtiofsd, exit status {self.process.poll()}:\n{self.log_path.read_text(errors='replace')}"


def make_tree(folder):
    """Files of all sorts; what each should be."""
    (folder / "a/b/c").mkdir(parents=True)
    contents = {"empty": b"", "a/one": b"x", "a/b/page": os.urandom(4096), "a/b/c/odd": os.urandom(1_000_017)}
    for number in range(40):
        contents[f"a/b/file{number}"] = os.urandom(number * 40)
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    os.symlink("one", folder / "a/link")
    os.chmod(folder / "a/one", 0o640)
    return contents


def check_tree(guest, folder, contents):
    """Mounts the folder in the guest, which finds these files in it, and no others."""
    sums = "".join(f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in contents.items())
    (folder / "new").write_text(sums)
    guest.shell("mount -t virtiofs shared /mnt")
    guest.shell("cd /mnt; sha256sum -c new >/tmp/found; ! grep -v OK /tmp/found; cd /root")
    assert guest.shell("find /mnt -type f ! -name new | wc -l").strip() == str(len(contents))


def options(path, tag="shared", device=""):
    return ["-chardev", f"socket,id=fs,path={path},server,nowait"] + [
        *("-device", f"vhost-user-fs-device,chardev=fs,tag={tag},id=fs0{device}")
    ]


@limit(600)
def test_shared_folder(work):
    """A tree is the same on both sides, changes are seen, pauses do no harm, and a killed server may come again."""
    folder = work / "folder"
    folder.mkdir()
    contents = make_tree(folder)
    server = FileServer(work, folder)
    with Guest(work, *options(server.path), machine="microvm,mem-share=on", cpus=2) as guest:
        check_tree(guest, folder, contents)
        assert guest.shell("readlink /mnt/a/link; stat -c %a /mnt/a/one").split() == ["one", "640"]
        # What either side writes, the other one sees.
        guest.shell("echo of the guest >/mnt/new && mkdir /mnt/d && mv /mnt/a/one /mnt/d/two && rm /mnt/empty")
        assert (folder / "new").read_text() == "of the guest\n"
        assert (folder / "d/two").read_bytes() == b"x" and not (folder / "empty").exists()
        (folder / "new").write_text("of the host, and longer\n")
        assert guest.shell("sleep 1.2; cat /mnt/new") == "of the host, and longer\n"
        # Written, while the machine is stopped time and again.
        guest.type("head -c 20000000 /dev/urandom >/tmp/data; cp /tmp/data /mnt/new; echo COPY''-$?\n")
        pauses = Pauses(guest)

        def nothing_is_written():
            size = os.path.getsize(folder / "new")
            time.sleep(0.1)
            assert os.path.getsize(folder / "new") == size, "written while the machine is stopped"

        while not guest.shows(r"^COPY-\d\n"):
            pauses.once(nothing_is_written)
            guest.listen(pauses.between)
        assert pauses.count > 1, pauses.count
        wanted = guest.shell("sha256sum </tmp/data").split()[0]
        assert hashlib.sha256((folder / "new").read_bytes()).hexdigest() == wanted

        # The server is killed in the middle of a copy, which fails since the new one knows none of its files, but ends.
        guest.type("while cp /tmp/data /mnt/new; do :; done 2>/dev/null; echo GONE''-1\n")
        guest.listen(1)
        server.kill()
        assert guest.qmp.execute("query-status")["running"]
        guest.listen(1)
        assert not guest.shows(r"^GONE-1\n"), "requests failed while nobody served them"
        server.start()
        guest.expect(r"^GONE-1\n")
        guest.shell("umount /mnt")
        del contents["empty"]
        contents["d/two"] = contents.pop("a/one")
        check_tree(guest, folder, contents)
        # It stays so over a pause in which the server goes and comes, and with another driver.
        guest.qmp.execute("stop")
        server.kill()
        server.start()
        guest.qmp.execute("cont")
        guest.shell("umount /mnt; rmmod virtiofs && modprobe virtiofs")
        check_tree(guest, folder, contents)
        guest.shell("umount /mnt")
        guest.type("exit\n")
        assert guest.wait() == 0
        assert "ERROR" not in guest.errors and guest.errors.count("WARN") == 2, guest.errors
    server.wait()


def refusal(work, *options):
    """What apus says when it does not start."""
    boot = ["-kernel", IMAGES / "vmlinuz", "-initrd", IMAGES / "initramfs"]
    with Monitor(work, *boot, *options, serial=None) as monitor:
        assert monitor.wait() == 1
        return monitor.errors


def test_wrong_inputs(work):
    """What cannot work is refused before anything starts, with what to do about it."""
    shared = ["-machine", "microvm,mem-share=on"]
    told = refusal(work, *shared, *options(work / "nobody"))
    assert "-chardev id=fs" in told and str(work / "nobody") in told and "start virtiofsd" in told, told
    folder = work / "folder"
    folder.mkdir()
    server = FileServer(work, folder)
    told = refusal(work, "-machine", "microvm", *options(server.path))
    assert "mem-share=on" in told, told
    # Somebody who takes the connection and says nothing, and one who says something else.
    for number, words in enumerate((None, b"HTTP/1.1 400 Bad Request\r\n\r\n")):
        path = work / f"other{number}"
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
            listener.listen()
            listener.settimeout(PATIENCE)
            boot = ["-kernel", IMAGES / "vmlinuz", "-initrd", IMAGES / "initramfs", *shared, *options(path)]
            with Monitor(work, *boot, serial=None) as monitor:
                client = listener.accept()[0]
                if words:
                    client.sendall(words)
                assert monitor.wait() == 1
                assert ("no virtiofsd" if words else "does not answer") in monitor.errors, monitor.errors
                client.close()
