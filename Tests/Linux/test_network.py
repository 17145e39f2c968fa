"""Network cards on taps of the host, with a stock guest's driver."""

import contextlib
import fcntl
import hashlib
import os
import re
import socket
import struct
import subprocess
import threading
import time

from guest import IMAGES, Guest
from harness import Skip, limit

from monitor import Monitor

TUNSETIFF, IFF_TAP, IFF_NO_PI, IFF_VNET_HDR, IFF_MULTI_QUEUE = 0x400454CA, 0x0002, 0x1000, 0x4000, 0x0100
HOST, GUEST = "192.168.77.1", "192.168.77.2"
SECOND_HOST, SECOND_GUEST = "192.168.78.1", "192.168.78.2"
TOOLS = "mount -t ext4 -o ro /dev/vda /mnt; ln -s /mnt/lib /lib64; export PATH=$PATH:/mnt/bin LD_LIBRARY_PATH=/mnt/lib"


def ip(*words):
    subprocess.run(["ip", *words], check=True)


@contextlib.contextmanager
def bridge(*taps):
    """A bridge with taps, each a name with more words for `ip`; the host is on two networks there."""
    if os.geteuid() != 0:
        raise Skip("making interfaces needs root")
    try:
        ip("link", "add", "apbr0", "type", "bridge")
        for name, *words in taps:
            ip("tuntap", "add", "dev", name, "mode", "tap", "vnet_hdr", *words)
            ip("link", "set", name, "mtu", "9000", "master", "apbr0", "up")
        ip("addr", "add", f"{HOST}/24", "dev", "apbr0")
        ip("addr", "add", f"{SECOND_HOST}/24", "dev", "apbr0")
        ip("link", "set", "apbr0", "up")
        yield
    finally:
        for name in ["apbr0", *(name for name, *_ in taps)]:
            subprocess.run(["ip", "link", "del", name], stderr=subprocess.DEVNULL)


def open_tap(name, flags=IFF_TAP | IFF_NO_PI | IFF_VNET_HDR):
    tap = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(tap, TUNSETIFF, struct.pack("16sH22x", name.encode(), flags))
    return tap


def counter(tap, name):
    """Of the tap as the host sees it: what it receives is what the guest sends."""
    with open(f"/sys/class/net/{tap}/statistics/{name}") as file:
        return int(file.read())


class Server:
    """Takes one connection; sends `data`, or collects what comes until the other end is done."""

    def __init__(self, port, data=None):
        self.listener = socket.create_server((HOST, port))
        self.listener.settimeout(300)
        self.data, self.hash, self.count = data, hashlib.sha256(), 0
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        with self.listener, self.listener.accept()[0] as stream:
            if self.data is not None:
                stream.sendall(self.data)
                stream.shutdown(socket.SHUT_WR)
            while piece := stream.recv(1 << 20):
                self.hash.update(piece)
                self.count += len(piece)

    def digest(self):
        """What has come: how many bytes, and their SHA-256."""
        self.thread.join(300)
        assert not self.thread.is_alive(), "the connection did not end"
        return self.count, self.hash.hexdigest()


def stream_both_ways(guest, port):
    """2 MiB each way arrive as they were."""
    with open(IMAGES / "tools.ext4", "rb") as image:
        data = image.read(2 << 20)
    server = Server(port)
    guest.shell(f"dd if=/dev/vda bs=1M count=2 2>/dev/null | nc {HOST} {port}", timeout=300)
    assert server.digest() == (len(data), hashlib.sha256(data).hexdigest()), "what the guest sent has changed"
    data = os.urandom(2 << 20)
    server = Server(port + 1, data)
    told = guest.shell(f"nc {HOST} {port + 1} </dev/null >/tmp/got && sha256sum </tmp/got && wc -c </tmp/got", timeout=300)
    assert told.split()[::2] == [hashlib.sha256(data).hexdigest(), str(len(data))], f"the guest received {told}"
    guest.shell("rm /tmp/got")
    server.digest()


def iperf(guest, *words):
    """A transfer each way against the host's server, which must say that it has done all of it."""
    for way in ("", "-R"):
        told = guest.shell(f"iperf3 -c {HOST} -n 2M {way} {' '.join(words)} 2>&1", timeout=300)
        assert "iperf Done" in told, told


def features(guest, card="eth0"):
    """What the guest's driver has the card do, by ethtool's names, and whether it can be changed."""
    told = guest.shell(f"ethtool -k {card}")
    return {name: (state, not fixed) for name, state, fixed in re.findall(r"^\s*([\w-]+): (on|off)( \[fixed\])?", told, re.M)}


