/// How much memory this host has left.
package enum HostMemory {
    /// Bytes that can be had without swapping; nil if the kernel does not tell.
    package static var available: UInt64? {
        for line in text(of: "/proc/meminfo").split(separator: "\n") {
            let words = line.split(separator: " ")
            if words.first == "MemAvailable:", words.count > 1 { return UInt64(words[1]).map { $0 &* 1024 } }
        }
        return nil
    }

    /// Free huge pages of `size` bytes; nil if the host has none of that size.
    package static func freeHugePages(of size: Int) -> UInt64? {
        let path = "/sys/kernel/mm/hugepages/hugepages-\(size >> 10)kB/free_hugepages"
        return UInt64(text(of: path).prefix { $0 != "\n" })
    }

    private static func text(of path: String) -> String {
        guard let file = try? FileDescriptor.open(path, .readOnly), let bytes = try? file.read(count: 16384, at: 0)
        else { return "" }
        return String(decoding: bytes, as: UTF8.self)
    }
}
