import Boot
import Bus
import Host
import Memory

/// Guest memory into which kernels are loaded, and what must be true of it afterwards.
struct BootStage {
    /// Enough for a raw kernel, which begins at 16 MiB.
    static let memorySize = 20 << 20
    private static let start: UInt64 = 0x10_0000

    /// Loads a kernel, and an initial RAM disk if there is one.
    ///
    /// - Returns: the memory, and the registers; nil if it was refused.
    @discardableResult
    static func load(
        _ kernel: [UInt8], _ plan: BootPlan, initrd: [UInt8]? = nil
    ) throws -> (memory: GuestMemory, state: InitialState)? {
        guard !kernel.isEmpty else { return nil }
        let memory = try AttackedMemory(low: memorySize, next: 4096, high: 4096)
        let state: InitialState
        do {
            let file = try file(.kernel, kernel)
            let disk: BootFile? = if let initrd { try Self.file(.initrd, initrd) } else { nil }
            state = try plan.load(kernel: file, initrd: disk, into: memory.guest)
        } catch let error as BootError {
            try memory.checkFence()
            try expect(!error.field.isEmpty && !error.problem.isEmpty, "an error that says nothing")
            try expect(error.description.utf8.count < 1000, "an endless error")
            return nil
        }
        try memory.checkFence()
        try expect(
            state.rip >= start && state.rip < UInt64(memorySize), "entered at \(state.rip), outside the kernels' memory"
        )
        try expect(memory.host.dropFirst(memorySize).isZero, "something was loaded beyond low memory")
        return (memory.guest, state)
    }

    /// The bytes as a file in memory.
    static func file(_ role: BootFile.Role, _ bytes: [UInt8]) throws -> BootFile {
        let descriptor = try FileDescriptor.memory(name: "image")
        try descriptor.write(bytes)
        return try BootFile(role, path: "/fuzz/image", descriptor: descriptor)
    }

    /// A plan with a few things of each kind.
    static func plan(_ input: inout FuzzInput) -> BootPlan {
        BootPlan(
            commandLine: input.pick(["quiet", "acpi=off", ""]),
            bootProtocol: input.pick([.automatic, .linux64, .pvh]), layout: .microvm, cpuCount: 1 + input.below(3),
            devices: (0..<UInt32(input.below(3))).map {
                VirtioMMIODevice(base: 0xfeb0_0000 + $0 * 0x200, size: 0x200, irq: 5 + $0)
            },
            hasSerial: input.oneIn(2))
    }

    /// An address or size: mostly of a kernel, sometimes near a border, sometimes any.
    static func number(_ input: inout FuzzInput) -> UInt64 {
        switch input.below(8) {
        case 7: input.integer()
        case 6:
            input.pick([0, 0xf_ffff, UInt64(memorySize), .max, 1 << 32, 1 << 63, 0xffff_ffff, 0x7fff_ffff])
                &+ UInt64(
                    input.below(3)) &- 1
        default: start + UInt64(input.integer(UInt16.self)) << 4
        }
    }
}
