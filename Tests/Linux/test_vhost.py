"""The devices whose packets the host's kernel moves."""

import contextlib
import os
import socket
import subprocess
import time

import vsock_cases
from guest import IMAGES, Guest, initramfs_with
from harness import Skip, limit
from test_network import TOOLS

from monitor import Monitor

CID = 77


class KernelSockets:
    """The host's side of a guest that the kernel serves."""

    def __init__(self, cid):
        self.cid = cid

    def connect(self, port):
        stream = socket.socket(socket.AF_VSOCK)
        stream.connect((self.cid, port))
        return stream

    def listen(self, port):
        listener = socket.socket(socket.AF_VSOCK)
        listener.bind((socket.VMADDR_CID_ANY, port))
        listener.listen(256)
        return listener


def refusal(work, *options, **more):
    """What apus says when it does not start."""
    boot = ["-machine", "microvm", "-kernel", IMAGES / "vmlinuz", "-initrd", IMAGES / "initramfs"]
    with Monitor(work, *boot, *options, serial=None, **more) as monitor:
        assert monitor.wait() == 1
        return monitor.errors


@limit(600)
def test_vsock(work):
    """Connections both ways, many at once, and much data, while the machine pauses; also over a new driver."""
    if not os.path.exists("/dev/vhost-vsock"):
        raise Skip("the kernel has no vhost-vsock")
    host = KernelSockets(CID)
    device = f"vhost-vsock-device,id=vsock0,guest-cid={CID}"
    inherited = os.open("/dev/vhost-vsock", os.O_RDWR)
    options = ["-device", f"{device},vhostfd={inherited}"]
    initrd = initramfs_with(work, "vsock")
    with Guest(work, *options, initrd=initrd, cpus=2, pass_fds=[inherited]) as guest:
        os.close(inherited)
        vsock_cases.host_calls_guest(guest, host)
        vsock_cases.guest_calls_host(guest, host)
        vsock_cases.bulk_with_pauses(guest, host)
        # The address is taken.
        told = refusal(work, "-device", device)
        assert f"guest-cid={CID}" in told and "another machine" in told and "socket=PATH" in told, told
        # A descriptor of something else is no device.
        with open("/dev/null") as null:
            told = refusal(work, "-device", f"{device},vhostfd={null.fileno()}", pass_fds=[null.fileno()])
            assert f"vhostfd={null.fileno()}" in told and "/dev/vhost-vsock" in told, told
        # The driver goes and comes again.
        guest.shell("until rmmod vmw_vsock_virtio_transport; do sleep 0.2; done; modprobe vmw_vsock_virtio_transport")
        vsock_cases.guest_calls_host(guest, host)
        guest.type("exit\n")
        assert guest.wait() == 0
        assert "WARN" not in guest.errors and "ERROR" not in guest.errors, guest.errors


HOST, GUEST = "192.168.79.1", "192.168.79.2"
TAP = "aptapv"
AMOUNT = 16 << 20


def ip(*words):
    subprocess.run(["ip", *words], check=True)


@contextlib.contextmanager
def tap(*words):
    """A tap that the host is on."""
    try:
        ip("tuntap", "add", "dev", TAP, "mode", "tap", "vnet_hdr", *words)
        ip("addr", "add", f"{HOST}/24", "dev", TAP)
        ip("link", "set", TAP, "up")
        yield
    finally:
        subprocess.run(["ip", "link", "del", TAP], stderr=subprocess.DEVNULL)


def kernel_threads(process):
    """The threads that the kernel has for the guest's data."""
    names = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError), open(f"/proc/{pid}/comm") as file:
            names.append(file.read().strip())
    return names.count(f"vhost-{process.pid}")


