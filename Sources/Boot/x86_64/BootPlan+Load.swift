import Bus
package import Memory

extension BootPlan {
    /// The maximum command line of Linux on x86 in bytes, without its NUL, for kernels without a setup header.
    private static let commandLineMaximum: UInt64 = 2047

    /// Whether ACPI describes the devices to the guest; otherwise the MP table and the command line do.
    ///
    /// Raw binaries are kernels of StratoVirt's users, built without ACPI: they get the tables of StratoVirt's board.
    ///
    /// - Throws: an error in the kernel's header.
    package func usesACPI(_ kernel: borrowing BootFile) throws(BootError) -> Bool {
        guard CommandLine.allowsACPI(commandLine) else { return false }
        return try !KernelImage.isRaw(kernel)
    }

    /// Writes the kernel, the initial RAM disk, the command line and the tables of the board to guest memory.
    ///
    /// The written bytes do not depend on the previous contents of `memory`, so a second load resets a VM.
    ///
    /// - Returns: the registers of the bootstrap processor. The other processors wait for INIT and SIPI, as after reset.
    /// - Throws: an error in the kernel, the initial RAM disk or the command line, or that they do not fit.
    package func load(
        kernel file: borrowing BootFile, initrd: borrowing BootFile?, into memory: GuestMemory
    ) throws(BootError) -> InitialState {
        let identifiers = try APICIdentifiers(self)
        let map = try MemoryMap(memory)
        let kernel = try KernelImage.load(file, by: bootProtocol, into: memory, map: map)
        let acpi = try usesACPI(file)
        let commandLine = try CommandLine(commandLine, devices: devices, acpi: acpi)

        let disk: InitialRAMDisk? =
            switch initrd {
            case .some(let initrd): try InitialRAMDisk.load(initrd, into: memory, map: map, kernel: kernel)
            case .none: nil
            }
        let room = Layout.ebda - Layout.commandLine - 1
        try commandLine.write(
            to: memory, at: Layout.commandLine,
            maximum: min(kernel.setupHeader?.commandLineMaximum ?? Self.commandLineMaximum, room))

        try ResetVector.write(to: memory, layout.power)
        try MPTable(identifiers, layout.interrupts).write(to: memory)
        let rsdp = acpi ? try ACPITables(self, identifiers).write(to: memory) : 0
        return try Self.enter(kernel, memory, map: map, initrd: disk, rsdp: rsdp)
    }

    private static func enter(
        _ kernel: KernelImage, _ memory: GuestMemory, map: MemoryMap, initrd: InitialRAMDisk?, rsdp: UInt64
    ) throws(BootError) -> InitialState {
        let state: InitialState
        if kernel.bootProtocol == .pvh {
            try PVHStartInfo.write(to: memory, map: map, initrd: initrd, rsdp: rsdp)
            state = .pvh(entry: kernel.entry)
        } else {
            try ZeroPage.write(to: memory, header: kernel.setupHeader, map: map, initrd: initrd, rsdp: rsdp)
            try PageTables.write(to: memory)
            state = .linux64(entry: kernel.entry)
        }
        try state.writeDescriptorTables(to: memory)
        return state
    }
}
