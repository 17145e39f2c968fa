import Memory

/// The initial RAM disk's range in guest memory.
struct InitialRAMDisk: Equatable {
    let start: UInt64
    let size: UInt64

    private static let pageMask: UInt64 = 0xfff

    /// Loads `file` at the highest address that the kernel allows: below the end of low memory and below 896 MiB, or the
    /// kernel's own limit.
    ///
    /// - Throws: if the file does not fit, or would overlap the kernel.
    static func load(
        _ file: borrowing BootFile, into memory: GuestMemory, map: MemoryMap, kernel: KernelImage
    ) throws(BootError) -> InitialRAMDisk {
        let limit = min(
            Layout.initrdMaximum, map.lowMemoryEnd, kernel.setupHeader?.initrdMaximum ?? Layout.initrdMaximum)
        guard file.size < limit, case let start = (limit - file.size) & ~pageMask, start >= Layout.highMemory,
            let slice = memory.slice(at: start, count: file.size)
        else {
            throw file.error(
                "size", "\(hex(file.size)) bytes do not fit the RAM below \(hex(limit)); more memory may help")
        }
        guard !kernel.overlaps(start..<(start + file.size)) else {
            throw file.error(
                "size", "\(hex(file.size)) bytes below \(hex(limit)) would touch the kernel; more memory may help")
        }
        try file.fill(slice, from: 0, field: "size")
        return InitialRAMDisk(start: start, size: file.size)
    }
}
