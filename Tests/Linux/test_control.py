"""QMP with a stock guest behind it: every command of the table, and what the guest's kernel makes clients hear of."""

import json
import os
import socket

from guest import PATIENCE, Guest, QMPError, copy_image
from harness import limit

MIB = 1 << 20

# Commands that fail on this machine whatever they are given, with arguments that are right.
NEED_MORE = {
    "netdev_replace": {"id": "x", "ifname": "tap9", "macnat": False},
    "netlink_set": {"id": "x", "up": True},
    "chardev-add": {"id": "x", "backend": {"type": "socket"}},
    "chardev-remove": {"id": "x"},
    "cameradev_add": {"id": "x", "driver": "v4l2"},
    "cameradev_del": {"id": "x"},
    "update_region": {"update_type": "add", "region_type": "io_region", "offset": 0, "size": 1, "priority": 1},
    "input_event": {"key": "keyboard", "value": "1,1"},
    "query-mem-gpa": {"gpa": "1000"},
    "query-vcpu-reg": {"addr": "1", "vcpu": 0},
    "set-viomem": {"id": "x", "requested-size": "1G"},
    "get-viomem": {"id": "x"},
    "migrate": {"uri": "file:/x"},
    "migrate-pause": None,
    "migrate-recover": {"uri": "x"},
    "block-commit": {"device": "disk0"},
    "blockdev-snapshot-internal-sync": {"device": "disk0", "name": "x"},
    "blockdev-snapshot-delete-internal-sync": {"device": "disk0", "name": "x"},
    "trace-set-state": {"name": "x", "enable": True},
    "query-vnc": None,
    "query-display-image": None,
    "query-ohui-status": None,
    "query-workloads": {},
    "switch-audio-record": {"authorized": "on"},
    "detect-silent-audio": {},
}


class Walk:
    """Runs commands and notes which; at the end all of the table must have been run."""

    def __init__(self, qmp):
        self.qmp = qmp
        self.done = set()

    def __call__(self, command, arguments=None):
        self.done.add(command)
        return self.qmp.execute(command, arguments)

    def refused(self, command, arguments, text, kind="GenericError"):
        try:
            self(command, arguments)
        except QMPError as error:
            assert error.kind == kind and text in str(error), (command, error)
        else:
            raise AssertionError(f"{command} {arguments} was not refused")


def send_with_descriptor(qmp, message, descriptor):
    socket.send_fds(qmp.socket, [json.dumps(message).encode()], [descriptor])
    reply = qmp.receive()
    assert "return" in reply, reply
    return reply["return"]


@limit(600)
def test_every_command(work):
    root = copy_image("root.ext4", work)
    for name in ("second", "plugged"):
        (work / name).write_bytes(bytes(8 * MIB))
    options = ["-name", "walk", "-uuid", "550e8400-e29b-41d4-a716-446655440000", "-object", "iothread,id=io0"]
    options += ["-device", "virtio-balloon-device,id=balloon0"]
    options += ["-object", "rng-random,id=rng,filename=/dev/urandom", "-device", "virtio-rng-device,rng=rng,id=rng0"]
    options += ["-chardev", f"socket,id=port,path={work}/port,server,nowait"]
    options += ["-device", "virtio-serial-device,id=bus", "-device", "virtserialport,chardev=port,id=port0,nr=1"]
    disks = [root, (f"file={work}/second,direct=off", "iothread=io0,serial=second")]
    with Guest(
        work, *options, append="root=/dev/vda rw apus.modules=pvpanic-mmio", machine="microvm,hotplug=on", cpus=2,
        disks=disks,
    ) as guest:
        walk = Walk(guest.qmp)
        names = {command["name"] for command in walk("query-commands")}
        guest.shell("true")
        for look in (conversation, machine, objects, memory, disk_and_counters, plugging, connections, nothing):
            look(walk, guest, work)
        for command, arguments in NEED_MORE.items():
            walk.refused(command, arguments, "this needs")
        life(walk, guest)
        walk.refused("no-such-command", None, "query-commands")
        walk.done -= {"no-such-command"}
        # The guest's kernel panics, and is asked to do no more than that.
        guest.shell("echo 0 >/proc/sys/kernel/panic; echo 8 >/proc/sys/kernel/printk")
        guest.type("echo c >/proc/sysrq-trigger\n")
        assert guest.qmp.wait_event("GUEST_PANICKED")["data"] == {"action": "run"}
        assert walk("query-status") == {"running": True, "singlestep": False, "status": "guest-panicked"}
        guest.expect("Kernel panic")
        walk("quit")
        assert guest.qmp.wait_event("SHUTDOWN")["data"]["reason"] == "host-qmp-quit"
        assert guest.wait() == 0
        # Both of these end the machine; test_life_cycle has them.
        walk.done |= {"system_powerdown", "system_reset"}
        assert walk.done == names, (names - walk.done, walk.done - names)


