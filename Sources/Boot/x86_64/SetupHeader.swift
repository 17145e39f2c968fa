/// The setup header of a bzImage (Linux, Documentation/arch/x86/boot.rst), which the zero page contains too.
struct SetupHeader {
    /// The header's offset in the file and in the zero page.
    static let offset = 0x1f1
    /// The number of bytes to read for the longest header: the byte at 0x201 is its end relative to 0x202.
    static let searchLength = 0x202 + 0xff
    /// The offset of the next field in the zero page.
    static let maximumEnd = 0x290
    /// Protocol 2.12 (Linux 3.8) introduced `xloadflags`, which states whether the kernel has a 64-bit entry.
    static let oldestVersion: UInt16 = 0x20c

    private static let bootFlag: UInt16 = 0xaa55
    private static let magic: UInt32 = 0x5372_6448  // "HdrS"
    private static let loadedHigh: UInt8 = 1 << 0
    private static let kernel64: UInt16 = 1 << 0

    /// The header's bytes, starting at `offset`.
    let bytes: [UInt8]
    /// Offset of the protected-mode kernel in the file.
    let payloadOffset: UInt64
    /// Minimum length of the protected-mode kernel in bytes.
    let payloadMinimum: UInt64
    /// Guest address to load the kernel at.
    let loadAddress: UInt64
    /// Start of the `initSize` bytes that the kernel uses while it unpacks itself.
    let runtimeStart: UInt64
    let initSize: UInt64
    /// The highest address an initial RAM disk may use.
    let initrdMaximum: UInt64
    /// Length of the longest command line, without its NUL.
    let commandLineMaximum: UInt64

    /// Parses the header in a file's first bytes; nil if there is none.
    ///
    /// - Throws: if a field of the header is invalid or not supported.
    init?(_ head: [UInt8], of file: borrowing BootFile) throws(BootError) {
        func field<T: FixedWidthInteger>(_ offset: Int, _ type: T.Type) -> T? { head.load(at: offset) }
        guard field(0x1fe, UInt16.self) == Self.bootFlag else { return nil }
        guard field(0x202, UInt32.self) == Self.magic else {
            throw file.error(
                "header", "is not \"HdrS\" although boot_flag is 0xaa55: not a bzImage of Linux 1.3.73 or newer")
        }
        guard let version = field(0x206, UInt16.self), version >= Self.oldestVersion else {
            throw file.error("version", "is older than boot protocol 2.12 (Linux 3.8)")
        }
        guard let setupSectors = field(0x1f1, UInt8.self), let systemSize = field(0x1f4, UInt32.self),
            let loadFlags = field(0x211, UInt8.self), let code32Start = field(0x214, UInt32.self),
            let initrdMaximum = field(0x22c, UInt32.self), let alignment = field(0x230, UInt32.self),
            let isRelocatable = field(0x234, UInt8.self), let extendedFlags = field(0x236, UInt16.self),
            let commandLineMaximum = field(0x238, UInt32.self), let preferred = field(0x258, UInt64.self),
            let initSize = field(0x260, UInt32.self), let jump = field(0x201, UInt8.self)
        else { throw file.error("setup header", "the file ends in the middle of it") }
        guard loadFlags & Self.loadedHigh != 0 else {
            throw file.error("loadflags", "LOADED_HIGH is not set: a zImage, only a bzImage can be loaded")
        }
        guard extendedFlags & Self.kernel64 != 0 else {
            throw file.error("xloadflags", "XLF_KERNEL_64 is not set: the kernel has no 64-bit entry")
        }

        loadAddress = UInt64(code32Start)
        if isRelocatable != 0 {
            guard alignment.nonzeroBitCount == 1 else {
                throw file.error("kernel_alignment", "\(hex(alignment)) is not a power of two")
            }
            let mask = UInt64(alignment) - 1
            let (sum, overflow) = max(loadAddress, preferred).addingReportingOverflow(mask)
            guard !overflow else {
                throw file.error("pref_address", "\(hex(preferred)) is beyond the address space")
            }
            runtimeStart = sum & ~mask
        } else {
            runtimeStart = preferred
        }
        payloadOffset = (UInt64(setupSectors == 0 ? 4 : setupSectors) + 1) * 512
        // Tolerate one missing unit: the linker rounds the size up and may leave the file unpadded.
        payloadMinimum = UInt64(systemSize == 0 ? 0 : systemSize - 1) * 16
        self.initSize = UInt64(initSize)
        self.initrdMaximum = UInt64(initrdMaximum)
        self.commandLineMaximum = UInt64(commandLineMaximum)
        let end = min(max(0x202 + Int(jump), 0x264), Self.maximumEnd, head.count)
        bytes = Array(head[Self.offset..<end])
    }
}

extension KernelImage {
    /// Offset of the 64-bit entry from the load address.
    private static let entry64: UInt64 = 0x200

    /// Loads a bzImage without its real-mode part. The kernel unpacks itself from its 64-bit entry.
    static func loadBzImage(
        _ file: borrowing BootFile, _ header: SetupHeader, into destination: inout KernelDestination
    ) throws(BootError) -> KernelImage {
        guard file.size > header.payloadOffset + entry64 else {
            throw file.error(
                "setup_sects",
                "the kernel would begin at \(hex(header.payloadOffset)), the file ends at \(hex(file.size))")
        }
        let count = file.size - header.payloadOffset
        guard count >= header.payloadMinimum else {
            throw file.error(
                "syssize",
                "\(hex(header.payloadMinimum)) bytes are announced, \(hex(count)) are in the file: truncated?")
        }
        try destination.claim(start: header.loadAddress, count: count, field: "code32_start", of: file)
        try destination.claim(start: header.runtimeStart, count: header.initSize, field: "init_size", of: file)
        try destination.read(
            file, at: header.payloadOffset, count: count, to: header.loadAddress, field: "setup_sects")
        return KernelImage(
            bootProtocol: .linux64, entry: header.loadAddress + entry64, setupHeader: header,
            ranges: destination.claimed)
    }
}