def transfer(guest, meanwhile):
    """Much data each way at once, through one connection, arrives as it was sent; `meanwhile` is called until then."""
    listener = socket.create_server((HOST, 5001))
    listener.settimeout(120)
    guest.shell(f"head -c {AMOUNT} /dev/urandom >/tmp/data")
    guest.shell(f"(nc {HOST} 5001 </tmp/data | sha256sum >/tmp/sum) & true")
    with listener, listener.accept()[0] as stream:
        stream.settimeout(120)
        sent, count, heard = vsock_cases.both_ways(stream, AMOUNT, meanwhile)
    guest.shell("until [ -s /tmp/sum ]; do sleep 0.02; done")
    assert guest.shell("cat /tmp/sum").split()[0] == sent, "the guest received something else"
    wanted = guest.shell("sha256sum </tmp/data").split()[0]
    assert (count, heard) == (AMOUNT, wanted), "the host received something else"
    guest.shell("rm /tmp/data /tmp/sum")


def streams_with_offloads(guest):
    """TCP both ways with segmentation by the card, and without it, and without checksums either."""
    guest.shell(TOOLS)
    server = subprocess.Popen(["iperf3", "-s", "-B", HOST], stdout=subprocess.DEVNULL)
    try:
        for words in ("tso on", "tso off", "tx off rx off"):
            guest.shell(f"ethtool -K eth0 {words}")
            for way in ("", "-R"):
                told = guest.shell(f"iperf3 -c {HOST} -n 2M {way} 2>&1", timeout=300)
                assert "iperf Done" in told, told
        guest.shell("ethtool -K eth0 tx on rx on tso on")
    finally:
        server.kill()
        server.wait()


def ping(guest, size=56):
    guest.shell(f"ping -c 2 -W 5 -s {size} {HOST} >/dev/null")


@limit(600)
def test_network(work):
    """Data over two pairs of queues that the kernel serves, while the machine pauses, the cable is pulled, the driver
    goes and comes."""
    if not os.path.exists("/dev/vhost-net") or os.geteuid() != 0:
        raise Skip("the kernel has no vhost-net, or making interfaces is not allowed")
    card = f"tap,id=net0,ifname={TAP},vhost=on,queues=2"
    with tap("multi_queue"):
        # Descriptors that are none, and too few.
        with open("/dev/null") as null:
            number = null.fileno()
            wrong = f"tap,id=net0,ifname={TAP},vhost=on,vhostfd={number}"
            device = ["-device", "virtio-net-device,netdev=net0,id=nic0,mq=on"]
            told = refusal(work, "-netdev", wrong, *device, pass_fds=[number])
            assert f"vhostfd={number}" in told and "/dev/vhost-net" in told, told
            told = refusal(work, "-netdev", f"{wrong},queues=2", *device, pass_fds=[number])
            assert "as many descriptors" in told, told
        device = "virtio-net-device,netdev=net0,id=nic0,mq=on,mac=52:54:00:12:34:77"
        tools = f"file={IMAGES / 'tools.ext4'},readonly=on"
        with Guest(work, "-netdev", card, "-device", device, cpus=2, disks=[tools]) as guest:
            up = f"ifconfig eth0 {GUEST} up"
            guest.shell(up)
            assert kernel_threads(guest.process) == 2
            assert guest.shell("ls -d /sys/class/net/eth0/queues/rx-* | wc -l").strip() == "2"
            for size in (0, 56, 1472, 20000):
                ping(guest, size)
            streams_with_offloads(guest)
            pauses = 0

            def pause():
                nonlocal pauses
                guest.qmp.execute("stop")
                time.sleep(0.05)
                guest.qmp.execute("cont")
                pauses += 1

            transfer(guest, pause)
            assert pauses > 1, pauses
            guest.qmp.execute("set_link", {"name": "nic0", "up": False})
            guest.shell("until [ $(cat /sys/class/net/eth0/carrier) = 0 ]; do sleep 0.05; done")
            guest.shell(f"! ping -c 1 -W 1 {HOST} >/dev/null")
            guest.qmp.execute("set_link", {"name": "nic0", "up": True})
            guest.shell("until [ $(cat /sys/class/net/eth0/carrier) = 1 ]; do sleep 0.05; done")
            ping(guest)
            guest.shell(f"rmmod virtio_net && modprobe virtio_net && {up}")
            ping(guest, 20000)
            guest.type("exit\n")
            assert guest.wait() == 0
            assert "WARN" not in guest.errors and "ERROR" not in guest.errors, guest.errors
        assert kernel_threads(guest.process) == 0
