package import Host

/// A tap interface: frames that are written to it arrive in the host's network, and those sent to it can be read. Open
/// as long as this object lives.
///
/// Before each frame there are 12 bytes of `virtio_net_hdr_v1`. Frames are read and written by system calls that never
/// wait, and not through the ring: there a tap of Linux 6.1 cannot say that it is empty or full, but only be waited
/// for, which several operations at once would do in any order.
package final class Tap {
    /// The interface's name in its own network namespace.
    package let name: String
    /// One for each pair of queues, at least one. With several, only the first is in use at the beginning.
    package let queues: [TapQueue]
    /// The largest packet that the interface carried when it was opened; nil if that cannot be told.
    package let mtu: Int?
    /// What the kernel can leave to the reader of this tap.
    package let offloads: TapOffloads
    private let isStandIn: Bool

    /// What stands before each frame: `virtio_net_hdr_v1`.
    package static let headerSize = 12

    /// Opens the interface `name`, which is made if there is none and then gone with this object.
    package convenience init(interface name: String, queues count: Int = 1) throws(TapError) {
        var queues = [try Self.open(name, isMultiqueue: count > 1)]
        while queues.count < count { queues.append(try Self.open(name, isMultiqueue: true)) }
        try self.init(queues, name: name, what: "ifname=\(name)", mtu: interfaceMTU(name))
    }

    /// Takes over descriptors of an interface that somebody else has opened.
    package convenience init(inherited descriptors: [Int32]) throws(TapError) {
        // All of them first: none is left open when one turns out to be wrong.
        var queues: [TapQueue] = []
        for number in descriptors { queues.append(TapQueue(try Self.inherit(number))) }
        var name: String?
        for (number, queue) in zip(descriptors, queues) {
            let interface = try Self.check(number, queue)
            if let name, name != interface.name {
                throw TapError("fd=\(number) is of the interface '\(interface.name)', those before it of '\(name)'")
            }
            name = interface.name
        }
        // The interface may be in another network namespace, so that its name tells nothing here.
        try self.init(
            queues, name: name ?? "", what: "fd=\(descriptors.map { "\($0)" }.joined(separator: ":"))", mtu: nil)
    }

    private init(_ queues: [TapQueue], name: String, what: String, mtu: Int?) throws(TapError) {
        guard let first = queues.first else { throw TapError("there is no descriptor of a tap") }
        do {
            for queue in queues {
                try queue.file.setNonBlocking(true)
                try queue.file.setTapHeaderSize(Int32(Self.headerSize))
            }
            offloads = try Self.probe(first)
            for queue in queues.dropFirst() { try Self.detach(queue) }
        } catch {
            throw TapError("\(what) cannot be set up: \(error)")
        }
        self.name = name
        self.queues = queues
        self.mtu = mtu
        isStandIn = false
    }

    /// Takes files that carry frames with their headers as the queues of a tap do, such as sockets that keep the
    /// boundaries of messages. Nothing is asked of the kernel: who holds the other ends sees to it.
    package init(standIn files: [Int32], offloads: TapOffloads = [], mtu: Int? = nil) throws(TapError) {
        queues = files.map { TapQueue(FileDescriptor(owning: $0)) }
        guard !queues.isEmpty else { throw TapError("there is no descriptor") }
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
            // Who handed it over had detached it already.
        }
    }

    /// Lets the kernel use a queue, or not; only of an interface with several.
    package func setQueue(_ index: Int, isAttached: Bool) throws(Errno) {
        guard queues.indices.contains(index), !isStandIn else { return }
        try queues[index].file.setTapQueue(isAttached: isAttached)
    }

    /// Says which frames may come unfinished from now on.
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

    /// Reads a frame with its header into the entries of `vectors` in `range`; what finds no room is lost.
    ///
    /// - Returns: how many bytes were read, or an `errno` value below zero, such as `-EAGAIN` for an empty tap.
    package func read(into vectors: IOVectors, _ range: Range<Int>) -> Int { file.transfer(into: vectors, range) }

    /// Writes a frame with its header from the entries of `vectors` in `range`.
    ///
    /// - Returns: how many bytes were written, or an `errno` value below zero, such as `-EAGAIN` for a full tap.
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
                case .noEntry, .noDevice, .noDeviceOrAddress: "load the kernel's module (modprobe tun)"
                case .accessDenied, .notPermitted: "let this user read and write it"
                default: "see to it"
                }
            throw TapError("ifname=\(name) cannot be opened: \(device): \(error); \(help), or hand over a tap with fd=")
        }
        do {
            try file.attachTap(name, isMultiqueue: isMultiqueue)
        } catch {
            // An interface with several queues can be used with one of them too.
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
            return "is no tap; name one, or an interface that does not exist yet"
        case .invalidArgument where exists && isMultiqueue:
            return "is no tap with several queues; make it with multi_queue, or use queues=1"
        case .invalidArgument where exists:
            return "is a tun, which carries no Ethernet; name a tap"
        case .notPermitted where exists:
            return "is not this user's; make it with 'ip tuntap add dev \(name) mode tap user NAME', or run with "
                + "CAP_NET_ADMIN"
        case .notPermitted:
            return "does not exist, and making it needs CAP_NET_ADMIN; make it before"
        case .busy:
            return "is in use by another process; end that one, or use another interface"
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
                    ? "fd=\(number) is not open; have the parent process hand it over"
                    : "fd=\(number) cannot be a tap; give a number above 2")
        }
    }

    private static func check(_ number: Int32, _ queue: TapQueue) throws(TapError) -> TapInterface {
        let interface: TapInterface
        do {
            interface = try queue.file.tapInterface()
        } catch {
            throw TapError(
                error == .unattachedTap
                    ? "fd=\(number) is attached to no interface; use TUNSETIFF before"
                    : "fd=\(number) is no tap; hand over a descriptor of \(device) with an interface")
        }
        guard interface.isTap else {
            throw TapError("fd=\(number) is of the tun '\(interface.name)', which carries no Ethernet; use a tap")
        }
        guard interface.hasBareFrames, interface.hasHeaders else {
            throw TapError(
                "fd=\(number) of '\(interface.name)' was opened without "
                    + (interface.hasHeaders ? "IFF_NO_PI" : "IFF_VNET_HDR") + "; open it with both")
        }
        return interface
    }
}
