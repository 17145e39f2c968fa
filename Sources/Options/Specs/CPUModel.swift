/// `-cpu`: the model, which is always the host's. Its features exist on AArch64 only; x86-64 accepts them without
/// effect, as QEMU's clients send them to every machine.
enum CPUModel {
    private enum Keys {
        static let model = OptionKey("model", .cpuModel, .required, "the CPU model; host is the one there is")
        static let pmu = OptionKey(
            "pmu", .strictOnOff, .standard("off"), "performance monitoring unit (AArch64)")
        static let sve = OptionKey("sve", .strictOnOff, .standard("off"), "Scalable Vector Extension (AArch64)")
        static let stealTime = OptionKey(
            "kvm-steal-time", .strictOnOff, .standard("off"), "report the time that vCPUs waited (AArch64)")
    }

    /// What `-help` tells about the keys.
    static let keys = [Keys.model.description, Keys.pmu.description, Keys.sve.description, Keys.stealTime.description]

    /// Checks the value of `-cpu`.
    static func check(_ text: String) throws(OptionError) {
        let list = try KeyValueList(option: "-cpu", firstKey: "model", parsing: text)
        let reader = try KeyReader(list, keys: keys)
        _ = try reader.value(Keys.model)
        for feature in [Keys.pmu, Keys.sve, Keys.stealTime] { _ = try reader.value(feature) }
    }
}

extension ValueType where Value == String {
    fileprivate static let cpuModel = ValueType(
        placeholder: "host", expectation: "a CPU model; host is the one that is supported"
    ) {
        $0 == "host" ? $0 : nil
    }
}
