package import Host

/// A tap interface: frames written to it arrive in the host's network, and frames sent to it can be read. Open as long
/// as this object lives.
///
/// Each frame follows 12 bytes of `virtio_net_hdr_v1`. System calls that never block read and write frames, not the
/// ring: with Linux 6.1, a ring operation on a tap that is empty or full waits, and several that wait at once complete
/// in any order.
package final class Tap {
    /// The interface's name in its own network namespace.
    package let name: String
    /// One for each pair of queues, at least one. Of several, only the first is attached at the beginning.
    package let queues: [TapQueue]
    /// The interface's MTU when it was opened, in bytes; nil if unknown.
    package let mtu: Int?
    /// The offloads that the kernel supports on this tap.
    package let offloads: TapOffloads
    private let isStandIn: Bool

    /// Bytes of the header before each frame, `virtio_net_hdr_v1`.
    package static let headerSize = 12

    /// Opens the interface `name`; creates it if it is missing, until this object is gone.
    package convenience init(interface name: String, queues count: Int = 1) throws(TapError) {
        var queues = [try Self.open(name, isMultiqueue: count > 1)]
        while queues.count < count { queues.append(try Self.open(name, isMultiqueue: true)) }
        try self.init(queues, name: name, what: "ifname=\(name)", mtu: interfaceMTU(name))
    }

    /// Takes over descriptors of an interface that another process has opened.
    package convenience init(inherited descriptors: [Int32]) throws(TapError) {
        // Take all of them first, so that none stays open if one is wrong.
        var queues: [TapQueue] = []
        for number in descriptors { queues.append(TapQueue(try Self.inherit(number))) }
        var name: String?
        for (number, queue) in zip(descriptors, queues) {
            let interface = try Self.check(number, queue)
            if let name, name != interface.name {
                throw TapError(
                    "fd=\(number) belongs to interface '\(interface.name)', the others to '\(name)'; "
                        + "pass descriptors of one"
                )
            }
            name = interface.name
        }
        // The interface may be in another network namespace, so the MTU of its name means nothing here.
        try self.init(
            queues, name: name ?? "", what: "fd=\(descriptors.map { "\($0)" }.joined(separator: ":"))", mtu: nil)
    }

    private init(_ queues: [TapQueue], name: String, what: String, mtu: Int?) throws(TapError) {
        guard let first = queues.first else { throw TapError("no descriptor of a tap is given") }
        do {
            for queue in queues {
                try queue.file.setNonBlocking(true)
                try queue.file.setTapHeaderSize(Int32(Self.headerSize))
            }
            offloads = try Self.probe(first)
            for queue in queues.dropFirst() { try Self.detach(queue) }
        } catch {
            throw TapError("\(what): cannot set up the tap: \(error)")
        }
        self.name = name
        self.queues = queues
        self.mtu = mtu
        isStandIn = false
    }

    /// Uses files that carry frames with their headers as a tap's queues do, such as SEQPACKET sockets. The kernel does
    /// nothing for their offloads: the holder of the other ends does.
    package init(standIn files: [Int32], offloads: TapOffloads = [], mtu: Int? = nil) throws(TapError) {
        queues = files.map { TapQueue(FileDescriptor(owning: $0)) }
        guard !queues.isEmpty else { throw TapError("no descriptor is given") }
        name = "stand-in"
        isStandIn = true
        self.offloads = offloads
        do {
            for queue in queues { try queue.file.setNonBlocking(true) }
        } catch {
            throw TapError("\(error)")
        }
        self.mtu = mtu
    }

    private static func probe(_ queue: TapQueue) throws(Errno) -> TapOffloads {
        let plain: TapOffloads = [.checksum, .tso4, .tso6, .ecn]
        let hasUSO = (try? queue.file.setTapOffloads(plain.union(.uso))) != nil
        try queue.file.setTapOffloads([])
        return hasUSO ? plain.union(.uso) : plain
    }

    private static func detach(_ queue: TapQueue) throws(Errno) {
        do {
            try queue.file.setTapQueue(isAttached: false)
        } catch .invalidArgument {
            // The process that passed the descriptor had detached it already.
        }
    }

    /// Attaches a queue, so that the kernel uses it, or detaches it; only of an interface with several.
    package func setQueue(_ index: Int, isAttached: Bool) throws(Errno) {
        guard queues.indices.contains(index), !isStandIn else { return }
        try queues[index].file.setTapQueue(isAttached: isAttached)
    }

    /// Sets the offloads of the frames that are read from now on.
    package func setOffloads(_ offloads: TapOffloads) throws(Errno) {
        if !isStandIn { try queues.first?.file.setTapOffloads(offloads) }
    }
}

