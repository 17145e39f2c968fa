"""What the host refuses: every system call of the program fails once, at every position, one run each; and full disks,
images that shrink, and whatever else goes away under a running machine.

The failures are strace's work (`-e inject`), so nothing in the program is made for them. `make test` takes a few
positions of each call; APUS_FAULTS=all takes them all, which hack/soak does.
"""

import contextlib
import os
import re
import resource
import signal
import subprocess
import time
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from harness import Skip, limit
from monitor import APUS, QMP, Monitor, QMPError
from test_hostile import every_device, guest, taps
from test_plug import add_node, image
from tiny import IDLE, Tiny

# How long one run may take, in seconds. It takes a tenth of one if nothing is wrong.
PATIENCE = 20

# What a call fails with here: what the kernel would say when it is short of something, or the file behind is broken.
FAILURES = {
    "accept4": "EMFILE", "access": "EACCES", "bind": "EACCES", "capget": "EPERM", "capset": "EPERM", "chmod": "EPERM",
    "clone3": "EAGAIN", "connect": "ECONNREFUSED",
    "dup": "EMFILE", "dup3": "EMFILE", "epoll_create1": "EMFILE", "eventfd2": "EMFILE", "fallocate": "ENOSPC",
    "fchmod": "EPERM", "fcntl": "ENOMEM", "flock": "ENOLCK", "fstat": "EIO", "fstatfs": "EIO", "ftruncate": "ENOSPC",
    "getrandom": "ENOSYS", "getsockopt": "ENOMEM", "io_uring_register": "ENOMEM", "io_uring_setup": "ENOMEM",
    "ioctl": "EIO", "listen": "EADDRINUSE", "lseek": "EIO", "madvise": "ENOMEM", "mbind": "ENOMEM",
    "memfd_create": "EMFILE", "mmap": "ENOMEM", "newfstatat": "EIO", "open": "EMFILE", "openat": "EMFILE",
    "pipe2": "EMFILE", "poll": "ENOMEM", "prctl": "EPERM", "pread64": "EIO", "prlimit64": "EPERM", "pwrite64": "ENOSPC",
    "read": "EIO", "recvmsg": "ENOMEM", "rt_sigaction": "EINVAL", "sched_getaffinity": "EPERM",
    "seccomp": "ENOMEM", "sendmsg": "ENOBUFS", "setsockopt": "ENOMEM", "signalfd4": "EMFILE", "socket": "EMFILE",
    "socketpair": "EMFILE", "statx": "EIO", "unlink": "EACCES", "write": "ENOSPC",
}
# These have no failure that a program could answer: the kernel tells what they ask, the process is at its end, or
# (readlink, mprotect) the language's runtime calls them before there is a program.
NEVER = set(
    "arch_prctl brk clock_gettime close execve exit exit_group futex getpid gettid mprotect munmap rseq "
    "readlink rt_sigprocmask rt_sigreturn set_robust_list set_tid_address sigaltstack tgkill getppid geteuid getuid umask".split()
)
# io_uring_enter fails in tests of its own. These pass: the program tries again.
PASSING = ("EINTR", "EAGAIN", "EBUSY", "ENOMEM")
# These last, with what the log calls them: the machine is lost.
LASTING = {
    "EBADF": "Bad file descriptor", "EBADFD": "File descriptor in bad state", "EBADR": "Invalid request descriptor",
    "EFAULT": "Bad address", "EINVAL": "Invalid argument", "ENXIO": "No such device or address",
}
# A filter forbids the call that strace puts in the place of one that is to fail; these come before there is one.
WITH_FILTERS = {"seccomp", "prctl", "rt_sigaction"}


def command(work, name, *options, filters=False):
    """A machine with one of everything, whose sockets and files begin with `name`."""
    files = ["-qmp", f"unix:{work}/{name}-qmp,server,nowait"]
    files += ["-serial", f"socket,path={work}/{name}-serial,server,nowait", "-D", f"{work}/{name}.log"]
    devices = ["-drive", f"id=a,file={work}/{name}.disk,direct=off", "-device", "virtio-blk-device,drive=a,id=blk0"]
    devices += ["-object", "iothread,id=io0", "-device", "virtio-balloon-device,id=balloon0"]
    devices += ["-object", "rng-random,id=r0,filename=/dev/urandom", "-device", "virtio-rng-device,rng=r0,id=rng0"]
    devices += ["-device", f"vhost-vsock-device,id=vsock0,guest-cid=3,socket={work}/{name}-vsock"]
    devices += ["-chardev", f"socket,path={work}/{name}-port,server,nowait,id=port", "-device", "virtio-serial-device"]
    devices += ["-device", "virtserialport,chardev=port,id=port0"]
    image(work, f"{name}.disk")
    if not filters:
        devices.append("-disable-seccomp")
    return [APUS, "-machine", "microvm,hotplug=on", *Tiny.files(work, IDLE), *files, *devices, *options]


