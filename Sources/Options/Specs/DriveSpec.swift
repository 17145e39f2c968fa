/// `-drive` and `blockdev-add`: a disk image and how the host treats it.
package struct DriveSpec: Equatable, Sendable {
    /// How requests reach the host's kernel. Each keeps its promise on caching and durability.
    package enum AsynchronousIO: String, CaseIterable, Equatable, Sendable {
        case off
        /// Needs `direct`.
        case native
        case ioUring = "io_uring"
        case threads
    }

    /// What the image is to the guest.
    package enum Media: String, CaseIterable, Equatable, Sendable {
        case disk
        case cdrom
    }

    /// What becomes of writes that are all zeroes, and whether the guest has WRITE_ZEROES (unless off).
    package enum ZeroDetection: String, CaseIterable, Equatable, Sendable {
        case off
        case on
        case unmap
    }

    /// What devices refer to; unique, 1 to 255 bytes.
    package let id: String
    /// The image: a regular file or a block device.
    package let file: String
    package let isReadOnly: Bool
    /// Whether the host's page cache is bypassed (O_DIRECT).
    package let isDirect: Bool
    package let asynchronousIO: AsynchronousIO
    /// The average number of requests a second that the guest may have, 1 to 1 000 000; nil for no limit.
    package let maximumIOPS: UInt32?
    package let media: Media
    /// Whether the guest may give blocks back (DISCARD).
    package let discards: Bool
    package let zeroDetection: ZeroDetection
}

extension DriveSpec {
    private enum Keys {
        static let id = OptionKey("id", .identifier, .required, "what -device drive= refers to")
        static let file = OptionKey("file", .imagePath, .required, "the image: a regular file or a block device")
        static let interface = OptionKey("if", .interface, .standard("none"), "none; pflash is not supported yet")
        static let unit = OptionKey("unit", ValueType<Int>.number("a unit", 0...1), "for if=pflash only")
        static let readonly = OptionKey("readonly", .onOff, .standard("off"), "the guest cannot write")
        static let direct = OptionKey(
            "direct", .onOff, .standard("on"), "bypass the host's page cache (O_DIRECT)")
        static let aio = OptionKey(
            "aio", ValueType<AsynchronousIO>.choice, "how requests are made; native, or off with direct=off")
        static let iops = OptionKey(
            "throttling.iops-total", ValueType<UInt32>.number("a number of requests a second", 0...1_000_000),
            .standard("0"), "requests a second on average; 0 is no limit")
        static let media = OptionKey("media", ValueType<Media>.choice, .standard("disk"), "the kind of media")
        static let discard = OptionKey(
            "discard", .discard, .standard("ignore"), "unmap: the guest may give blocks back to the host")
        static let detectZeroes = OptionKey(
            "detect-zeroes", ValueType<ZeroDetection>.choice, .standard("off"),
            "write zeroes without data; unmap: free the blocks")
        static let writeZeroes = OptionKey(
            "write-zeroes", ValueType<ZeroDetection>.choice, "another name of detect-zeroes")
        static let format = OptionKey("format", .format, .standard("raw"), "raw; qcow2 is not supported yet")
        static let l2CacheSize = OptionKey("l2-cache-size", .size("a size", 0...(32 << 20)), "for qcow2 only")
        static let refcountCacheSize = OptionKey(
            "refcount-cache-size", .size("a size", 0...(32 << 20)), "for qcow2 only")
    }

    static let keys = [
        Keys.id.description, Keys.file.description, Keys.readonly.description, Keys.direct.description,
        Keys.aio.description,
        Keys.iops.description, Keys.discard.description, Keys.detectZeroes.description, Keys.writeZeroes.description,
        Keys.media.description, Keys.format.description, Keys.l2CacheSize.description,
        Keys.refcountCacheSize.description,
        Keys.interface.description, Keys.unit.description,
    ]

    /// Reads one value of `-drive`.
    package static func parse(_ text: String) throws(OptionError) -> DriveSpec {
        try decode(KeyValueList(option: "-drive", parsing: text))
    }

    /// Decodes `-drive`'s keys. Throws an error for what is not supported yet, and where `aio` and `direct` contradict.
    package static func decode(_ list: KeyValueList) throws(OptionError) -> DriveSpec {
        let reader = try KeyReader(list, keys: keys)
        guard try reader.value(Keys.interface) == "none" else { throw .notSupportedYet(list.option, "if=pflash") }
        guard try reader.value(Keys.format) == "raw" else { throw .notSupportedYet(list.option, "format=qcow2") }
        for key in [Keys.l2CacheSize, Keys.refcountCacheSize] where reader.has(key) {
            throw reader.error(key, "belongs to format=qcow2, which is not supported yet")
        }
        if reader.has(Keys.unit) {
            throw reader.error(Keys.unit, "belongs to if=pflash, which is not supported yet")
        }
        if reader.has(Keys.detectZeroes), reader.has(Keys.writeZeroes) {
            throw reader.error(Keys.writeZeroes, "repeats detect-zeroes", remedy: "give one of them")
        }
        let id = try reader.value(Keys.id)
        let file = try reader.value(Keys.file)
        let isDirect = try reader.value(Keys.direct)
        let asynchronousIO = try reader.optional(Keys.aio) ?? (isDirect ? .native : .off)
        if asynchronousIO == .native, !isDirect {
            throw reader.error(
                Keys.aio, "needs \(reader.name(of: Keys.direct)) to be on", remedy: "or choose io_uring, threads or off"
            )
        }
        if asynchronousIO == .off, isDirect {
            throw reader.error(
                Keys.aio, "needs \(reader.name(of: Keys.direct)) to be off",
                remedy: "or choose native, io_uring or threads")
        }
        var zeroDetection = try reader.value(Keys.detectZeroes)
        if let other = try reader.optional(Keys.writeZeroes) { zeroDetection = other }
        let iops = try reader.value(Keys.iops)
        return DriveSpec(
            id: id, file: file, isReadOnly: try reader.value(Keys.readonly), isDirect: isDirect,
            asynchronousIO: asynchronousIO, maximumIOPS: iops == 0 ? nil : iops,
            media: try reader.value(Keys.media), discards: try reader.value(Keys.discard),
            zeroDetection: zeroDetection)
    }
}

extension ValueType where Value == String {
    /// A path whose last component a file system can hold.
    fileprivate static let imagePath = ValueType(
        placeholder: "PATH", expectation: "a path of 1 to 4095 bytes whose last part has at most 255"
    ) { text in
        guard let path = ValueType.path.parse(text) else { return nil }
        return path.utf8.reversed().prefix { $0 != UInt8(ascii: "/") }.count <= 255 ? path : nil
    }

    fileprivate static let interface = ValueType(placeholder: "none", expectation: "none or pflash") {
        $0 == "none" || $0 == "pflash" ? $0 : nil
    }

    fileprivate static let format = ValueType(placeholder: "raw", expectation: "raw or qcow2") {
        $0 == "raw" || $0 == "qcow2" ? $0 : nil
    }
}

extension ValueType where Value == Bool {
    fileprivate static let discard = ValueType(
        placeholder: "unmap|ignore", expectation: "unmap or ignore", parse: ValueType.onOff.parse)
}