/// One queue of a tap.
package final class TapQueue {
    let file: FileDescriptor

    init(_ file: consuming FileDescriptor) {
        self.file = file
    }

    /// To poll; valid as long as this object lives.
    package var descriptor: Int32 { file.rawValue }

    /// Reads a frame with its header into the entries of `vectors` in `range`; drops what does not fit.
    ///
    /// - Returns: the number of bytes read, or an `errno` value below zero, such as `-EAGAIN` for an empty tap.
    package func read(into vectors: IOVectors, _ range: Range<Int>) -> Int { file.transfer(into: vectors, range) }

    /// Writes a frame with its header from the entries of `vectors` in `range`.
    ///
    /// - Returns: the number of bytes written, or an `errno` value below zero, such as `-EAGAIN` for a full tap.
    package func write(from vectors: IOVectors, _ range: Range<Int>) -> Int { file.transfer(from: vectors, range) }
}

// MARK: Opening

extension Tap {
    private static let device = "/dev/net/tun"

    private static func open(_ name: String, isMultiqueue: Bool) throws(TapError) -> TapQueue {
        let file: FileDescriptor
        do {
            file = try FileDescriptor.open(device, [.readWrite, .nonBlocking])
        } catch {
            let help =
                switch error {
                case .noEntry, .noDevice, .noDeviceOrAddress: "load the tun module (modprobe tun)"
                default: "check its permissions"
                }
            throw TapError("ifname=\(name): cannot open \(device): \(error); \(help), or pass an open tap with fd=")
        }
        do {
            try file.attachTap(name, isMultiqueue: isMultiqueue)
        } catch {
            // One queue of an interface with several is enough.
            if error == .invalidArgument, !isMultiqueue, (try? file.attachTap(name, isMultiqueue: true)) != nil {
                return TapQueue(file)
            }
            throw TapError("ifname=\(name) \(explain(error, name, isMultiqueue: isMultiqueue))")
        }
        return TapQueue(file)
    }

    private static func explain(_ error: Errno, _ name: String, isMultiqueue: Bool) -> String {
        let exists = interfaceMTU(name) != nil
        let isTap = (try? FileStatus(at: "/sys/class/net/\(name)/tun_flags")) != nil
        switch error {
        case .invalidArgument where exists && !isTap:
            return "is not a tap; name a tap, or an interface that does not exist yet"
        case .invalidArgument where exists && isMultiqueue:
            return "is not a tap with several queues; create it with multi_queue, or use queues=1"
        case .invalidArgument where exists:
            return "is a tun, which carries no Ethernet; name a tap"
        case .notPermitted where exists:
            return
                "belongs to another user; create it with 'ip tuntap add dev \(name) mode tap user NAME', or run with "
                + "CAP_NET_ADMIN"
        case .notPermitted:
            return "does not exist, and creating it requires CAP_NET_ADMIN; create it first"
        case .busy:
            return "is in use by another process; end that process, or use another interface"
        default:
            return "cannot be opened: \(error)"
        }
    }

    private static func inherit(_ number: Int32) throws(TapError) -> FileDescriptor {
        do {
            return try FileDescriptor.inherited(number)
        } catch {
            throw TapError(
                error == .badDescriptor
                    ? "fd=\(number) is not open; have the parent process pass it"
                    : "fd=\(number) cannot be a tap; use a number above 2")
        }
    }

    private static func check(_ number: Int32, _ queue: TapQueue) throws(TapError) -> TapInterface {
        let interface: TapInterface
        do {
            interface = try queue.file.tapInterface()
        } catch {
            throw TapError(
                error == .unattachedTap
                    ? "fd=\(number) is not attached to an interface; use TUNSETIFF first"
                    : "fd=\(number) is not a tap; pass a descriptor of \(device) with an interface")
        }
        guard interface.isTap else {
            throw TapError("fd=\(number) belongs to the tun '\(interface.name)', which carries no Ethernet; use a tap")
        }
        guard interface.hasBareFrames, interface.hasHeaders else {
            throw TapError(
                "fd=\(number) of '\(interface.name)' was opened without "
                    + (interface.hasHeaders ? "IFF_NO_PI" : "IFF_VNET_HDR") + "; open it with both")
        }
        return interface
    }
}
