import Bus
import Host
import Options

/// What `query-mem` writes into the log: where memory, devices and ports are in the guest's address space.
struct AddressSpaceLog {
    private let memorySize: UInt64
    private let layout: BoardLayout
    private let bus: SystemBus

    init(_ options: LaunchOptions, _ layout: BoardLayout, _ bus: SystemBus) {
        memorySize = options.memoryBackend.size
        self.layout = layout
        self.bus = bus
    }

    /// - Parameters:
    ///   - reports: of all devices behind registers, by slot.
    ///   - inventory: tells devices from what keeps a slot for one.
    func write(_ reports: [DeviceReport], _ inventory: Inventory) {
        Log.info("machine", "address space: \(memorySize >> 20) MiB of memory from 0x0 on")
        for report in reports {
            let address = String(layout.virtio.addresses(ofSlot: report.slot).start, radix: 16)
            let device = inventory.device(report.id) == nil ? "spare" : report.id
            Log.info("machine", "address space: 0x\(address) slot \(report.slot): \(device)")
        }
        let ports = bus.snapshot.ranges(of: .ports).map { "\($0.addresses)" }
        Log.info("machine", "address space: ports \(ports.joined(separator: ", "))")
    }
}
