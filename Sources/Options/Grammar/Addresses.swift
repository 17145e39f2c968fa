/// An IPv4 address as `-qmp tcp:` and socket chardevs name it.
package struct IPv4Address: Equatable, Hashable, Sendable, CustomStringConvertible {
    /// The address as a number: 127.0.0.1 is 0x7f00_0001.
    package let rawValue: UInt32

    /// Reads four decimal numbers from 0 to 255 joined by dots; nil for anything else.
    package init?(_ text: String) {
        let parts = text.split(atEach: UInt8(ascii: "."))
        guard parts.count == 4 else { return nil }
        var address: UInt32 = 0
        for part in parts {
            guard part.utf8.count <= 3, let octet = decimal(part).flatMap(UInt8.init(exactly:)) else { return nil }
            address = address << 8 | UInt32(octet)
        }
        rawValue = address
    }

    package var description: String {
        [24, 16, 8, 0].map { String(rawValue >> $0 & 0xff) }.joined(separator: ".")
    }
}

/// Where a socket listens or connects to.
package enum EndpointSpec: Equatable, Hashable, Sendable, CustomStringConvertible {
    /// A Unix stream socket; the path is 1 to 107 bytes long.
    case unix(path: String)
    /// TCP over IPv4; the port is not 0.
    case tcp(host: IPv4Address, port: UInt16)

    package var description: String {
        switch self {
        case .unix(let path): "unix:\(path)"
        case .tcp(let host, let port): "tcp:\(host):\(port)"
        }
    }
}

/// An Ethernet address.
package struct MACAddress: Equatable, Hashable, Sendable, CustomStringConvertible {
    /// The six octets, the first one sent first.
    package let octets: [UInt8]

    /// Reads six groups of two hexadecimal digits joined by colons; nil for anything else.
    package init?(_ text: String) {
        var octets: [UInt8] = []
        for group in text.split(atEach: .colon) {
            guard group.utf8.count == 2, group.utf8.allSatisfy(\.isHexDigit), let octet = UInt8(group, radix: 16) else {
                return nil
            }
            octets.append(octet)
        }
        guard octets.count == 6 else { return nil }
        self.octets = octets
    }

    /// The address of these octets; of the first six, with zeroes for those that are missing.
    package init(_ octets: [UInt8]) {
        self.octets = Array(octets.prefix(6)) + Array(repeating: 0, count: max(0, 6 - octets.count))
    }

    package var description: String {
        octets.map { $0 < 16 ? "0\(String($0, radix: 16))" : String($0, radix: 16) }.joined(separator: ":")
    }
}

extension UInt8 {
    /// Whether the byte is one of `0-9a-fA-F`.
    var isHexDigit: Bool {
        switch self {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "f"),
            UInt8(ascii: "A")...UInt8(ascii: "F"):
            true
        default: false
        }
    }
}

extension ValueType where Value == IPv4Address {
    static let ipv4 = ValueType(placeholder: "IPV4", expectation: "an IPv4 address such as 127.0.0.1") {
        IPv4Address($0)
    }
}

extension ValueType where Value == MACAddress {
    static let mac = ValueType(placeholder: "MAC", expectation: "a MAC address such as 52:54:00:12:34:56") {
        MACAddress($0)
    }
}
