"""A guest that does everything wrong that a driver can do, on every device over its registers; and while it does, the
host plugs and pauses.

Where each group of section 5 of the list of hostile inputs is tried (G: by the guest in hostile/, over KVM; the others
are units, which drive the same devices by the thousand or by the million):

   1-11  G registers.c; HostileTransportTests; 5 also LifeCycleTests; 10 also BusTests
  12-20  G rings.c; HostileRingTests, ExhaustiveRingTests, RandomRingTests; 20 also BlockHostileTests
     21  G machine.c, by a second processor; RaceTests
     22  G rings.c; QueueTests, RaceTests
     23  G registers.c (rings on one another); HostileTransportTests case 4
     24  G registers.c, and below, while disks come and go; LifeCycleTests, *HostileTests (aResetWaitsForWhatIsInFlight)
     25  G devices.c; BlockHostileTests
     26  BlockHostileTests (a format's magic), RawRequestsTests; test_faults (a short image, a full disk, a bad one)
     27  G devices.c; NetworkHostileTests, NetworkControlTests; test_faults (a tap that vanishes)
     28  G devices.c; VsockHostileTests, VsockBufferTests
     29  G devices.c; BalloonHostileTests
     31  G devices.c; EntropyHostileTests, ConsoleHostileTests
     32  FileSystemDeviceTests, VhostUserEndpointTests (back ends that lie); test_faults (one that dies); G with a real
         one, which may end of what the guest does to its rings
     33  G machine.c; SerialPortTests, KeyboardControllerTests
     34  G machine.c; test_life_cycle (every end of a guest)

30 (virtio-mem), pmem, RTC and firmware configuration are not there yet.
"""

import os
import re
import subprocess
import threading
import time
from collections import defaultdict
from pathlib import Path

from harness import Skip, keep, limit
from monitor import PATIENCE, Monitor
from test_plug import add_disk, descriptors, image

HERE = Path(__file__).resolve().parent
FLAGS = (
    "-Os -std=gnu11 -Wall -Werror -Wno-unused-value -ffreestanding -fno-builtin -fno-strict-aliasing -fno-pic -no-pie "
    "-mno-red-zone -mgeneral-regs-only -mcmodel=small -fno-stack-protector -fcf-protection=none "
    "-fno-asynchronous-unwind-tables -static -nostdlib "
    "-Wl,-Ttext-segment=0x1000000,--build-id=none,-e,start,-z,max-page-size=4096,-z,noexecstack"
)

# What each kind of device is asked besides what all of them are.
ALL = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 24}
OWN = {"blk": {25}, "net": {27}, "vsock": {28}, "balloon": {29}, "rng": {31}, "console": {31}, "fs": set()}

VIRTIOFSD = "/usr/lib/qemu/virtiofsd"


def guest(work):
    """The hostile guest, an ELF file that is entered by Linux's 64-bit protocol."""
    sources = [str(path) for path in sorted((HERE / "hostile").iterdir()) if path.suffix in (".c", ".S")]
    subprocess.run(["gcc", *FLAGS.split(), "-o", f"{work}/hostile", *sources], check=True)
    return ["-kernel", f"{work}/hostile", "-m", "128"]


def taps():
    return os.geteuid() == 0 and os.path.exists("/dev/net/tun")


class FileServer:
    """virtiofsds on a folder, one after the other: each may end of a broken ring."""

    def __init__(self, work):
        self.path, self.ends, self._is_over = work / "fs.sock", [], False
        folder = work / "shared"
        folder.mkdir()
        # There is nothing to be hidden from: this guest names no files.
        self._command = [VIRTIOFSD, f"--socket-path={self.path}", "-f", "-o", f"source={folder}", "-o", "sandbox=chroot"]
        self._log = open(work / "virtiofsd.log", "wb")
        self._start()
        self._keeper = threading.Thread(target=self._keep)
        self._keeper.start()
        deadline = time.monotonic() + PATIENCE
        while not self.path.exists():
            assert time.monotonic() < deadline and not self.ends, self.log()
            time.sleep(0.01)
        keep(self)

    def _start(self):
        self.path.unlink(missing_ok=True)
        self._process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log)

    def _keep(self):
        while True:
            self.ends.append(self._process.wait())
            if self._is_over:
                break
            self._start()

    def kill(self):
        self._is_over = True
        while self._keeper.is_alive():
            self._process.kill()
            self._keeper.join(0.05)
        self._log.close()

    def log(self):
        return f"virtiofsd: {len(self.ends)} have ended\n{Path(self._log.name).read_text(errors='replace')[-2000:]}"


def shared_folder(work):
    """What a machine has a folder of, or None where there is no virtiofsd, or none could change its root."""
    return FileServer(work) if os.path.exists(VIRTIOFSD) and os.geteuid() == 0 else None


