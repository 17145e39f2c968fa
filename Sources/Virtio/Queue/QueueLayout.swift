import Host
package import Memory

/// Where the driver put the three parts of a split virtqueue, and how many descriptors it has
/// (virtio 1.2 section 2.7).
package struct QueueLayout: Equatable, Sendable {
    /// The parts of a split virtqueue.
    package enum Part: String, Sendable {
        case descriptorTable = "descriptor table"
        case availableRing = "available ring"
        case usedRing = "used ring"

        /// What the part's guest address must be a multiple of.
        package var alignment: UInt64 {
            switch self {
            case .descriptorTable: 16
            case .availableRing: 2
            case .usedRing: 4
            }
        }

        /// How many bytes the part takes in a queue of `size` descriptors.
        package func byteCount(_ size: UInt16) -> Int {
            switch self {
            case .descriptorTable: 16 * Int(size)
            case .availableRing: 6 + 2 * Int(size)
            case .usedRing: 6 + 8 * Int(size)
            }
        }
    }

    /// How many descriptors the queue has.
    package var size: UInt16
    package var descriptorTable: GuestAddress
    /// Also known as the driver area.
    package var availableRing: GuestAddress
    /// Also known as the device area.
    package var usedRing: GuestAddress

    package init(
        size: UInt16, descriptorTable: GuestAddress, availableRing: GuestAddress, usedRing: GuestAddress
    ) {
        self.size = size
        self.descriptorTable = descriptorTable
        self.availableRing = availableRing
        self.usedRing = usedRing
    }

    /// The guest address of one part.
    package func address(of part: Part) -> GuestAddress {
        switch part {
        case .descriptorTable: descriptorTable
        case .availableRing: availableRing
        case .usedRing: usedRing
        }
    }

    /// The host memory of one part, checked for alignment and to lie in one region.
    func resolve(_ part: Part, in memory: GuestMemory) throws(QueueError) -> HostSlice {
        let address = address(of: part)
        guard address.rawValue % part.alignment == 0 else { throw .alignment(part, address) }
        guard let slice = memory.slice(at: address.rawValue, count: UInt64(part.byteCount(size))),
            slice.address % UInt(part.alignment) == 0
        else { throw .layout(part, address) }
        return slice
    }
}
