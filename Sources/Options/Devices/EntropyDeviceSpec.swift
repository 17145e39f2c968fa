/// `virtio-rng-device`: a source of entropy (virtio 1.2, section 5.4).
package struct EntropyDeviceSpec: Equatable, Sendable {
    /// A limit on average: so many bytes in so many milliseconds, 64 to 1 000 000 000 bytes a second.
    package struct Limit: Equatable, Sendable {
        package let bytes: UInt64
        /// Milliseconds.
        package let period: UInt64
    }

    package let id: String?
    /// The id of the `-object rng-random`.
    package let source: String
    package let limit: Limit?
}

extension EntropyDeviceSpec {
    private enum Keys {
        static let id = OptionKey("id", .deviceID, "its name")
        static let rng = OptionKey("rng", .identifier, .required, "the id of the -object rng-random")
        static let maxBytes = OptionKey(
            "max-bytes", ValueType<UInt64>.number("a number of bytes", 1...UInt64.max),
            "bytes in a period; both or neither, and 64 to 1000000000 bytes a second")
        static let period = OptionKey(
            "period", ValueType<UInt64>.number("a number of milliseconds", 1...UInt64.max), "the period in milliseconds"
        )
    }

    static let keys = [
        Keys.rng.description, Keys.id.description, Keys.maxBytes.description, Keys.period.description,
    ]

    static func decode(_ reader: KeyReader) throws(OptionError) -> EntropyDeviceSpec {
        let source = try reader.value(Keys.rng)
        let limit: Limit?
        switch (try reader.optional(Keys.maxBytes), try reader.optional(Keys.period)) {
        case (nil, nil): limit = nil
        case (_?, nil): throw reader.error(Keys.maxBytes, "needs period=N", remedy: "give both or neither")
        case (nil, _?): throw reader.error(Keys.period, "needs max-bytes=N", remedy: "give both or neither")
        case (let bytes?, let period?):
            let (milli, overflow) = bytes.multipliedReportingOverflow(by: 1000)
            guard !overflow, (64...1_000_000_000).contains(milli / period) else {
                throw reader.error(
                    Keys.maxBytes, "in \(period) ms is not a rate from 64 to 1000000000 bytes a second")
            }
            limit = Limit(bytes: bytes, period: period)
        }
        return EntropyDeviceSpec(id: try reader.id(Keys.id), source: source, limit: limit)
    }
}
