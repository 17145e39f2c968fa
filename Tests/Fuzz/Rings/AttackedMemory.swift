import Host
import Memory

/// Guest memory with something beside it that nobody may touch.
///
/// Two regions touch, a third one is above 4 GiB. In the host's memory, which all of them share, fences lie behind the
/// last.
final class AttackedMemory {
    let guest: GuestMemory
    private let mapping: MappedRegion
    private let size: Int
    private static let fence: UInt8 = 0xa5
    private static let fenceSize = 4096

    static let high: UInt64 = 1 << 32

    /// Memory of three regions with these sizes in bytes.
    init(low: Int, next: Int, high: Int) throws {
        size = low + next + high
        mapping = try MappedRegion(anonymous: size + Self.fenceSize)
        guest = try GuestMemory(
            ranges: [
                (GuestAddress(0), UInt64(low)), (GuestAddress(UInt64(low)), UInt64(next)),
                (GuestAddress(Self.high), UInt64(high)),
            ], mapping: mapping)
        mapping.all.dropFirst(size).fill(Self.fence)
    }

    /// All of the guest's memory.
    var host: HostSlice { mapping.all.prefix(size) }

    /// What is behind the guest's memory must be as it was.
    func checkFence() throws {
        try expect(mapping.all.dropFirst(size).isFilled(with: Self.fence), "memory behind the guest's has changed")
    }
}
