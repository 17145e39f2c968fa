"""virtio consoles under a stock kernel: a login on hvc0 and on a pseudo-terminal, and channels for data."""

import hashlib
import os
import select
import socket
import threading

from guest import PATIENCE, Guest, Pauses

MIB = 1 << 20
AMOUNT = 16 * MIB
PORT = "/dev/vport0p1"


def connect(path):
    client = socket.socket(socket.AF_UNIX)
    client.connect(str(path))
    return client


def receive(client, count):
    data = bytearray()
    while len(data) < count:
        assert select.select([client], [], [], PATIENCE)[0], f"{len(data)} bytes of {count} came"
        more = client.recv(min(MIB, count - len(data)))
        assert more, f"the end came after {len(data)} bytes of {count}"
        data += more
    return bytes(data)


def pause_while(guest, thread):
    """Stops the machine time and again until a thread is done; how often."""
    pauses = Pauses(guest)
    while thread.is_alive():
        pauses.once()
        thread.join(pauses.between)
    return pauses.count


def log_in(guest):
    guest.expect("apus login: ")
    guest.type("root\n")


def test_console(work):
    options = ["-device", "virtio-serial-device", "virtconsole,chardev=hvc,id=hvc"]
    options += ["-device", "virtserialport,chardev=data,id=org.apus.data"]
    options += ["-chardev", f"socket,id=hvc,path={work}/hvc,server,nowait"]
    options += ["-chardev", f"socket,id=data,path={work}/data,server,nowait"]
    append = "apus.run=report,login:hvc0:ttyS0"
    with Guest(work, *options, console="hvc0", append=append, cpus=2, serial="pty") as guest:
        listed = {each["label"]: each for each in guest.qmp.execute("query-chardev")}
        pty = os.open(listed["serial_chardev"]["filename"].removeprefix("pty:"), os.O_RDWR | os.O_NOCTTY)

        # A login over the pseudo-terminal.
        guest.use_console(pty)
        log_in(guest)
        assert guest.shell("tty").strip() == "/dev/ttyS0"
        assert guest.shell("cat /sys/class/virtio-ports/vport0p1/name").strip() == "org.apus.data"

        # One over hvc0, for somebody who comes when all has been said already.
        hvc = connect(work / "hvc")
        guest.use_console(hvc.fileno())
        guest.expect(r"^APUS-CMDLINE .*console=hvc0.*\n")
        log_in(guest)
        assert guest.shell("tty").strip() == "/dev/hvc0"

        # Data for the guest; it ends when the connection does.
        assert guest.shell(f"cat {PORT}") == "", "a port without anybody at its other end is at its end"
        data = os.urandom(AMOUNT)
        client = connect(work / "data")
        guest.type(f"echo SU''M $(cat {PORT} | sha256sum)\n")
        sender = threading.Thread(target=lambda: (client.sendall(data), client.close()))
        sender.start()
        assert pause_while(guest, sender) > 2
        assert guest.expect(r"^SUM (\w+)").group(1) == hashlib.sha256(data).hexdigest()

        # Data from the guest: a program that writes waits for somebody to come, and for one that reads slowly.
        guest.shell(f"dd if=/dev/urandom of=/tmp/data bs=1M count={AMOUNT // MIB} 2>/dev/null")
        wanted = guest.shell("sha256sum </tmp/data").split()[0]
        guest.type(f"cat /tmp/data >{PORT}; echo WRIT''TEN\n")
        guest.listen(1)
        assert not guest.shows("WRITTEN")
        client = connect(work / "data")
        got = []
        receiver = threading.Thread(target=lambda: got.append(receive(client, AMOUNT)))
        receiver.start()
        assert pause_while(guest, receiver) > 2
        assert hashlib.sha256(got[0]).hexdigest() == wanted
        guest.expect("^WRITTEN")
        listed = {each["label"]: each["frontend-open"] for each in guest.qmp.execute("query-chardev")}
        assert listed == {"serial_chardev": True, "hvc": True, "data": False}, listed

        # Programs in the guest learn that somebody has left.
        guest.type(f"cat {PORT}; echo LE''FT\n")
        client.sendall(b"to the program\n")
        guest.expect("^to the program\n")
        client.close()
        guest.expect("^LEFT")

        # A console that nobody reads is no reason to wait.
        guest.use_console(pty)
        guest.type("\n")
        guest.shell("head -c 400000 /dev/zero | tr '\\0' x >/dev/hvc0")
        guest.use_console(hvc.fileno())
        guest.type("\n")
        guest.shell("true")
        guest.type("exit\n")
        assert guest.wait() == 0
        assert "ERROR" not in guest.errors, guest.errors
