/// `-cpu`: the model, which is always the host's, and what is added to it. The features exist on AArch64 only; x86-64
/// accepts them without effect.
package struct CPUSpec: Equatable, Sendable {
    /// A performance monitoring unit for the guest.
    package let hasPMU: Bool
    /// The Scalable Vector Extension.
    package let hasSVE: Bool
    /// Tells the guest how long its vCPUs waited for a host CPU.
    package let reportsStealTime: Bool

    /// What holds without `-cpu`.
    package static let host = CPUSpec(hasPMU: false, hasSVE: false, reportsStealTime: false)
}

extension CPUSpec {
    private enum Keys {
        static let model = OptionKey("model", .cpuModel, .required, "the CPU model; host is the one there is")
        static let pmu = OptionKey(
            "pmu", .strictOnOff, .standard("off"), "performance monitoring unit (AArch64)")
        static let sve = OptionKey("sve", .strictOnOff, .standard("off"), "Scalable Vector Extension (AArch64)")
        static let stealTime = OptionKey(
            "kvm-steal-time", .strictOnOff, .standard("off"), "report the time that vCPUs waited (AArch64)")
    }

    static let keys = [Keys.model.description, Keys.pmu.description, Keys.sve.description, Keys.stealTime.description]

    /// Reads the value of `-cpu`.
    package static func parse(_ text: String) throws(OptionError) -> CPUSpec {
        let list = try KeyValueList(option: "-cpu", firstKey: "model", parsing: text)
        let reader = try KeyReader(list, keys: keys)
        _ = try reader.value(Keys.model)
        return CPUSpec(
            hasPMU: try reader.value(Keys.pmu), hasSVE: try reader.value(Keys.sve),
            reportsStealTime: try reader.value(Keys.stealTime))
    }
}

extension ValueType where Value == String {
    fileprivate static let cpuModel = ValueType(
        placeholder: "host", expectation: "a CPU model; host is the one that is supported"
    ) {
        $0 == "host" ? $0 : nil
    }
}
