import Boot
import Bus
import Memory

/// What the tables that describe the board are made of: processors, devices, and the kernel's command line.
final class TablesFuzz: FuzzSubject {
    init() {}

    func fuzz(_ input: inout FuzzInput) throws {
        var plan = BootPlan(
            layout: .microvm, cpuCount: input.oneIn(8) ? Int(input.integer(Int16.self)) : 1 + input.below(254))
        if input.oneIn(2) {
            plan.apicIDs = input.take(input.oneIn(2) ? min(max(plan.cpuCount, 0), 300) : input.below(300))
        }
        plan.devices = (0..<input.below(64)).map { index in
            guard input.oneIn(8) else {
                return VirtioMMIODevice(
                    base: 0xfeb0_0000 + UInt32(index) * 0x200, size: 0x200, irq: UInt32(5 + index % 11))
            }
            return VirtioMMIODevice(base: input.integer(), size: input.integer(), irq: input.integer())
        }
        plan.hasSerial = input.oneIn(2)
        var noInput = FuzzInput([])
        let kernel = input.oneIn(2) ? BzImageFuzz.image(&noInput) : [0xf4]
        plan.commandLine = String(decoding: input.rest(), as: UTF8.self)
        guard let (memory, _) = try BootStage.load(kernel, plan) else { return }
        try Self.checkMPTable(memory)
        try Self.checkACPI(memory)
    }

    private static func checkMPTable(_ memory: GuestMemory) throws {
        let pointer = try memory.read(count: 16, at: GuestAddress(0x9_fc00))
        try expect(pointer.starts(with: Array("_MP_".utf8)) && pointer.reduce(0, &+) == 0, "no MP floating pointer")
        let address = pointer[4..<8].reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        let length = Int(try memory.load(at: GuestAddress(address + 4), as: UInt16.self))
        let table = try memory.read(count: length, at: GuestAddress(address))
        try expect(table.starts(with: Array("PCMP".utf8)) && table.reduce(0, &+) == 0, "no MP table")
    }

    /// From the root pointer on, each table's sum must be 0.
    private static func checkACPI(_ memory: GuestMemory) throws {
        let pointer = try memory.read(count: 36, at: GuestAddress(0xe_0000))
        guard pointer.starts(with: Array("RSD PTR ".utf8)) else { return }
        try expect(pointer.reduce(0, &+) == 0, "the RSDP's sum is not 0")
        let root = try table(memory, pointer[24..<32].reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) })
        for offset in stride(from: 36, to: root.count - 7, by: 8) {
            _ = try table(memory, root[offset..<offset + 8].reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) })
        }
    }

    private static func table(_ memory: GuestMemory, _ address: UInt64) throws -> [UInt8] {
        let length = Int(try memory.load(at: GuestAddress(address + 4), as: UInt32.self))
        try expect(address >= 0xe_0000 && address + UInt64(length) <= 0xf_fff0, "a table outside its place")
        let bytes = try memory.read(count: length, at: GuestAddress(address))
        try expect(bytes.reduce(0, &+) == 0, "a table's sum is not 0")
        return bytes
    }
}
