/// One access of a vCPU to a port or to memory that a device owns.
public struct BusAccess: Sendable {
    /// The address spaces of x86: memory, and ports.
    package enum Space: UInt8, Sendable {
        case memory, ports
    }

    package var space: Space
    package var isWrite: Bool
    /// Width in bytes: 1, 2, 4 or 8.
    package var size: UInt8
    package var address: UInt64
    /// What is written, or the answer to a read; the low `size` bytes count.
    package var value: UInt64

    package init(space: Space, isWrite: Bool, size: UInt8, address: UInt64, value: UInt64 = 0) {
        self.space = space
        self.isWrite = isWrite
        self.size = size
        self.address = address
        self.value = value
    }
}

/// What serves the accesses that vCPUs hand to a reactor.
open class AccessServer {
    public init() {}

    /// Serves one access on the reactor's thread; a read's answer goes into `value`.
    open func serve(_ access: inout BusAccess) {}
}