@limit(900)
def test_network(work):
    """Two cards on a bridge: one handed over and on an iothread, one by its name, with two pairs of queues and a thread
    for each direction."""
    with bridge(["aptap0"], ["aptap1", "multi_queue"]):
        tap = open_tap("aptap0")
        threads = ["io0", "receives", "sends"]
        options = [word for name in threads for word in ("-object", f"iothread,id={name}")]
        options += ["-netdev", f"tap,id=net0,fd={tap}"]
        options += ["-device", "virtio-net-device,netdev=net0,id=nic0,iothread=io0"]
        options += ["-netdev", "tap,id=net1,ifname=aptap1,queues=2"]
        card = "virtio-net-device,netdev=net1,id=nic1,mq=on,mac=52:54:00:12:34:56"
        options += ["-device", f"{card},rx-iothread=receives,tx-iothread=sends"]
        disks = [f"file={IMAGES / 'tools.ext4'},readonly=on"]
        with Guest(work, *options, cpus=2, disks=disks, pass_fds=[tap]) as guest:
            os.close(tap)
            guest.shell(TOOLS)
            addresses = guest.shell("cat /sys/class/net/eth0/address /sys/class/net/eth1/address").split()
            assert int(addresses[0][:2], 16) & 3 == 2 and addresses[1] == "52:54:00:12:34:56", addresses
            # The tap by its name tells its MTU; the one handed over may be in another network.
            assert guest.shell("cat /sys/class/net/eth0/mtu /sys/class/net/eth1/mtu").split() == ["1500", "9000"]
            guest.shell(f"ip addr add {GUEST}/24 dev eth0; ip addr add {SECOND_GUEST}/24 dev eth1")
            guest.shell("ip link set eth0 up; ip link set eth1 up; cat /sys/class/net/eth0/carrier")
            for host, card in ((HOST, GUEST), (SECOND_HOST, SECOND_GUEST)):
                guest.shell(f"ping -c 3 -A -I {card} {host}", timeout=60)
                subprocess.run(["busybox", "ping", "-c", "3", "-A", card], check=True, stdout=subprocess.DEVNULL)
            assert "combined:\t2" in guest.shell("ethtool -l eth1").lower().replace("combined:\t\t", "combined:\t")
            stream_both_ways(guest, 5100)
            jumbo(guest)
            server = subprocess.Popen(["iperf3", "-s", "-B", HOST], stdout=subprocess.DEVNULL)
            try:
                offloads(guest)
                many_streams(guest)
                paused(guest)
            finally:
                server.kill()
                server.wait()
            for name in threads:
                assert (worked := thread_named(guest.process.pid, name)), f"there is no thread {name}"
                assert worked > 0.002, f"the card's thread {name} has done nothing: {worked} s"
            told = guest.shell("dmesg | grep -iE 'eth[01]|virtio_net|hw csum|bad gso' || true")
            assert not re.search(r"failure|bad|timed out|unexpected", told), told
            guest.type("exit\n")
            assert guest.wait() == 0
        assert "ERROR" not in guest.errors and "WARN" not in guest.errors, guest.errors


def jumbo(guest):
    """Frames of 9000 bytes, each way."""
    ip("link", "set", "apbr0", "mtu", "9000")
    guest.shell("ip link set eth0 mtu 9000")
    before = counter("aptap0", "tx_packets"), counter("aptap0", "rx_packets")
    guest.shell(f"ping -c 3 -A -s 8900 {HOST}", timeout=60)
    subprocess.run(["busybox", "ping", "-c", "3", "-A", "-s", "8900", GUEST], check=True, stdout=subprocess.DEVNULL)
    sent, received = counter("aptap0", "tx_packets") - before[0], counter("aptap0", "rx_packets") - before[1]
    # Three requests and three answers each way; in packets of 1500 bytes these would be 42.
    assert sent < 30 and received < 30, (sent, received)
    stream_both_ways(guest, 5200)
    guest.shell("ip link set eth0 mtu 1500")
    ip("link", "set", "apbr0", "mtu", "1500")


def offloads(guest):
    """TCP both ways with everything that the card does by itself on, and with each of it off."""
    found = features(guest)
    for name in ("tx-checksumming", "rx-checksumming", "tx-tcp-segmentation", "tx-tcp6-segmentation", "rx-gro-hw"):
        assert found[name][0] == "on", (name, found[name])
    iperf(guest)
    # As ethtool takes the name, and as it shows it.
    for name, shown in (
        ("tx", "tx-checksumming"), ("tso", "tcp-segmentation-offload"), ("gso", "generic-segmentation-offload"),
        ("sg", "scatter-gather"), ("gro", "generic-receive-offload"), ("rx-gro-hw", "rx-gro-hw"),
    ):
        guest.shell(f"ethtool -K eth0 {name} off")
        assert features(guest)[shown][0] == "off", name
        sent = counter("aptap0", "rx_packets")
        iperf(guest)
        sent = counter("aptap0", "rx_packets") - sent
        # Without them the guest cuts by itself what is otherwise sent in pieces of up to 64 KiB.
        if name in ("tx", "sg"):
            assert sent > 1000, f"with {name} off the guest sends {sent} frames only"
        guest.shell(f"ethtool -K eth0 {name} on")
        assert features(guest)[shown][0] == "on", name


