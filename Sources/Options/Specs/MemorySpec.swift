/// `-m`, `-mem-path` and `-mem-prealloc`: the guest's memory.
package struct MemorySpec: Equatable, Sendable {
    /// Bytes of memory: 128 MiB to 512 GiB, a multiple of 4 KiB.
    package let size: UInt64
    /// Bytes that memory may grow to; at least `size`, at most 512 GiB.
    package let maximum: UInt64
    /// The absolute path of a directory (as a rule of a hugetlbfs) or file that memory comes from.
    package let path: String?
    /// Whether all of it is touched before the guest starts.
    package let isPreallocated: Bool

    /// The limits of `-m`. The guide asks for 256 MiB, StratoVirt takes 128 MiB.
    package static let limits: ClosedRange<UInt64> = (128 << 20)...(512 << 30)
}

extension MemorySpec {
    private enum Keys {
        static let size = OptionKey(
            "size", .size("a size of memory", limits), .required, "memory, 128M to 512G; the unit is M if none is given"
        )
        static let maxmem = OptionKey(
            "maxmem", .size("a size of memory", limits), "what memory may grow to; from size to 512G, size if not given"
        )
    }

    static let keys = [Keys.size.description, Keys.maxmem.description]

    /// Reads the value of `-m`; nil stands for the standard 256 MiB. Throws an error if `maxmem` is below `size`.
    package static func parse(
        _ text: String?, path: String? = nil, isPreallocated: Bool = false
    ) throws(OptionError) -> MemorySpec {
        let list = try KeyValueList(option: "-m", firstKey: "size", parsing: text ?? "256M")
        let reader = try KeyReader(list, keys: keys)
        let size = try reader.value(Keys.size)
        guard size % 4096 == 0 else {
            throw reader.error(Keys.size, "is not a multiple of 4K")
        }
        let maximum = try reader.optional(Keys.maxmem) ?? size
        guard maximum >= size else {
            throw reader.error(Keys.maxmem, "is less than the \(sizeText(size)) of memory at start")
        }
        return MemorySpec(
            size: size, maximum: maximum, path: try path.map(parsePath), isPreallocated: isPreallocated)
    }

    private static func parsePath(_ text: String) throws(OptionError) -> String {
        let path = try ValueType.path.read(text, option: "-mem-path")
        guard path.utf8.first == UInt8(ascii: "/") else {
            throw OptionError(
                option: "-mem-path", offending: text, problem: "\(quoted(text)) is not an absolute path",
                remedy: "give the full path of the directory where the huge pages are mounted")
        }
        return path
    }
}

extension ValueType {
    /// Reads an option whose whole value is of this type. Double quotes around it are taken off.
    func read(_ text: String, option: String) throws(OptionError) -> Value {
        guard let value = parse(text.withoutQuotes) else {
            throw OptionError(option: option, offending: text, problem: "\(quoted(text)) is not \(expectation)")
        }
        return value
    }
}
