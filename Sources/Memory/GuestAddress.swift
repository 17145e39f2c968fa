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
}

extension GuestAddress: CustomStringConvertible {
    package var description: String { "0x" + String(rawValue, radix: 16) }
}
