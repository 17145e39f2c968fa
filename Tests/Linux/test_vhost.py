"""The devices whose packets the host's kernel moves."""

import contextlib
import json
import os
import socket
import subprocess

import vsock_cases
from guest import IMAGES, Guest, Pauses, initramfs_with
from harness import Skip, limit
from test_network import IFF_MULTI_QUEUE, IFF_NO_PI, IFF_TAP, IFF_VNET_HDR, TOOLS, open_tap

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
OTHER_HOST, OTHER_GUEST = "192.168.80.1", "192.168.80.2"
OTHER_TAP = "aptapw"
AMOUNT = 4 << 20


def ip(*words):
    subprocess.run(["ip", *words], check=True)


def need_network():
    if not os.path.exists("/dev/vhost-net") or os.geteuid() != 0:
        raise Skip("the kernel has no vhost-net, or making interfaces is not allowed")


@contextlib.contextmanager
def tap(*words, name=TAP, address=HOST):
    """A tap that the host is on."""
    try:
        ip("tuntap", "add", "dev", name, "mode", "tap", "vnet_hdr", *words)
        ip("addr", "add", f"{address}/24", "dev", name)
        ip("link", "set", name, "up")
        yield
    finally:
        subprocess.run(["ip", "link", "del", name], stderr=subprocess.DEVNULL)


def kernel_threads(process):
    """The threads that the kernel has for the guest's data."""
    names = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError), open(f"/proc/{pid}/comm") as file:
            names.append(file.read().strip())
    return names.count(f"vhost-{process.pid}")


def transfer(guest, pauses=None, host=HOST, amount=AMOUNT):
    """Much data each way at once, through one connection, arrives as it was sent, with `pauses` until then."""
    listener = socket.create_server((host, 5001))
    listener.settimeout(120)
    guest.shell(f"head -c {amount} /dev/urandom >/tmp/data")
    guest.shell(f"(nc {host} 5001 </tmp/data | sha256sum >/tmp/sum) & true")
    with listener, listener.accept()[0] as stream:
        stream.settimeout(120)
        sent, count, heard = vsock_cases.both_ways(stream, amount, pauses)
    guest.shell("until [ -s /tmp/sum ]; do sleep 0.02; done")
    assert guest.shell("cat /tmp/sum").split()[0] == sent, "the guest received something else"
    wanted = guest.shell("sha256sum </tmp/data").split()[0]
    assert (count, heard) == (amount, wanted), "the host received something else"
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


def ping(guest, size=56, host=HOST):
    guest.shell(f"ping -c 2 -W 5 -s {size} {host} >/dev/null")


def finish(guest):
    guest.type("exit\n")
    assert guest.wait() == 0
    assert "WARN" not in guest.errors and "ERROR" not in guest.errors, guest.errors


@limit(600)
def test_network(work):
    """Data over two pairs of queues that the kernel serves, while the machine pauses, the cable is pulled, the driver
    goes and comes."""
    need_network()
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
            pauses = Pauses(guest)
            transfer(guest, pauses)
            assert pauses.count > 1, pauses.count
            guest.qmp.execute("set_link", {"name": "nic0", "up": False})
            guest.shell("until [ $(cat /sys/class/net/eth0/carrier) = 0 ]; do sleep 0.05; done")
            guest.shell(f"! ping -c 1 -W 1 {HOST} >/dev/null")
            guest.qmp.execute("set_link", {"name": "nic0", "up": True})
            guest.shell("until [ $(cat /sys/class/net/eth0/carrier) = 1 ]; do sleep 0.05; done")
            ping(guest)
            guest.shell(f"rmmod virtio_net && modprobe virtio_net && {up}")
            ping(guest, 20000)
            finish(guest)
        assert kernel_threads(guest.process) == 0


def open_vhost():
    return os.open("/dev/vhost-net", os.O_RDWR)


