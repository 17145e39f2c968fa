import Memory
import Testing

@testable import Boot

@Suite struct InitialStateTests {
    @Test func linuxStartsInLongMode() throws {
        let memory = try dirtyMemory()
        let state = try load(.linux, into: memory)
        #expect(state.cr0 == 0x8000_0011)
        #expect(state.cr3 == 0x9000)
        #expect(state.cr4 == 0x20)
        #expect(state.efer == 0x500)
        #expect(state.rflags == 2)
        #expect(state.rsp == 0x8ff0)
        #expect(state.rbp == 0x8ff0)
        #expect(state.code.selector == 0x10)
        #expect(state.code.isLongMode && !state.code.isDefault32Bit && state.code.isPresent && state.code.type == 0xb)
        #expect(state.data.selector == 0x18)
        #expect(state.data.isDefault32Bit && state.data.isPageGranular && state.data.isCodeOrData)
        #expect(state.data.type == 3 && state.data.privilegeLevel == 0)
        #expect(state.gdt == DescriptorTable(base: 0x500, limit: 31))
        #expect(state.idt == DescriptorTable(base: 0x520, limit: 7))
        let gdt: [UInt64] = [0, 0, 0x00af_9b00_0000_ffff, 0x00cf_9300_0000_ffff]
        for (index, descriptor) in gdt.enumerated() {
            #expect(try memory.value(0x500 + UInt64(index) * 8, UInt64.self) == descriptor)
        }
        #expect(try memory.value(0x520, UInt64.self) == 0)
    }

    @Test func pvhStartsInProtectedModeWithoutPaging() throws {
        let memory = try dirtyMemory()
        let state = try load(.pvh, into: memory)
        #expect(state.cr0 == 0x11)
        #expect(state.cr3 == 0)
        #expect(state.cr4 == 0)
        #expect(state.efer == 0)
        #expect(state.rflags == 2)
        #expect(state.rbx == 0x6000)
        for segment in [state.code, state.data] {
            #expect(segment.base == 0 && segment.limit == 0xffff_ffff)
            #expect(segment.isDefault32Bit && segment.isPageGranular && !segment.isLongMode)
        }
        #expect(state.task.base == 0 && state.task.limit == 0x67)
        #expect(state.task.isPresent && state.task.type == 0xb && !state.task.isCodeOrData)
        #expect(try memory.value(0x510, UInt64.self) == 0x00cf_9b00_0000_ffff)
    }

    /// Walks the tables as the processor does.
    @Test func theLow4GiBAreMappedToThemselves() throws {
        let memory = try dirtyMemory()
        try load(.linux, into: memory)
        func entry(_ table: UInt64, _ index: UInt64) throws -> UInt64 {
            try memory.value(table & ~0xfff + index * 8, UInt64.self)
        }
        for address: UInt64 in [0, 0x7000, 0x1f_ffff, 0x20_0000, 0x100_0200, 0x3fff_ffff, 0x4000_0000, 0xffff_ffff] {
            let directories = try entry(0x9000, address >> 39)
            #expect(directories & 0xfff == 3)
            let directory = try entry(directories, address >> 30 & 0x1ff)
            #expect(directory & 0xfff == 3)
            let page = try entry(directory, address >> 21 & 0x1ff)
            #expect(page == address & ~0x1f_ffff | 0x83)
        }
        #expect(try entry(0x9000, 1) == 0)
        #expect(try entry(0xa000, 4) == 0)
        #expect(try memory.value(0xf000, UInt64.self) == 0xeeee_eeee_eeee_eeee)
    }

    /// mov dx, 0x602; mov al, 1; out dx, al; hlt; jmp to the hlt.
    @Test func theFirmwareEntryResetsTheMachine() throws {
        let memory = try dirtyMemory()
        try load(.linux, into: memory)
        #expect(try memory.bytes(0xf_fff0, 9) == [0xba, 0x02, 0x06, 0xb0, 0x01, 0xee, 0xf4, 0xeb, 0xfd])
    }

    @Test func aDescriptorHoldsBaseAndLimitInPieces() {
        let segment = Segment(selector: 8, base: 0x1234_5678, limit: 0xa_bcde, attributes: 0x4093)
        #expect(segment.descriptor == 0x124a_9334_5678_bcde)
    }
}