def conversation(walk, guest, work):
    assert walk("qmp_capabilities", {"enable": ["oob"]}) == {}
    assert walk("query-version")["package"].startswith("apus-")
    events = {event["name"] for event in walk("query-events")}
    assert {"GUEST_PANICKED", "BLOCK_IO_ERROR", "DEVICE_DELETED", "BALLOON_CHANGED", "SHUTDOWN"} <= events, events
    schema = {entry["name"]: entry for entry in walk("query-qmp-schema")}
    assert schema["BLOCK_IO_ERROR"]["meta-type"] == "event"
    assert schema["yank"]["allow-oob"] is True
    assert schema[schema["query-uuid"]["ret-type"]]["members"] == [{"name": "UUID", "type": "str"}]


def machine(walk, guest, work):
    assert walk("query-name") == {"name": "walk"}
    assert walk("query-uuid") == {"UUID": "550e8400-e29b-41d4-a716-446655440000"}
    assert walk("query-target") == {"arch": "x86_64"}
    assert walk("query-kvm") == {"enabled": True, "present": True}
    assert [entry["name"] for entry in walk("query-machines")] == ["microvm"]
    assert walk("query-memory-size-summary") == {"base-memory": 256 * MIB, "plugged-memory": 0}
    threads = [cpu["thread_id"] for cpu in walk("query-cpus")]
    assert threads == [cpu["thread-id"] for cpu in walk("query-cpus-fast")] and len(threads) == 2
    assert [cpu["vcpus-count"] for cpu in walk("query-hotpluggable-cpus")] == [1, 1]
    assert [thread["id"] for thread in walk("query-iothreads")] == ["io0"]
    assert "port" in [device["label"] for device in walk("query-chardev")]
    assert walk("query-mem") == {}
    assert "address space: 0xf0100200 slot 1: blk1" in guest.errors, guest.errors


def objects(walk, guest, work):
    devices = {entry["name"]: entry["type"] for entry in walk("qom-list", {"path": "/machine/peripheral"})}
    types = {entry["name"] for entry in walk("qom-list-types", {"implements": "device"})}
    for name, kind in (
        ("blk0", "virtio-blk-device"), ("blk1", "virtio-blk-device"), ("balloon0", "virtio-balloon-device"),
        ("rng0", "virtio-rng-device"), ("bus", "virtio-serial-device"),
    ):
        assert devices[name] == f"child<{kind}>" and kind in types, devices
        assert walk("qom-get", {"path": f"/machine/peripheral/{name}", "property": "type"}) == kind
        # What device_add may be given is what the type is said to have.
        properties = walk("device-list-properties", {"typename": kind})
        assert properties == walk("qom-list-properties", {"typename": kind}) and properties[0]["type"], properties
    drive = walk("query-command-line-options", {"option": "drive"})
    assert {"discard", "detect-zeroes"} <= {parameter["name"] for parameter in drive[0]["parameters"]}