def many_streams(guest):
    """Several streams over the card with two pairs of queues, then over one pair of it."""
    before = counter("aptap1", "rx_bytes")
    guest.shell("ip addr flush dev eth0; ip addr flush dev eth1")
    guest.shell(f"ip addr add {GUEST}/24 dev eth1")
    iperf(guest, "-P", "4")
    guest.shell("ethtool -L eth1 combined 1")
    iperf(guest, "-P", "2")
    guest.shell("ethtool -L eth1 combined 2")
    iperf(guest, "-P", "4")
    assert counter("aptap1", "rx_bytes") - before > 2 << 20
    guest.shell("ip addr flush dev eth1")
    guest.shell(f"ip addr add {GUEST}/24 dev eth0")


def paused(guest):
    """A stream each way is stopped in the middle, and goes on where it was."""
    for way in ("", "-R"):
        direction = "rx_packets" if not way else "tx_packets"
        guest.type(f"iperf3 -c {HOST} -t 6 {way} >/tmp/log 2>&1; echo ALL''-DONE $?\n")
        guest.listen(2)
        for _ in range(2):
            guest.qmp.execute("stop")
            # What the host sends goes into the tap's own queue, and is no packet that the card has taken.
            time.sleep(0.2)
            before = counter("aptap0", "rx_packets")
            time.sleep(0.5)
            assert counter("aptap0", "rx_packets") == before, direction
            guest.qmp.execute("cont")
            guest.listen(0.5)
        found = guest.expect(r"^ALL-DONE (\d+)\n", 120)
        assert found.group(1) == "0", guest.shell("cat /tmp/log")


def thread_named(process, name):
    """Seconds of CPU time of a thread; None if there is none of that name."""
    for thread in os.listdir(f"/proc/{process}/task"):
        with open(f"/proc/{process}/task/{thread}/comm") as file:
            if file.read().strip() != name:
                continue
        with open(f"/proc/{process}/task/{thread}/schedstat") as file:
            return int(file.read().split()[0]) / 1e9
    return None


def refusal(work, *options, **more):
    """What apus says when it does not start, without its name."""
    boot = ["-machine", "microvm", "-kernel", IMAGES / "vmlinuz", "-initrd", IMAGES / "initramfs"]
    with Monitor(work, *boot, *options, serial=None, **more) as monitor:
        assert monitor.wait() == 1
        return monitor.errors.removeprefix("apus: ").rstrip("\n")


def test_wrong_taps(work):
    """A tap that a NIC cannot use ends the start with one line that says why and what to do."""
    card = ["-device", "virtio-net-device,netdev=n"]
    place = "-netdev id=n: "
    with bridge(["aptap0"]):
        held = open_tap("aptap0")
        cases = [
            ("ifname=aptap0", "ifname=aptap0 is in use by another process; end that process, or use another interface"),
            ("ifname=apbr0", "ifname=apbr0 is not a tap; name a tap, or an interface that does not exist yet"),
            ("ifname=lo", "ifname=lo is not a tap; name a tap, or an interface that does not exist yet"),
            (
                "ifname=aptap0,queues=2",
                "ifname=aptap0 is not a tap with several queues; create it with multi_queue, or use queues=1",
            ),
            ("fd=77", "fd=77 is not open; have the parent process pass it"),
            (f"fd={held},queues=2", "queues=2 requires as many descriptors, not 1; pass one for each queue"),
        ]
        for backend, expected in cases:
            mq = [card[0], card[1] + ",mq=on"]
            told = refusal(work, "-netdev", f"tap,id=n,{backend}", *mq, pass_fds=[held])
            assert told == place + expected, told
        with open("/dev/null", "rb") as null:
            told = refusal(work, "-netdev", f"tap,id=n,fd={null.fileno()}", *card, pass_fds=[null.fileno()])
            number = null.fileno()
        assert told == place + f"fd={number} is not a tap; pass a descriptor of /dev/net/tun with an interface", told
        os.close(held)
    # What is wrong with the card itself.
    for keys, expected in [
        ("mac=01:00:00:00:00:01", "mac=01:00:00:00:00:01 is not a unicast address; use an even first octet"),
        ("mac=00:00:00:00:00:00", "mac=00:00:00:00:00:00 is not a unicast address"),
    ]:
        told = refusal(work, "-netdev", "tap,id=n,ifname=aptap9", card[0], f"{card[1]},{keys}")
        assert told.startswith(f"-device virtio-net-device,netdev=n: {expected}"), told
    twins = ["-netdev", "tap,id=n,ifname=aptap9", "-netdev", "tap,id=m,ifname=aptap8"]
    for netdev in "nm":
        twins += ["-device", f"virtio-net-device,netdev={netdev},id={netdev},mac=02:00:00:00:00:01"]
    assert "is also the address of 'n'; use another one" in refusal(work, *twins)
    assert not os.path.exists("/sys/class/net/aptap9"), "an interface was left behind"
