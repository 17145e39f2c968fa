"""What hack/soak runs: it counts, and looks at what the process has before and after."""

import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE / "Program")]
sys.dont_write_bytecode = True

from monitor import APUS, Monitor  # noqa: E402
from test_hostile import every_device, guest, taps  # noqa: E402
from test_plug import add_disk, image  # noqa: E402
from tiny import IDLE, SPIN, Tiny  # noqa: E402

# What memory may differ by without having grown, in KiB: the C library's heap is taken and given in pieces.
SLACK = 512


class State:
    """What a process has: descriptors, threads, and what it has written to, in KiB.

    The other pages of its binary are its own or not by who else runs the same one.
    """

    def __init__(self, pid):
        self.descriptors = len(os.listdir(f"/proc/{pid}/fd"))
        # Not the workers of a ring, which the kernel keeps for a while, within bounds.
        tasks = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/comm")]
        self.threads = sum(not name.startswith("iou-") for name in tasks)
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        self.memory = int(re.search(r"^Private_Dirty: +(\d+) kB$", rollup, re.MULTILINE).group(1))

    def __str__(self):
        return f"{self.descriptors} fds, {self.threads} threads, {self.memory} KiB"

    def grew(self, before):
        return (
            self.descriptors > before.descriptors or self.threads > before.threads
            or self.memory > before.memory + SLACK
        )


