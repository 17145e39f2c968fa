import Bus

/// APIC IDs of the vCPUs and the I/O APIC. 255 is the broadcast ID.
struct APICIdentifiers: Equatable {
    /// The vCPUs' APIC IDs, the bootstrap processor's first.
    let processors: [UInt8]
    /// The I/O APIC's ID: one above the highest vCPU's, or else the first free one.
    let ioAPIC: UInt8

    /// - Throws: if there are no vCPUs or more than the board allows, or two vCPUs have one APIC ID.
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