def memory(walk, guest, work):
    assert walk("query-balloon")["actual"] == 256 * MIB
    assert walk("balloon", {"value": 192 * MIB, "unknown": 1}) == {}
    while guest.qmp.wait_event("BALLOON_CHANGED")["data"]["actual"] != 192 * MIB:
        pass
    assert walk("query-balloon")["actual"] == 192 * MIB
    assert walk("balloon", {"value": 256 * MIB}) == {}


def counters(walk, device):
    [entry] = walk("query-stats", {"target": "device", "devices": [device]})
    assert entry["qom-path"] == f"/machine/peripheral/{device}"
    return {counter["name"]: counter["value"] for counter in entry["stats"]}


def disk_and_counters(walk, guest, work):
    block = {entry["qdev"]: entry for entry in walk("query-block")}
    assert block["blk1"]["inserted"] in walk("query-named-block-nodes")
    assert walk("query-block-jobs") == []
    before = counters(walk, "blk1")
    guest.shell("dd if=/dev/zero of=/dev/vdb bs=4k count=16 oflag=direct conv=fsync 2>/dev/null")
    guest.shell("dd if=/dev/vdb of=/dev/null bs=64k count=4 iflag=direct 2>/dev/null")
    after = counters(walk, "blk1")
    grown = {name: after[name] - before[name] for name in after}
    assert grown["wr_operations"] == 16 and grown["wr_bytes"] == 16 * 4096 and grown["rd_bytes"] == 256 << 10, grown
    assert grown["rd_operations"] == 4 and grown["flush_operations"] >= 1 and grown["failed_wr_operations"] == 0, grown
    [stats] = [entry["stats"] for entry in walk("query-blockstats") if entry["qdev"] == "blk1"]
    assert stats["wr_operations"] >= 16 and set(stats) == set(after), stats
    [described] = walk("query-stats-schemas")
    assert set(after) <= {counter["name"] for counter in described["stats"]}
    # The image is cut off behind the guest's back.
    os.truncate(work / "second", 4 * MIB)
    guest.shell("! dd if=/dev/vdb of=/dev/null bs=64k skip=100 count=1 iflag=direct 2>/dev/null")
    data = guest.qmp.wait_event("BLOCK_IO_ERROR")["data"]
    assert (data["device"], data["operation"], data["action"]) == ("disk1", "read", "report"), data
    assert data["qom-path"] == "/machine/peripheral/blk1" and data["nospace"] is False, data
    assert counters(walk, "blk1")["failed_rd_operations"] >= 1
    # The guest sees each new size.
    for size in (6 * MIB, 8 * MIB):
        assert walk("block_resize", {"device": "disk1", "size": size}) == {}
        guest.shell(f"until [ $(cat /sys/class/block/vdb/size) = {size // 512} ]; do sleep 0.1; done")
    assert walk("block_set_io_throttle", {"id": "blk1", "iops": 1000}) == {}
    assert walk("query-block")[1]["inserted"]["iops"] == 1000