class Soak:
    def __init__(self, work, share):
        self.work, self.share = Path(work), share

    def place(self, name):
        folder = self.work / name
        folder.mkdir()
        return folder

    def count(self, full):
        return max(10, full * self.share // 100)

    def repeat(self, full, pid, once):
        """Does `once`, which says how many that were, as often as it takes; how many, and the states to compare."""
        count, done, first = self.count(full), 0, None
        while done < count:
            done += once()
            if first is None and done >= count // 10:
                first = State(pid)
        # What was ended last may take a moment to go.
        deadline = time.monotonic() + 10
        while (last := State(pid)).grew(first) and time.monotonic() < deadline:
            time.sleep(0.1)
        return done, first, last

    def resets(self):
        work = self.place("resets")
        with Monitor(work, "-machine", "microvm,hotplug=on", *guest(work), "-append", "r", *every_device(work)) as one:
            def once():
                # The guest says so after each thousand.
                one.expect(r"[rF]")
                assert one.output.endswith("r") or "F" not in one.output, one.output[-100:]
                one.output, one._from = "", 0
                return 1000

            return self.repeat(10**6, one.process.pid, once)

    def connections(self):
        work = self.place("connections")
        with Monitor(work, *guest(work), "-append", "c", *every_device(work)) as one:
            one.expect(r"listening\n")

            def once():
                with socket.socket(socket.AF_UNIX) as client:
                    client.settimeout(60)
                    client.connect(str(work / "vsock"))
                    client.sendall(b"CONNECT 9\n")
                    assert client.recv(64).startswith(b"OK "), "the guest did not answer"
                return 1

            return self.repeat(10**5, one.process.pid, once)

    def starts(self):
        """Its own descriptors and memory are what is left behind in the host: none, and no process."""
        work = self.place("starts")

        def once():
            options = Tiny.files(work, IDLE) + every_device(work)
            with Monitor(work, "-machine", "microvm,hotplug=on", *options, serial=f"file,path={work}/serial") as one:
                one.qmp.execute("quit")
                assert one.wait() == 0, one.errors
            one._errors.close()
            one.process.stdin.close()
            one.process.stdout.close()
            left = {path.name for path in work.iterdir()} - {"kernel", "initrd", "serial", "disk", "console"}
            left -= {path.name for path in work.glob("errors-*")}
            assert not left, left
            for path in work.glob("errors-*"):
                path.unlink()
            import harness

            harness._things.clear()
            return 1

        return self.repeat(1000, os.getpid(), once)

    def plugs(self):
        work = self.place("plugs")
        paths = {disk: image(work, disk) for disk in ("a", "b")}
        with Tiny(work, SPIN, "-machine", "microvm,hotplug=on", "-object", "iothread,id=io0") as one:
            qmp = one.qmp

            def once():
                add_disk(qmp, "a", paths["a"])
                add_disk(qmp, "b", paths["b"], iothread="io0")
                if taps():
                    qmp.execute("netdev_add", {"id": "n", "ifname": f"apuss{os.getpid() % 100000}"})
                    qmp.execute("device_add", {"id": "n", "driver": "virtio-net-mmio"})
                for device in ("a", "b", "n") if taps() else ("a", "b"):
                    qmp.execute("device_del", {"id": device})
                    qmp.wait_event("DEVICE_DELETED")
                return 1

            return self.repeat(1000, one.process.pid, once)

    def questions(self):
        work = self.place("questions")
        with Tiny(work, IDLE) as one:
            line = one.qmp.socket
            batch = 500

            def once():
                line.sendall(b'{"execute":"query-status"}' * batch)
                answers = 0
                while answers < batch:
                    data = line.recv(1 << 20)
                    assert data, "it has closed the connection"
                    answers += data.count(b"\n")
                return batch

            return self.repeat(10**6, one.process.pid, once)

    def faults(self):
        environment = dict(os.environ, APUS_FAULTS="all" if self.share >= 100 else "")
        ran = subprocess.run(
            [sys.executable, HERE / "run", "-k", "every_call", HERE / "Program" / "test_faults.py"],
            capture_output=True, text=True, env=environment,
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return int(ran.stdout.split()[0]), None, None


    def drivers(self):
        """The tests whose drivers, guests and clients do as chance has it, with another seed each time."""
        top, seed = HERE.parent, int.from_bytes(os.urandom(6), "big")
        cases = self.count(10**6)
        print(f"drivers: APUS_SEED={seed} APUS_CASES={cases} swift test --filter '{CHANCE}'", flush=True)
        subprocess.run(["swift", "build", "--build-tests"], cwd=top, check=True, capture_output=True)
        ran = subprocess.run(
            ["swift", "test", "--skip-build", "--filter", CHANCE], cwd=top, capture_output=True, text=True,
            env=dict(os.environ, APUS_SEED=str(seed), APUS_CASES=str(cases)),
        )
        done = Counter()
        for count, kind in re.findall(r"^(\d+) cases of (.+)$", ran.stdout, re.MULTILINE):
            done[kind] += int(count)
        print("drivers: " + ", ".join(f"{count} of {kind}" for kind, count in sorted(done.items())), flush=True)
        assert ran.returncode == 0, ran.stdout[-4000:] + ran.stderr[-4000:]
        return sum(done.values()), None, None


PARTS = ["resets", "connections", "starts", "plugs", "questions", "faults", "drivers"]

# The tests that `drivers` runs.
CHANCE = "inputsOfChance|RandomRingTests|whateverComes|framesOfAnySize|aFloodOfControlMessages"


def main(arguments):
    share = 100
    if arguments[:1] == ["-share"] and len(arguments) > 1 and arguments[1].isdigit():
        share, arguments = int(arguments[1]), arguments[2:]
    unknown = [part for part in arguments if part not in PARTS]
    if unknown:
        print(f"there is no part {unknown[0]!r}; see hack/soak -help", file=sys.stderr)
        return 2
    rows, failed = [], 0
    with tempfile.TemporaryDirectory(prefix="apus-soak-") as work:
        soak = Soak(work, share)
        for part in arguments or PARTS:
            started = time.monotonic()
            try:
                done, before, after = getattr(soak, part)()
                verdict = "GREW" if after is not None and after.grew(before) else "ok"
                states = f"{before} -> {after}" if after else ""
                rows.append((part, done, time.monotonic() - started, verdict, states))
            except Exception as error:
                rows.append((part, 0, time.monotonic() - started, "FAIL", f"{type(error).__name__}: {error}"))
            failed += rows[-1][3] != "ok"
            print("%-12s %9d  %6.0f s  %-4s  %s" % rows[-1], flush=True)
    print(f"{len(rows) - failed} passed, {failed} failed")
    return 1 if failed else 0


assert APUS
sys.exit(main(sys.argv[1:]))
