"""-sandbox: dropped privileges, limited paths, and the jail."""

import ctypes
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

from harness import Skip
from monitor import APUS, PATIENCE, QMP
from test_plug import HOT, add_disk, image, refused
from tiny import IDLE, SPIN, Tiny, gone, threads
from trace import Trace

ALL_FILES, NETWORK = 1 << 1, 1 << 12
USER, GROUP = 12345, 23456


def status(pid, key):
    return re.search(rf"^{key}:[ \t]*(.*)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)[1]


def need_root():
    if os.geteuid() != 0:
        raise Skip("this needs root")


def has_landlock():
    return ctypes.CDLL(None, use_errno=True).syscall(444, None, 0, 1) > 0


def need_landlock():
    if not has_landlock():
        raise Skip("this kernel has no Landlock")


def fails(options, text):
    """Checks that a start fails with one line that contains `text`."""
    done = subprocess.run([APUS, *map(str, options)], capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 1 and re.fullmatch(r"apus: -sandbox: .*\n", done.stderr), done
    assert text in done.stderr, (text, done.stderr)


# MARK: Privileges


def test_no_thread_keeps_privileges(work):
    need_root()
    folder = work / "own"
    folder.mkdir()
    for hot, kept in ("off", 0), ("on", ALL_FILES | NETWORK):
        with Tiny(folder, IDLE, "-machine", f"microvm,hotplug={hot}", "-object", "iothread,id=io0") as tiny:
            assert tiny.qmp
            found = threads(tiny.process.pid)
            assert {"io0", "CPU 0/KVM"} <= set(found.values())
            for thread in found:
                for key in "CapEff", "CapPrm", "CapInh":
                    assert int(status(thread, key), 16) & ~kept == 0, (hot, found[thread], key)
                assert status(thread, "NoNewPrivs") == "1"
            tiny.qmp.execute("quit")
            tiny.check_end()
    with Tiny(folder, IDLE, "-sandbox", "off") as tiny:
        assert tiny.qmp
        assert status(tiny.process.pid, "CapEff") == status(os.getpid(), "CapEff")
        tiny.qmp.execute("quit")
        tiny.check_end()


def test_its_own_files_go_from_where_they_lie(work):
    """Those of another user's directory too, for which that one privilege stays."""
    need_root()
    folder = work / "other"
    folder.mkdir()
    with Tiny(folder, IDLE, "-machine", "microvm,hotplug=off") as tiny:
        os.chown(folder, USER, GROUP)
        tiny.qmp.execute("quit")
        tiny.wait()
    os.chown(folder, 0, 0)
    for path in folder.glob("*.sock"):
        path.unlink()
    os.chmod(folder, 0o755)
    os.chown(folder, USER, GROUP)
    with Tiny(folder, IDLE, "-machine", "microvm,hotplug=off") as tiny:
        assert tiny.qmp
        assert int(status(tiny.process.pid, "CapEff"), 16) == ALL_FILES
        tiny.qmp.execute("quit")
        tiny.check_end()


# MARK: Paths


def test_without_hot_plug_nothing_can_be_reached(work):
    """Shown by the system calls of the machine: the rules are complete before any thread is there."""
    need_landlock()
    trace = Trace(work / "trace")
    folder = work / "machine"
    folder.mkdir()
    with Tiny(folder, IDLE, "-machine", "microvm,hotplug=off", under=trace.under) as tiny:
        tiny.qmp.execute("quit")
        tiny.check_end()
    trace.read(tiny.process.pid)
    names = re.findall(r"\] (landlock_\w+|clone3?|seccomp)\(", (work / "trace").read_text())
    assert names.index("landlock_restrict_self") < min(names.index(n) for n in names if n.startswith("clone")), names


def test_disks_come_from_the_paths_that_are_given(work):
    need_landlock()
    images = work / "images"
    images.mkdir()
    inside, outside = image(images, "inside"), image(work, "outside")
    (images / "link").symlink_to(outside)
    denied = "Permission denied; it is not among -sandbox landlock-paths=, or this user may not read it; "
    denied += "name it there, or hand it over by add-fd and call it /dev/fdset/N"
    # Nobody may write it, whatever the rules say.
    constant = Path("/sys/devices/system/cpu/online")
    with Tiny(work, SPIN, *HOT, "-sandbox", f"on,landlock-paths={images}:{constant}") as tiny:
        add_disk(tiny.qmp, "a", inside)
        for path in outside, images / "link", "/etc/passwd":
            for read_only in True, False:
                node = {"node-name": "b", "file": {"driver": "file", "filename": str(path)}, "read-only": read_only}
                refused(tiny.qmp, "blockdev-add", node, f"image '{path}': {denied}")
        node = {"node-name": "b", "file": {"driver": "file", "filename": str(constant)}, "cache": {"direct": False}}
        refused(tiny.qmp, "blockdev-add", node, "Permission denied; use readonly=on")
        tiny.qmp.execute("quit")
        assert tiny.wait() == 0 and not list(work.glob("*.sock"))
    with Tiny(work, SPIN, *HOT) as tiny:
        add_disk(tiny.qmp, "a", outside)
    with Tiny(work, SPIN, *HOT, "-sandbox", "on,landlock=on") as tiny:
        node = {"node-name": "a", "file": {"driver": "file", "filename": str(inside)}}
        refused(tiny.qmp, "blockdev-add", node, denied)
    options = [*Tiny.files(work), "-qmp", f"unix:{work}/q,server,nowait"]
    text = f"-sandbox: landlock-paths: cannot allow '{work}/none': No such file"
    fails([*options, "-sandbox", f"on,landlock-paths={work}/none"], text)


# MARK: The jail


def make_jail(work, code=IDLE):
    """A root directory with a machine's files, where the user of the jail can make sockets."""
    root = Path(work) / "root"
    root.mkdir()
    os.chmod(work, 0o755)
    Tiny.files(root, code)
    os.chown(root, USER, GROUP)
    return root, ["-kernel", "/kernel", "-initrd", "/initrd", "-qmp", "unix:/qmp,server,nowait"]


class Jailed:
    """An apus process in a jail, found by its socket outside."""

    def __init__(self, options, socket_path):
        self.process = subprocess.Popen([APUS, *map(str, options)], stderr=subprocess.PIPE)
        self.qmp = QMP(str(socket_path))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.qmp.close()
        self.process.stderr.close()


def child_of(pid):
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text())


def test_a_root_and_a_user(work):
    need_root()
    root, options = make_jail(work)
    options += ["-object", "rng-random,id=r", "-device", "virtio-rng-device,rng=r"]
    for _ in range(2):
        with Jailed([*options, "-sandbox", f"on,chroot={root},uid={USER},gid={GROUP}"], root / "qmp") as jailed:
            pid = jailed.process.pid
            assert status(pid, "Uid").split() == [str(USER)] * 4 and status(pid, "Gid").split() == [str(GROUP)] * 4
            assert status(pid, "Groups").strip() == ""
            assert all(int(status(pid, key), 16) == 0 for key in ("CapEff", "CapPrm"))
            assert os.path.samefile(f"/proc/{pid}/root", root)
            mounts = Path(f"/proc/{pid}/mountinfo").read_text().splitlines()
            assert len(mounts) == 1 and mounts[0].split()[4] == "/", mounts
            kvm = (root / "dev/kvm").stat()
            assert kvm.st_rdev == os.stat("/dev/kvm").st_rdev and (kvm.st_uid, kvm.st_gid) == (USER, GROUP)
            assert kvm.st_mode & 0o777 == 0o600
            assert jailed.qmp.execute("query-status")["running"]
            jailed.qmp.execute("quit")
            assert jailed.process.wait(PATIENCE) == 0
        assert {path.name for path in root.iterdir()} == {"kernel", "initrd", "dev"}


def test_links_in_the_jail_are_refused(work):
    need_root()
    root, options = make_jail(work)
    link = work / "link"
    link.symlink_to(root)
    fails([*options, "-sandbox", f"on,chroot={link}"], f"chroot: '{link}' contains a symbolic link")
    exists = "cannot create /dev/kvm in the root: another file exists there; remove it"
    victim = work / "victim"
    victim.mkdir()
    (root / "dev").symlink_to(victim)
    fails([*options, "-sandbox", f"on,chroot={root},uid=1,gid=1"], exists)
    (root / "dev").unlink()
    (root / "dev").mkdir()
    file = work / "file"
    file.write_text("")
    (root / "dev/kvm").symlink_to(file)
    fails([*options, "-sandbox", f"on,chroot={root},uid=1,gid=1"], exists)
    assert not list(victim.iterdir()) and file.stat().st_uid == 0
    (root / "dev/kvm").unlink()
    os.mknod(root / "dev/kvm", 0o600 | 0o020000, os.makedev(1, 3))
    fails([*options, "-sandbox", f"on,chroot={root},uid=1,gid=1"], exists)


def test_processes_of_its_own(work):
    need_root()
    files = [*Tiny.files(work), "-qmp", f"unix:{work}/q,server,nowait", "-sandbox", "on,newpid=on"]
    with Jailed(files, work / "q") as jailed:
        outer = jailed.process.pid
        inner = child_of(outer)
        assert status(inner, "NSpid").split() == [str(inner), "1"]
        assert len(os.listdir(f"/proc/{outer}/fd")) == 3, "who stands in keeps no files"
        jailed.qmp.execute("quit")
        assert jailed.process.wait(PATIENCE) == 0
    # A signal reaches the machine, which ends in good order.
    with Jailed(files, work / "q") as jailed:
        jailed.process.send_signal(signal.SIGTERM)
        assert jailed.qmp.wait_event("SHUTDOWN")["data"]["reason"] == "Guest shutdown by signal 15"
        assert jailed.process.wait(PATIENCE) == 0 and not (work / "q").exists()
    # Neither outlives the other, and how the machine ended is seen outside.
    with Jailed(files, work / "q") as jailed:
        os.kill(child_of(jailed.process.pid), signal.SIGKILL)
        assert jailed.process.wait(PATIENCE) == -signal.SIGKILL
    with Jailed(files, work / "q") as jailed:
        inner = child_of(jailed.process.pid)
        jailed.process.kill()
        jailed.process.wait()
        deadline = time.monotonic() + PATIENCE
        while not gone(inner):
            assert time.monotonic() < deadline
            time.sleep(0.01)
    done = subprocess.run([APUS, *files[:-4], "-qmp", f"unix:{work}/none/q,server,nowait", *files[-2:]], capture_output=True)
    assert done.returncode == 1 and b"No such file" in done.stderr, done


def test_a_daemon_in_a_jail(work):
    need_root()
    root, options = make_jail(work)
    sandbox = f"on,chroot={root},uid={USER},gid={GROUP},newpid=on"
    options += ["-daemonize", "-pidfile", "/pid", "-D", "/log", "-sandbox", sandbox]
    done = subprocess.run([APUS, *options], capture_output=True, timeout=PATIENCE)
    assert done.returncode == 0 and not done.stdout + done.stderr, done
    pid = int((root / "pid").read_text())
    assert status(pid, "NSpid").split() == [str(pid), "1"] and status(pid, "Uid").split()[0] == str(USER)
    qmp = QMP(str(root / "qmp"))
    qmp.execute("quit")
    qmp.wait_event("SHUTDOWN")
    qmp.close()
    deadline = time.monotonic() + PATIENCE
    while not gone(pid) or (root / "pid").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert {path.name for path in root.iterdir()} == {"kernel", "initrd", "dev", "log"}


def test_a_network_namespace(work):
    need_root()
    name = f"apus-test-{os.getpid()}"
    options = [*Tiny.files(work), "-qmp", f"unix:{work}/q,server,nowait"]
    if subprocess.run(["ip", "netns", "add", name]).returncode != 0:
        raise Skip("network namespaces cannot be made here")
    try:
        path = f"/run/netns/{name}"
        with Jailed([*options, "-sandbox", f"on,netns={path}"], work / "q") as jailed:
            assert os.path.samefile(f"/proc/{jailed.process.pid}/ns/net", path)
            assert not os.path.samefile("/proc/self/ns/net", path)
    finally:
        subprocess.run(["ip", "netns", "del", name], check=True)
    fails([*options, "-sandbox", "on,netns=/etc/passwd"], "netns: '/etc/passwd' is not a network namespace")
    fails([*options, "-sandbox", f"on,netns={work}/none"], f"netns: cannot open '{work}/none': No such file")


def test_a_control_group(work):
    need_root()
    options = [*Tiny.files(work), "-qmp", f"unix:{work}/q,server,nowait"]
    found = re.search(r"^cgroup2? (\S+) cgroup2? ", Path("/proc/mounts").read_text(), re.MULTILINE)
    group = Path(found[1] if found else "/none") / f"apus-test-{os.getpid()}"
    try:
        group.mkdir()
    except OSError as error:
        raise Skip(f"no control group can be made here: {error}") from None
    try:
        with Jailed([*options, "-sandbox", f"on,cgroup={group},newpid=on"], work / "q") as jailed:
            members = {int(line) for line in (group / "cgroup.procs").read_text().split()}
            # Some kernels put a thread of KVM's there too.
            assert members >= {jailed.process.pid, child_of(jailed.process.pid)}
            jailed.qmp.execute("quit")
            jailed.process.wait(PATIENCE)
    finally:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                group.rmdir()
                break
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.01)
    fails([*options, "-sandbox", f"on,cgroup={work}"], f"cgroup: cannot join '{work}': No such file")


def test_only_root_can(work):
    need_root()
    os.chmod(work, 0o777)
    options = [*Tiny.files(work), "-qmp", f"unix:{work}/q,server,nowait"]
    for path in work.iterdir():
        os.chmod(path, 0o644)
    # In a directory that the unprivileged user can read.
    apus = shutil.copy(APUS, work)
    for key, text in [
        (f"chroot={work}", "chroot: cannot create a mount namespace"), ("newpid=on", "newpid: cannot start"),
        ("uid=1,gid=1", "uid: cannot become user 1 with group 1"),
    ]:  # fmt: skip
        done = subprocess.run(
            [apus, *options, "-sandbox", f"on,{key}"], capture_output=True, text=True, user=USER, group=GROUP,
            extra_groups=[], cwd="/",
        )  # fmt: skip
        assert done.returncode == 1, done
        wanted = rf"apus: -sandbox: {text}.*: Operation not permitted; start apus as root\n"
        assert re.fullmatch(wanted, done.stderr), done
