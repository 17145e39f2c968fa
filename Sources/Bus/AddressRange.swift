/// The address spaces of a board: memory, and the I/O ports of x86.
package enum AddressSpace: UInt8, Sendable {
    case memory, ports
}

/// Consecutive addresses of one space.
package struct AddressRange: Equatable, Sendable {
    package let space: AddressSpace
    package let start: UInt64
    /// How many addresses, at least 1.
    package let count: UInt64

    /// The memory from `start`, `count` bytes of it.
    package static func memory(_ start: UInt64, count: UInt64) -> AddressRange {
        AddressRange(space: .memory, start: start, count: count)
    }

    /// The ports from `first`, `count` of them.
    package static func ports(_ first: UInt16, count: UInt64) -> AddressRange {
        AddressRange(space: .ports, start: UInt64(first), count: count)
    }

    /// The number of the first port; 0 for memory.
    package var firstPort: UInt16 { space == .ports ? UInt16(truncatingIfNeeded: start) : 0 }

    /// The last address.
    package var last: UInt64 { start &+ (count &- 1) }

    /// Whether there is an address in it, and all are inside their space.
    var isSound: Bool {
        guard count > 0, case let (last, overflow) = start.addingReportingOverflow(count - 1), !overflow else {
            return false
        }
        return space == .memory || last <= UInt64(UInt16.max)
    }

    /// Whether the two have an address in common.
    func overlaps(_ other: AddressRange) -> Bool {
        space == other.space && start <= other.last && other.start <= last
    }
}

extension AddressRange: CustomStringConvertible {
    package var description: String { "0x\(String(start, radix: 16))-0x\(String(last, radix: 16))" }
}
