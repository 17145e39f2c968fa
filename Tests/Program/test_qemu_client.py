"""QMP by a client that nobody here wrote: QEMU's own, the package `qemu.qmp`."""

import asyncio
import contextlib

from harness import Skip
from tiny import POWER_OFF, SPIN, Tiny

try:
    from qemu.qmp import ExecuteError, QMPClient
except ImportError:
    QMPClient = None

COMMANDS = """
    qmp_capabilities query-status stop cont quit system_powerdown system_reset query-cpus query-version query-commands
    query-events query-machines query-kvm query-target query-name query-uuid query-block query-iothreads
""".split()


def with_client(address, conversation):
    """Connects, negotiates, and has the conversation."""
    if QMPClient is None:
        raise Skip("there is no qemu.qmp; hack/test installs it")

    async def run():
        client = QMPClient("test")
        for attempt in range(1000):
            try:
                await client.connect(address)
                break
            except Exception:
                if attempt == 999:
                    raise
                await asyncio.sleep(0.01)
        try:
            await asyncio.wait_for(conversation(client), 60)
        finally:
            # The client calls it an error that the machine has ended meanwhile.
            with contextlib.suppress(EOFError):
                await client.disconnect()

    asyncio.run(run())


def test_every_query(work):
    (work / "image").write_bytes(bytes(1 << 20))
    uuid = "550e8400-e29b-41d4-a716-446655440000"
    options = ["-name", "guest", "-uuid", uuid, "-smp", "3", "-object", "iothread,id=io0"]
    options += ["-drive", f"id=d0,file={work}/image,readonly=on,direct=off,throttling.iops-total=77"]
    options += ["-device", "virtio-blk-device,drive=d0,id=blk0,iothread=io0"]

    async def conversation(client):
        execute = client.execute
        # It has enabled that by itself.
        assert client.greeting.QMP.capabilities == ["oob"], client.greeting
        assert await execute("query-yank") == await client.execute("query-yank", oob=True) == []
        names = {command["name"] for command in await execute("query-commands")}
        assert names >= set(COMMANDS), set(COMMANDS) - names
        assert {event["name"] for event in await execute("query-events")} >= {
            "SHUTDOWN", "STOP", "RESUME", "RESET", "POWERDOWN",
        }
        assert await execute("query-name") == {"name": "guest"}
        assert await execute("query-uuid") == {"UUID": uuid}
        assert await execute("query-kvm") == {"enabled": True, "present": True}
        assert await execute("query-target") == {"arch": "x86_64"}
        version = await execute("query-version")
        assert version["package"].startswith("apus-") and set(version["qemu"]) == {"major", "minor", "micro"}, version
        machines = {machine["name"] for machine in await execute("query-machines")}
        assert "microvm" in {name.lower() for name in machines}, machines
        cpus = await execute("query-cpus")
        assert [cpu["CPU"] for cpu in cpus] == [0, 1, 2] and len({cpu["thread_id"] for cpu in cpus}) == 3, cpus
        assert [thread["id"] for thread in await execute("query-iothreads")] == ["io0"]
        [block] = await execute("query-block")
        assert (block["device"], block["qdev"]) == ("d0", "blk0"), block
        inserted = block["inserted"]
        assert (inserted["ro"], inserted["iops"], inserted["file"]) == (True, 77, f"{work}/image"), block
        assert inserted["image"]["virtual-size"] == 1 << 20, block
        assert (await execute("query-status"))["status"] == "running"
        try:
            await execute("no-such-command")
            raise AssertionError("it was not refused")
        except ExecuteError as error:
            assert error.error_class == "GenericError", error.error_class
        await execute("quit")

    with Tiny(work, SPIN, *options) as tiny:
        with_client(tiny.qmp_path, conversation)
        tiny.check_end(left=["image"])


def test_events(work):
    ends = {"quit": ["SHUTDOWN"], "system_powerdown": ["POWERDOWN", "SHUTDOWN"], "system_reset": ["RESET", "SHUTDOWN"]}
    for command, names in ends.items():

        async def conversation(client):
            with client.listener() as listener:
                for doing, done in (("stop", "STOP"), ("cont", "RESUME"), ("stop", "STOP"), ("cont", "RESUME")):
                    assert await client.execute(doing) == {}
                    assert (await listener.get())["event"] == done
                    assert (await client.execute("query-status"))["running"] == (doing == "cont")
                await client.execute(command)
                assert [(await listener.get())["event"] for _ in names] == names

        with Tiny(work, SPIN) as tiny:
            with_client(tiny.qmp_path, conversation)
            tiny.check_end()


def test_end_of_the_guest(work):
    async def conversation(client):
        with client.listener(["SHUTDOWN"]) as listener:
            await client.execute("cont")
            event = await listener.get()
            assert event["data"] == {"guest": True, "reason": "guest-shutdown"}, event

    with Tiny(work, POWER_OFF, "-S") as tiny:
        with_client(tiny.qmp_path, conversation)
        tiny.check_end()