def plugging(walk, guest, work):
    assert walk("object-add", {"qom-type": "iothread", "id": "io1"}) == {}
    file = {"driver": "file", "filename": str(work / "plugged"), "aio": "native"}
    assert walk("blockdev-add", {"driver": "raw", "node-name": "new", "file": file, "read-only": False}) == {}
    assert walk("device_add", {"id": "new", "driver": "virtio-blk-mmio", "drive": "new", "iothread": "io1"}) == {}
    guest.shell(f"until [ $(cat /sys/class/block/vdc/size) = {8 * MIB // 512} ]; do sleep 0.1; done")
    guest.shell("dd if=/dev/vdc of=/dev/null bs=4k count=1 iflag=direct 2>/dev/null")
    assert counters(walk, "new")["rd_operations"] >= 1
    assert "new" in {entry["name"] for entry in walk("qom-list", {"path": "/machine/peripheral"})}
    walk.refused("object-del", {"id": "io1"}, "new")
    assert walk("device_del", {"id": "new"}) == {}
    assert guest.qmp.wait_event("DEVICE_DELETED")["data"]["device"] == "new"
    assert walk("blockdev-del", {"node-name": "new"}) == {}
    assert walk("object-del", {"id": "io1"}) == {}
    walk.refused("device_del", {"id": "new"}, "not found", "DeviceNotFound")
    read, write = os.pipe()
    send_with_descriptor(guest.qmp, {"execute": "getfd", "arguments": {"fdname": "pipe"}}, write)
    os.close(write)
    walk.done.add("getfd")
    walk.refused("getfd", {"fdname": "none"}, "descriptor")
    assert walk("closefd", {"fdname": "pipe"}) == {}
    # The machine's end of it was the last.
    assert os.read(read, 1) == b""
    os.close(read)
    # An image that is open already, which the guest reads.
    with open(work / "plugged", "r+b") as file:
        file.write(b"handed over")
        file.flush()
        kept = send_with_descriptor(guest.qmp, {"execute": "add-fd", "arguments": {"opaque": "o"}}, file.fileno())
    walk.done.add("add-fd")
    assert walk("query-fdsets") == [{"fdset-id": 0, "fds": [{"fd": kept["fd"], "opaque": "o"}]}]
    walk.refused("remove-fd", {"fdset-id": 1}, "no set 1")
    file = {"driver": "file", "filename": "/dev/fdset/0"}
    assert walk("blockdev-add", {"driver": "raw", "node-name": "given", "file": file}) == {}
    assert walk("remove-fd", {"fdset-id": 0, "fd": kept["fd"]}) == {}
    assert walk("device_add", {"id": "given", "driver": "virtio-blk-mmio", "drive": "given"}) == {}
    guest.shell(f"until [ $(cat /sys/class/block/vdc/size) = {8 * MIB // 512} ]; do sleep 0.1; done")
    guest.shell("dd if=/dev/vdc bs=512 count=1 iflag=direct 2>/dev/null | grep -q '^handed over'")
    assert walk("device_del", {"id": "given"}) == {}
    walk.refused("netdev_add", {"id": "net9", "type": "tap", "ifname": "lo"}, "is not a tap")
    assert walk("netdev_add", {"id": "net9", "type": "tap", "ifname": "apwalk"}) == {}
    assert walk("device_add", {"id": "net9", "driver": "virtio-net-mmio"}) == {}
    assert walk("set_link", {"name": "net9", "up": False}) == {}
    walk.refused("netdev_del", {"id": "net9"}, "in use")
    assert walk("device_del", {"id": "net9"}) == {} and walk("netdev_del", {"id": "net9"}) == {}
    walk.refused("netdev_del", {"id": "net9"}, "net9")
    walk.refused("set_link", {"name": "net9", "up": False}, "net9", "DeviceNotFound")


def connections(walk, guest, work):
    assert {"type": "chardev", "id": "port"} in walk("query-yank")
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(PATIENCE)
        line.connect(f"{work}/port")
        assert walk("yank", {"instances": [{"type": "chardev", "id": "port"}]}) == {}
        assert line.recv(1) == b""


def nothing(walk, guest, work):
    for command in ("query-tpm-models", "query-tpm-types", "query-migrate-capabilities", "query-gic-capabilities"):
        assert walk(command) == [], command
    assert walk("query-sev-capabilities") == {}
    assert walk("query-migrate") == {"status": "setup"}
    assert walk("migrate_cancel") == {}
    assert walk("trace-get-state", {"name": "*"}) == []
    assert "snapshot" in walk("human-monitor-command", {"command-line": "info snapshots"})
    walk.refused("human-monitor-command", {"command-line": "info status"}, "info status")


def life(walk, guest):
    # The second of two equal commands succeeds, and nothing has happened.
    for command, event, running in (("stop", "STOP", False), ("stop", None, False), ("cont", "RESUME", True)):
        assert walk(command) == {}
        if event:
            guest.qmp.wait_event(event)
        assert walk("query-status")["running"] == running
    guest.shell("true")