def connect(work, name, process):
    """A client of the machine, as soon as it answers; None if it ends before, or does not do it in its time."""
    deadline = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError, EOFError):
            return QMP(f"{work}/{name}-qmp", timeout=0.05)
    return None


def use(work, name, pid, qmp):
    """Does what clients do; what fails is told to them and must be undone. How many descriptors are open too many."""
    one, two = image(work, f"{name}.one"), image(work, f"{name}.two")

    def attempt(command, arguments=None):
        with contextlib.suppress(QMPError):
            qmp.execute(command, arguments, timeout=PATIENCE)

    def count():
        return len(os.listdir(f"/proc/{pid()}/fd"))

    attempt("query-status")
    before = count()
    for node, path, more in ("n1", one, {}), ("n2", two, {"iothread": "io0"}):
        attempt("blockdev-add", {"node-name": node, "file": {"driver": "file", "filename": str(path)}})
        attempt("device_add", {"id": node, "driver": "virtio-blk-mmio", "drive": node, **more})
    attempt("block_resize", {"device": "n1", "size": 2 << 20})
    if taps():
        attempt("netdev_add", {"id": "net1", "ifname": f"{name}t{os.getpid() % 100000}"[-15:]})
        attempt("device_add", {"id": "net1", "driver": "virtio-net-mmio"})
    attempt("stop")
    attempt("balloon", {"value": 64 << 20})
    attempt("cont")
    # Twice: whatever could not be undone the first time can be the second time.
    for _ in range(2):
        for node in "n1", "n2", "net1":
            attempt("device_del", {"id": node})
            attempt(*("netdev_del", {"id": node}) if node == "net1" else ("blockdev-del", {"node-name": node}))
    after = count()
    attempt("quit")
    qmp.close()
    return after - before


def run(work, name, prefix, *options, filters=False, is_right=None):
    """Runs the program from its start to its end, by what is put before it; what is wrong with that, or None. If it has
    neither ended by a signal nor left anything, `is_right` decides by its status and log, where given."""
    words = [*prefix, *command(work, name, *options, filters=filters)]
    process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                               cwd=work, start_new_session=True)

    def pid():
        # What was put before it has become the program, or runs it.
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        return int(children[0]) if prefix[0] == "strace" else process.pid

    leaked, cut_short = 0, False
    try:
        if qmp := connect(work, name, process):
            try:
                leaked = use(work, name, pid, qmp)
            except (OSError, EOFError, IndexError):
                # It ended meanwhile, or its client's connection did.
                cut_short = True
                with contextlib.suppress(OSError, IndexError):
                    time.sleep(0.2)
                    os.kill(pid(), signal.SIGTERM)
        try:
            output = process.communicate(timeout=PATIENCE)[0].decode(errors="replace")
        except subprocess.TimeoutExpired:
            return "it hangs"
    finally:
        if process.poll() is None:
            with contextlib.suppress(OSError, IndexError):
                os.kill(pid(), 9)
            process.kill()
            process.wait()
    status = process.returncode
    log = Path(f"{work}/{name}.log").read_text(errors="replace") if Path(f"{work}/{name}.log").exists() else ""
    left = [path.name for path in Path(work).glob(f"{name}-*")]
    for path in Path(work).glob(f"{name}*"):
        path.unlink()
    if status < 0:
        return f"signal {-status}; {output[-300:]}{log[-300:]}"
    if "Fatal error" in output + log:
        return f"a trap: {output[-300:]}"
    if status == 0 and leaked > 0 and not cut_short:
        return f"{leaked} descriptors stay open"
    if left:
        return f"{', '.join(left)} stay"
    lines = [line for line in output.splitlines() if line]
    if is_right:
        return None if is_right(status, log) else f"status {status} and {lines}; {log[-300:]}"
    if status == 0:
        return None
    if status == 1 and len(lines) == 1 and lines[0].startswith("apus: ") and len(lines[0]) > 12:
        return None
    if status == 2 and " ERROR " in log:
        return None
    # The dynamic part of the program's own start, in the C library: it has its own words.
    if status == 127 and lines:
        return None
    return f"status {status} and {lines}; {log[-300:]}"


def record(work, filters):
    """How often each call is made, by the thread that makes it most."""
    trace = ["-f", "-qq", "-o", f"{work}/calls"]
    words = ["strace", *trace, *command(work, "r", filters=filters)]
    process = subprocess.Popen(words, stdin=subprocess.DEVNULL, cwd=work)
    pid = lambda: Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()[0]  # noqa: E731
    use(work, "r", pid, connect(work, "r", process))
    assert process.wait(PATIENCE) == 0
    calls = defaultdict(Counter)
    for thread, call in re.findall(r"^(\d+) +(\w+)\(", Path(f"{work}/calls").read_text(), re.MULTILINE):
        calls[call][thread] += 1
    return {call: max(threads.values()) for call, threads in calls.items()}


