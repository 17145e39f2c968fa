import Bus

/// Who answers to which identifier on the APICs' bus. 255 means all of them and is nobody's.
struct APICIdentifiers: Equatable {
    /// The processors', the boot processor's first.
    let processors: [UInt8]
    /// The I/O APIC's: the one after the processors', or else the first that is free.
    let ioAPIC: UInt8

    /// - Throws: if there are more processors than the board can have, or two have one identifier.
    init(_ plan: BootPlan) throws(BootError) {
        let most = plan.layout.limits.vcpus
        guard plan.cpuCount >= 1, plan.cpuCount <= most else {
            throw BootError(place: "-smp", field: "cpus", problem: "is \(plan.cpuCount), not 1 to \(most)")
        }
        processors = plan.apicIDs.isEmpty ? Array(0..<UInt8(truncatingIfNeeded: plan.cpuCount)) : plan.apicIDs
        let taken = Set(processors)
        let next = (processors.max() ?? 0).addingReportingOverflow(1).partialValue
        guard processors.count == plan.cpuCount, taken.count == processors.count, !taken.contains(255),
            let free = next < 255 ? next : (0...254).first(where: { !taken.contains($0) })
        else {
            throw BootError(place: "-smp", field: "topology", problem: "gives no APIC identifier to each of the CPUs")
        }
        ioAPIC = free
    }
}
