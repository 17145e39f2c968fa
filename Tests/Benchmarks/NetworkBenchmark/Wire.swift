import Backends
import Glibc
import Host

/// A card's wire and the host's end of it: a socket on the tap's interface, or one of a pair where there is no tap.
final class Wire {
    let tap: Tap
    private let end: FileDescriptor
    private let frame: [UInt8]
    private let isPair: Bool

    static let mac: [UInt8] = [0x02, 0xaa, 0xbb, 0xcc, 0xdd, 0xee]

    // Linux's, which Glibc's module does not have: a socket of an interface, and its header before each frame.
    private static let packetFamily: Int32 = 17
    private static let packetLevel: Int32 = 263
    private static let packetHeader: Int32 = 15

    /// - Parameters:
    ///   - interface: a tap that is up; nil for a pair of sockets.
    ///   - size: of a frame, in bytes.
    init(interface: String?, size: Int) throws {
        isPair = interface == nil
        let header = Self.header(size)
        if let interface {
            tap = try Tap(interface: interface)
            end = FileDescriptor(owning: try checked { socket(Self.packetFamily, Int32(SOCK_RAW.rawValue), 0) })
            var one: Int32 = 1
            let number = end.rawValue
            _ = try checked { unsafe setsockopt(number, Self.packetLevel, Self.packetHeader, &one, 4) }
            // struct sockaddr_ll
            var address = [UInt8](repeating: 0, count: 20)
            address[0] = UInt8(Self.packetFamily)
            address[4] = unsafe UInt8(truncatingIfNeeded: if_nametoindex(interface))
            _ = try checked {
                unsafe address.withUnsafeBytes { bytes in
                    unsafe bind(number, bytes.baseAddress?.assumingMemoryBound(to: sockaddr.self), 20)
                }
            }
            frame = header.dropLast(2) + Self.frame(size)
        } else {
            var ends: [Int32] = [-1, -1]
            _ = try checked { unsafe socketpair(AF_UNIX, Int32(SOCK_SEQPACKET.rawValue), 0, &ends) }
            tap = try Tap(standIn: [ends[1]], offloads: [.checksum, .tso4])
            end = FileDescriptor(owning: ends[0])
            frame = header + Self.frame(size)
        }
        try end.setNonBlocking(true)
    }

    /// `virtio_net_hdr_v1`: what is larger than the link's frames is to be cut to 1448 bytes of data each, and has no
    /// checksum yet.
    static func header(_ size: Int) -> [UInt8] {
        size <= 1514 ? [UInt8](repeating: 0, count: 12) : [1, 1, 54, 0, 0xa8, 5, 34, 0, 16, 0, 0, 0]
    }

    /// A TCP segment of IPv4, as far as somebody looks.
    static func frame(_ size: Int) -> [UInt8] {
        var frame = mac + [2, 0, 0, 0, 0, 1, 8, 0]
        let length = size - 14
        frame += [0x45, 0, UInt8(length >> 8), UInt8(length & 0xff), 0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]
        frame += [0, 1, 0, 2] + [UInt8](repeating: 0, count: 8) + [0x50, 0x10, 0xff, 0xff, 0, 0, 0, 0]
        return frame + [UInt8](repeating: 7, count: size - frame.count)
    }

    /// Readable when the card has sent something that `drain` takes.
    var descriptor: Int32 { end.rawValue }

    /// Sends a frame to the card; false if the wire is full.
    func send() -> Bool {
        let number = end.rawValue
        return unsafe frame.withUnsafeBytes { unsafe write(number, $0.baseAddress, $0.count) } == frame.count
    }

    /// Takes what the card has sent; an interface's frames the kernel has dropped already.
    func drain(into memory: IOBuffer) {
        guard isPair else { return }
        while unsafe read(end.rawValue, memory.all.pointer, memory.capacity) > 0 {}
    }
}