def every_device(work, home="", folder=None):
    """One device of each kind, where those that can be on an iothread are on `home`; the last one is left in peace.

    With `folder`, guest memory must be shared.
    """
    image(work, "disk")
    options = ["-drive", f"id=a,file={work}/disk,direct=off", "-device", f"virtio-blk-device,drive=a,id=blk0{home}"]
    options += ["-device", "virtio-balloon-device,id=balloon0,free-page-reporting=true"]
    options += ["-object", "rng-random,id=r0,filename=/dev/urandom", "-device", "virtio-rng-device,rng=r0,id=rng0"]
    options += ["-device", f"vhost-vsock-device,id=vsock0,guest-cid=3,socket={work}/vsock"]
    options += ["-chardev", f"file,path={work}/console,id=hvc"]
    options += ["-device", "virtio-serial-device,id=bus", "-device", "virtconsole,chardev=hvc,id=hvc"]
    if taps():
        options += ["-netdev", f"tap,id=net0,ifname=apush{os.getpid() % 100000}"]
        options += ["-device", f"virtio-net-device,netdev=net0,id=nic0{home}"]
    if folder:
        options += ["-chardev", f"socket,path={folder.path},id=fs", "-device", "vhost-user-fs-device,chardev=fs,tag=t,id=fs0"]
    return options + ["-object", "rng-random,id=r1,filename=/dev/urandom", "-device", "virtio-rng-device,rng=r1,id=rng1"]


def attack(work, machine, *options, home=""):
    """Runs the guest to its end; what it says that came of the cases, by kind of device and number."""
    folder = shared_folder(work)
    # A hypercall may never come back where the processor's own means are missing.
    told = "h" if re.search(r"\b(vmx|svm)\b", Path("/proc/cpuinfo").read_text()) else "n"
    shares = ",mem-share=on" if folder else ""
    command = ["-machine", machine + shares, "-smp", "2", *options, *guest(work), "-append", told]
    with Monitor(work, *command, *every_device(work, home, folder)) as monitor:
        monitor.expect(r"^done\n")
        assert monitor.wait() == 0, monitor.errors
        errors = monitor.errors
        assert "Fatal error" not in errors and "panic" not in errors, errors
        # What a guest can make the log say is bounded.
        assert len(errors) < 200_000, f"{len(errors)} bytes of log"
        assert not re.search("FAIL", monitor.output), re.findall(".*FAIL.*", monitor.output)
        results = defaultdict(list)
        for number, kind, text in re.findall(r"^case (\d+) ([a-z]+)\d* (.*)$", monitor.output, re.MULTILINE):
            assert text.endswith(", ok"), text
            results[kind, int(number)].append(text)
    return results


def check(results):
    kinds = {kind for kind, _ in results} - {"machine"}
    missing = (set() if taps() else {"net"}) | (set() if os.path.exists(VIRTIOFSD) and os.geteuid() == 0 else {"fs"})
    assert kinds == set(OWN) - missing, kinds
    for kind in kinds:
        missing = (ALL | OWN[kind]) - {number for other, number in results if other == kind}
        assert not missing, (kind, missing)
    assert {number for kind, number in results if kind == "machine"} == {10, 33, 34}
    # A disk still has the first request when the second one comes with its head.
    assert "same head twice in one batch: stopped, ok" in results["blk", 13], results["blk", 13]


@limit(240)
def test_every_case_on_the_main_loop(work):
    check(attack(work, "microvm,hotplug=on"))


@limit(240)
def test_every_case_on_an_iothread(work):
    check(attack(work, "microvm,hotplug=off", "-object", "iothread,id=io0", home=",iothread=io0"))


@limit(240)
def test_disks_that_go_while_they_are_read(work):
    """Case 24: plugging, unplugging and pausing while the guest never stops reading from any disk there is."""
    options = ["-machine", "microvm,hotplug=on", "-smp", "2", "-object", "iothread,id=io0", *guest(work)]
    with Monitor(work, *options, "-append", "f", *every_device(work)) as monitor:
        qmp = monitor.qmp
        disks = {"b": {}, "c": {"iothread": "io0"}}
        paths = {disk: image(work, disk) for disk in disks}
        before = descriptors(monitor)
        reads = 0
        for turn in range(40):
            for disk, more in disks.items():
                add_disk(qmp, disk, paths[disk], **more)
            # Until it has read from both; every other time at once, while the guest is about to begin.
            deadline = time.monotonic() + PATIENCE
            while turn % 2:
                counts = qmp.execute("query-blockstats")
                counts = {one["device"]: one["stats"]["rd_operations"] for one in counts}
                reads += sum(counts[disk] for disk in disks)
                if all(counts[disk] for disk in disks):
                    break
                assert time.monotonic() < deadline, counts
            if turn % 4 == 3:
                qmp.execute("stop")
                qmp.execute("cont")
            for disk in disks:
                qmp.execute("device_del", {"id": disk})
                qmp.wait_event("DEVICE_DELETED")
        assert descriptors(monitor) == before
        # Its neighbour has been at work all the time.
        monitor.expect(r"\.\.\.")
        assert "FAIL" not in monitor.output and reads > 0
        qmp.execute("quit")
        assert monitor.wait() == 0, monitor.errors
