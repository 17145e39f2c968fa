/// `virtio-balloon-device`: takes memory from the guest and gives it back (virtio 1.2, section 5.5).
package struct BalloonDeviceSpec: Equatable, Sendable {
    /// How the balloon moves by itself.
    package struct Automatic: Equatable, Sendable {
        /// How much the guest is left beyond what it needs, 20 to 80 per cent of that.
        package let bufferPercent: Int
        /// Seconds between two looks, 5 to 300.
        package let interval: Int
    }

    package let id: String?
    /// Whether the guest may take memory back when it runs out.
    package let deflatesOnOutOfMemory: Bool
    /// Whether the guest reports pages that it doesn't use.
    package let reportsFreePages: Bool
    /// Nil if the balloon moves on command only.
    package let automatic: Automatic?
}

extension BalloonDeviceSpec {
    private enum Keys {
        static let id = OptionKey("id", .deviceID, "its name")
        static let deflateOnOOM = OptionKey(
            "deflate-on-oom", .trueFalse, .standard("false"), "the guest takes memory back when it runs out")
        static let freePageReporting = OptionKey(
            "free-page-reporting", .trueFalse, .standard("false"), "the guest reports pages that it doesn't use")
        static let autoBalloon = OptionKey(
            "auto-balloon", .trueFalse, .standard("false"), "the balloon follows what the guest needs")
        static let membufPercent = OptionKey(
            "membuf-percent", ValueType<Int>.number("a share in per cent", 20...80), .standard("50"),
            "auto-balloon: the buffer, in per cent of what the guest needs, 20 to 80")
        static let monitorInterval = OptionKey(
            "monitor-interval", ValueType<Int>.number("a number of seconds", 5...300), .standard("10"),
            "auto-balloon: seconds between two looks, 5 to 300")
    }

    static let keys = [
        Keys.id.description, Keys.deflateOnOOM.description, Keys.freePageReporting.description,
        Keys.autoBalloon.description, Keys.membufPercent.description, Keys.monitorInterval.description,
    ]

    static func decode(_ reader: KeyReader) throws(OptionError) -> BalloonDeviceSpec {
        var automatic: Automatic?
        if try reader.value(Keys.autoBalloon) {
            automatic = Automatic(
                bufferPercent: try reader.value(Keys.membufPercent), interval: try reader.value(Keys.monitorInterval))
        }
        return BalloonDeviceSpec(
            id: try reader.id(Keys.id), deflatesOnOutOfMemory: try reader.value(Keys.deflateOnOOM),
            reportsFreePages: try reader.value(Keys.freePageReporting), automatic: automatic)
    }
}