def positions(count, most):
    """Up to `most` of the positions 1 to `count`: the first ones, and the others evenly."""
    if count <= most:
        return list(range(1, count + 1))
    return sorted({1 + index * (count - 1) // (most - 1) for index in range(most)})


@limit(3600 if os.environ.get("APUS_FAULTS") == "all" else 240)
def test_every_call_fails_once(work):
    most = 10**6 if os.environ.get("APUS_FAULTS") == "all" else 5
    counts = record(work, filters=False)
    unknown = set(counts) - set(FAILURES) - NEVER - {"io_uring_enter"}
    assert not unknown, f"calls that this test does not know: {unknown}"
    cases = [(call, when, False) for call, count in counts.items() if call in FAILURES
             for when in positions(count, most)]
    counts = record(work, filters=True)
    cases += [(call, when, True) for call in WITH_FILTERS for when in positions(counts.get(call, 0), most)]

    def inject(case):
        call, when, filters = case
        text = f"inject={call}:error={FAILURES[call]}:when={when}"
        # No name begins with another: a run removes all files that begin with its own.
        name = f"{call}{when}{'f' if filters else 'n'}"
        # A counter that wakes a thread can always be written; the log cannot.
        log = ["-P", f"{work}/{name}.log"] if call == "write" else []
        tracer = ["strace", "-f", "-qq", "-o", f"{work}/{name}.trace", "-e", f"trace={call}", "-e", text, *log]
        outcome = run(work, name, tracer, filters=filters)
        # Who may not take a name away leaves it, and so does who cannot see that it is still its own.
        if outcome and call in ("unlink", "newfstatat") and outcome.endswith(" stay"):
            outcome = None
        return outcome and f"{call} {when}{' with filters' if filters else ''}: {outcome}"

    with ThreadPoolExecutor(3) as pool:
        failures = [outcome for outcome in pool.map(inject, cases) if outcome]
    print(f"     {len(cases)} calls failed, one a run, of {len({call for call, _, _ in cases})} kinds")
    assert not failures, "\n" + "\n".join(failures)


def is_survived(status, log):
    return status == 0 and "io_uring_enter" not in log


def is_lost(*texts):
    """A check for the machine's end by one of these errors, told once for each thread that met it."""

    def check(status, log):
        told = re.findall(r"ERROR machine: lost: (\w+): io_uring_enter: (.*)", log)
        threads = [thread for thread, _ in told]
        return status == 2 and bool(told) and len(threads) == len(set(threads)) and all(text in texts for _, text in told)

    return check


@limit(600)
def test_io_uring_enter_fails(work):
    """Once, with an error that passes: all goes on. With one that lasts, or time and again: the machine is lost."""
    most = 40 if os.environ.get("APUS_FAULTS") == "all" else 3
    # Not those of the end, of which there are not always as many.
    count = record(work, filters=False)["io_uring_enter"] // 2
    assert count > 20, count
    cases = []
    for when in positions(count, most):
        cases += [(error, times, is_survived) for error in PASSING for times in (str(when), f"{when}..{when + 9}")]
        cases += [(error, str(when), is_lost(text)) for error, text in LASTING.items()]
        cases.append(("EAGAIN", f"{when}+", is_lost("Resource temporarily unavailable")))

    def inject(case):
        error, when, is_right = case
        folder = work / f"{error}{when}"
        folder.mkdir()
        text = f"inject=io_uring_enter:error={error}:when={when}"
        tracer = ["strace", "-f", "-qq", "-o", f"{folder}/trace", "-e", "trace=io_uring_enter", "-e", text]
        outcome = run(folder, "m", tracer, is_right=is_right)
        return outcome and f"{error} {when}: {outcome}"

    with ThreadPoolExecutor(3) as pool:
        failures = [outcome for outcome in pool.map(inject, cases) if outcome]
    print(f"     {len(cases)} runs in which io_uring_enter failed")
    assert not failures, "\n" + "\n".join(failures)


def test_clients_hear_of_a_lost_ring(work):
    """The last event is SHUTDOWN, whichever thread has lost its ring and whatever its client waits for."""
    for when in 40, 41, 42, 60:
        name = f"l{when}"
        text = f"inject=io_uring_enter:error=EBADF:when={when}"
        words = ["strace", "-f", "-qq", "-o", f"{work}/trace", "-e", "trace=io_uring_enter", "-e", text]
        process = subprocess.Popen([*words, *command(work, name)], stdin=subprocess.DEVNULL, cwd=work)
        qmp = connect(work, name, process)
        with contextlib.suppress(OSError, EOFError):
            while True:
                qmp.execute("query-status")
        with contextlib.suppress(OSError, EOFError):
            while True:
                qmp.events.append(qmp.receive())
        qmp.close()
        assert process.wait(PATIENCE) == 2
        assert [event["event"] for event in qmp.events] == ["SHUTDOWN"], qmp.events
        assert qmp.events[0]["data"] == {"guest": False, "reason": "internal-error"}, qmp.events
        assert not list(work.glob(f"{name}-*")), "sockets stay"


def test_too_few_descriptors(work):
    """EMFILE wherever the limit is met: from none to more than are needed."""
    for most in range(4, 90):
        outcome = run(work, f"f{most}", ["prlimit", f"--nofile={most}:{most}"])
        assert outcome is None, (most, outcome)


def test_too_little_memory(work):
    outcome = run(work, "m", ["prlimit", "--as=1500000000"], "-m", "4096")
    assert outcome is None, outcome
    ran = subprocess.run(
        ["prlimit", "--as=1500000000", *command(work, "n", "-m", "4096")], capture_output=True, text=True, timeout=PATIENCE
    )
    assert ran.returncode == 1 and re.fullmatch("apus: -m.*Cannot allocate memory.*\n", ran.stderr), ran


# MARK: While the machine runs


@contextlib.contextmanager
def busy(work, told, *options, machine="microvm,hotplug=on"):
    """A guest that uses its disks without end, and a neighbour of theirs that has to go on whatever happens."""
    options = ["-machine", machine, *options, *guest(work), "-append", told, *every_device(work)]
    with Monitor(work, *options) as one:
        one.expect(r"\.\.")
        yield one


def check_lives(monitor):
    """It serves its guest and its clients; then it ends in good order."""
    monitor.expect(r"\.{20}")
    assert "FAIL" not in monitor.output
    assert monitor.qmp.execute("query-status")["running"]
    monitor.qmp.execute("quit")
    assert monitor.wait() == 0, monitor.errors


@contextlib.contextmanager
def small_file_system(work):
    """A place for 2 MiB."""
    if os.geteuid() != 0:
        raise Skip("mounting needs root")
    place = Path(work) / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", place], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", place], check=True)