@limit(600)
def test_network_handed_over(work):
    """A card whose vhost-net alone is inherited open, and one whose tap is too, with two pairs of queues."""
    need_network()
    with tap(), tap("multi_queue", name=OTHER_TAP, address=OTHER_HOST):
        flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | IFF_MULTI_QUEUE
        taps = [open_tap(OTHER_TAP, flags) for _ in range(2)]
        vhosts = [open_vhost() for _ in range(3)]
        pair = f"fds={taps[0]}:{taps[1]},vhostfds={vhosts[1]}:{vhosts[2]}"
        options = ["-netdev", f"tap,id=net0,ifname={TAP},vhost=on,vhostfd={vhosts[0]}"]
        options += ["-device", "virtio-net-device,netdev=net0,id=nic0"]
        options += ["-netdev", f"tap,id=net1,vhost=on,queues=2,{pair}"]
        options += ["-device", "virtio-net-device,netdev=net1,id=nic1,mq=on"]
        with Guest(work, *options, cpus=2, pass_fds=taps + vhosts) as guest:
            for descriptor in taps + vhosts[1:]:
                os.close(descriptor)
            guest.shell(f"ifconfig eth0 {GUEST} up; ifconfig eth1 {OTHER_GUEST} up")
            assert kernel_threads(guest.process) == 3
            assert vhost_numbers(guest) == set(vhosts)
            assert guest.shell("ls -d /sys/class/net/eth1/queues/rx-* | wc -l").strip() == "2"
            for host in HOST, OTHER_HOST:
                ping(guest, 20000, host)
                transfer(guest, host=host, amount=1 << 20)
            # What serves one card cannot serve another, and what serves sockets no card.
            with open("/dev/vhost-vsock", "r+b", buffering=0) as sockets:
                for number, problem in (
                    (vhosts[0], "belongs to another device or process"),
                    (sockets.fileno(), "is no open descriptor of /dev/vhost-net"),
                ):
                    third = f"tap,id=net2,ifname=aptapx,vhost=on,vhostfd={number}"
                    card = ["-device", "virtio-net-device,netdev=net2"]
                    told = refusal(work, "-netdev", third, *card, pass_fds=[number])
                    assert f"vhostfd={number} {problem}" in told, told
            os.close(vhosts[0])
            finish(guest)
        assert kernel_threads(guest.process) == 0


def hand_over(guest, name, descriptor):
    """Gives a descriptor away by `getfd`; its number in the machine's process."""
    before = set(descriptors(guest))
    command = {"execute": "getfd", "arguments": {"fdname": name}}
    socket.send_fds(guest.qmp.socket, [json.dumps(command).encode() + b"\n"], [descriptor])
    assert guest.qmp.receive() == {"return": {}}
    os.close(descriptor)
    (number,) = set(descriptors(guest)) - before
    return number


def descriptors(guest):
    """What the machine's process has open, by number."""
    folder = f"/proc/{guest.process.pid}/fd"
    return {int(number): os.readlink(f"{folder}/{number}") for number in os.listdir(folder)}


@limit(600)
def test_hot_plug(work):
    """Cards that the kernel serves come and go under a driver that stays: of a tap and a vhost-net that are opened by
    name, or handed over and named, or handed over and given by number."""
    need_network()
    with tap():
        options = ["-object", "iothread,id=io0"]
        with Guest(work, *options, machine="microvm,hotplug=on", cpus=2) as guest:
            assert guest.qmp.execute("query-status")["running"]
            guest.shell("ifconfig eth0 up; ifconfig eth1 up")
            before = sorted(descriptors(guest).values())
            for way, slot, more in (
                ("opened", 0, {}), ("named", 1, {"iothread": "io0"}), ("numbered", 0, {}), ("opened", 0, {}),
            ):  # fmt: skip
                given = plug(guest, way, {"addr": str(slot), **more})
                card = f"eth{slot}"
                wait_for_carrier(guest, card, 1)
                guest.shell(f"ip addr add {GUEST}/24 dev {card}")
                assert kernel_threads(guest.process) == 1 and given <= vhost_numbers(guest)
                assert len(vhost_numbers(guest)) == 1
                for size in 56, 20000:
                    ping(guest, size)
                transfer(guest, Pauses(guest), amount=1 << 20)
                guest.qmp.execute("device_del", {"id": "net0"})
                assert guest.qmp.wait_event("DEVICE_DELETED")["data"]["device"] == "net0"
                after = sorted(descriptors(guest).values())
                assert kernel_threads(guest.process) == 0 and after == before, (before, after)
                wait_for_carrier(guest, card, 0)
                guest.shell(f"ip addr flush dev {card}")
            finish(guest)


def vhost_numbers(guest):
    return {number for number, name in descriptors(guest).items() if name == "/dev/vhost-net"}


def plug(guest, way, more):
    """Plugs in a card; the numbers of the descriptors of vhost-net that were given for it."""
    if way == "opened":
        known, backend = {}, {"ifname": TAP}
    else:
        given = {"fd": open_tap(TAP), "vhostfd": open_vhost()}
        known = {key: hand_over(guest, f"my-{key}", descriptor) for key, descriptor in given.items()}
        backend = {key: f"my-{key}" if way == "named" else str(number) for key, number in known.items()}
    guest.qmp.execute("netdev_add", {"id": "net0", "vhost": True, **backend})
    guest.qmp.execute("device_add", {"id": "net0", "driver": "virtio-net-mmio", "netdev": "net0", **more})
    return {number for key, number in known.items() if key == "vhostfd"}


def wait_for_carrier(guest, card, carrier):
    guest.shell(f"until [ $(cat /sys/class/net/{card}/carrier) = {carrier} ]; do sleep 0.05; done")
