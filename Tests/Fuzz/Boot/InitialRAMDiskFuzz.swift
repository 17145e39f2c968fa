import Boot
import Host
import Memory

/// Initial RAM disks of any size with kernels that leave more or less room.
final class InitialRAMDiskFuzz: FuzzSubject {
    init() {}

    func fuzz(_ input: inout FuzzInput) throws {
        let plan = BootStage.plan(&input)
        let kernel = BzImageFuzz.image(&input)
        let size: Int = input.pick([1, 4095, 4096, 4097, 1 << 20, 12 << 20, 20 << 20]) + input.below(3)
        let disk = [UInt8](repeating: 0x5a, count: size)
        guard let (memory, _) = try BootStage.load(kernel, plan, initrd: disk) else { return }
        let start = UInt64(try memory.load(at: GuestAddress(0x7218), as: UInt32.self))
        let told = try memory.load(at: GuestAddress(0x721c), as: UInt32.self)
        try expect(Int(told) == size && start % 4096 == 0, "the kernel is told of \(told) bytes at \(start)")
        let loaded = try memory.slice(at: GuestAddress(start), count: size)
        try expect(loaded.isFilled(with: 0x5a), "the disk lies elsewhere")
        let limit = kernel[0x22c..<0x230].reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        try expect(start + UInt64(size) <= max(limit, limit + 1), "the disk lies above the kernel's limit")
    }
}