def test_a_full_disk(work):
    """ENOSPC: the guest is told, the log and the clients too; and when there is room again, it goes on."""
    with small_file_system(work) as place, busy(work, "fw") as monitor:
        path = image(place, "full", 8 << 20)
        add_node(monitor.qmp, "full", path)
        monitor.qmp.execute("device_add", {"id": "full", "driver": "virtio-blk-mmio"})
        event = monitor.qmp.wait_event("BLOCK_IO_ERROR")
        assert event["data"]["device"] == "full" and event["data"]["operation"] == "write", event
        assert "No space left on device" in monitor.errors, monitor.errors
        path.write_bytes(b"")
        os.truncate(path, 8 << 20)
        before = done(monitor, "full")
        until(lambda: done(monitor, "full") > before)
        check_lives(monitor)


def done(monitor, disk):
    """How many writes of a disk have ended well."""
    [stats] = [one["stats"] for one in monitor.qmp.execute("query-blockstats") if one["device"] == disk]
    return stats["wr_operations"]


def until(condition):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.005)


def test_an_image_that_is_cut_off(work):
    """EIO where the image has ended."""
    with busy(work, "f") as monitor:
        os.truncate(work / "disk", 4096)
        monitor.qmp.wait_event("BLOCK_IO_ERROR")
        os.truncate(work / "disk", 1 << 20)
        check_lives(monitor)


def test_a_tap_that_vanishes(work):
    if not taps():
        raise Skip("taps need root and /dev/net/tun")
    with busy(work, "f") as monitor:
        subprocess.run(["ip", "link", "del", f"apush{os.getpid() % 100000}"], check=True)
        monitor.expect(r"\.{10}")
        check_lives(monitor)


def test_memory_that_is_cut_off(work):
    """The file behind guest memory: whoever meets it first, the guest or the monitor, the machine ends with a word."""
    for size in 0, 16 << 20:
        folder = work / str(size)
        folder.mkdir()
        with open(folder / "memory", "w+b") as memory:
            memory.truncate(128 << 20)
            with busy(folder, "f", "-mem-path", f"{folder}/memory", machine="microvm,mem-share=on") as monitor:
                os.truncate(folder / "memory", size)
                status = monitor.wait()
                # A guest whose code has gone may see that as faults of its own.
                wanted = {2: "ERROR (memory|machine): .*lost", 0: "the guest ended in a triple fault"}
                assert status in wanted and re.search(wanted[status], monitor.errors), (status, monitor.errors)
