/// A guest physical address.
package struct GuestAddress: RawRepresentable, Hashable, Comparable, Sendable {
    package let rawValue: UInt64

    @inlinable
    package init(rawValue: UInt64) {
        self.rawValue = rawValue
    }

    @inlinable
    package init(_ rawValue: UInt64) {
        self.rawValue = rawValue
    }

    @inlinable
    package static func < (a: GuestAddress, b: GuestAddress) -> Bool { a.rawValue < b.rawValue }

    /// The address `distance` bytes further on, or nil past the end of the address space.
    @inlinable
    package func advanced(by distance: UInt64) -> GuestAddress? {
        let (sum, overflow) = rawValue.addingReportingOverflow(distance)
        return overflow ? nil : GuestAddress(sum)
    }
}

extension GuestAddress: CustomStringConvertible {
    package var description: String { "0x" + String(rawValue, radix: 16) }
}
