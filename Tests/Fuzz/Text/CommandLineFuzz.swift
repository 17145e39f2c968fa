import Options

/// Command lines: words that are separated by NUL, or made of pieces that mean something.
final class CommandLineFuzz: FuzzSubject {
    private static let pieces = [
        "-kernel", "-initrd", "-append", "-smp", "-m", "-machine", "-cpu", "-accel", "-drive", "-device", "-netdev",
        "-chardev", "-object", "-qmp", "-mon", "-serial", "-name", "-uuid", "-D", "-pidfile", "-S", "-daemonize",
        "-disable-seccomp", "-mem-path", "-mem-prealloc", "-sandbox", "--", "microvm", "virtio-blk-device",
        "virtio-net-device", "virtio-serial-device", "virtio-rng-device", "virtio-balloon-device", "vhost-vsock-device",
        "vhost-user-fs-device", "virtconsole", "virtserialport", "iothread", "memory-backend-ram",
        "memory-backend-file",
        "memory-backend-memfd", "rng-random", "tap", "vhost-user", "socket", "pty", "stdio", "file", ",", "=", ":",
        "id=",
        "drive=", "file=", "path=", "size=", "netdev=", "chardev=", "mac=", "ifname=", "fds=", "host-nodes=", "policy=",
        "on", "off", "server", "nowait", "unix:", "tcp:", "0", "1", "-1", "254", "1G", "512M", "18446744073709551616",
        "a", "é", "\u{0}", "\n", "sockets=", "cores=", "threads=", "cpus=", "iops=", "serial=", "max-bytes=", "period=",
        "readonly=", "direct=", "aio=", "queues=", "mq=", "vhost=", "guest-cid=", "tag=", "nr=", "bus=", "dump=",
    ]

    init() {}

    func fuzz(_ input: inout FuzzInput) throws {
        let words = input.oneIn(2) ? Self.split(input.rest()) : Self.words(&input)
        try Self.check(words)
        // Most that is accepted or refused is behind what every machine needs.
        try Self.check(["-kernel", "/k"] + words)
    }

    private static let limits = Limits(
        vcpus: 254, disks: 6, nics: 2, transports: 19, transportsWithoutACPI: 11, iothreads: 8)

    private static func check(_ words: [String]) throws {
        do throws(OptionError) {
            _ = try LaunchOptions.parse(words, limits)
        } catch {
            let text = error.description
            try expect(!text.contains("\n") && !text.contains("\u{0}"), "an error of several lines: \(text)")
            try expect(text.utf8.count < 2000, "an endless error")
        }
    }

    private static func split(_ bytes: [UInt8]) -> [String] {
        bytes.split(whereSeparator: { $0 == 0 || $0 == 10 }).map { String(decoding: $0, as: UTF8.self) }
    }

    private static func words(_ input: inout FuzzInput) -> [String] {
        var words: [String] = []
        while !input.isEmpty, words.count < 40 {
            var word = input.pick(pieces)
            while !input.isEmpty, !input.oneIn(3) {
                word += input.oneIn(16) ? String(decoding: input.take(4), as: UTF8.self) : input.pick(pieces)
            }
            words.append(word)
        }
        return words
    }
}
