package import EventLoop
import Host

/// The address spaces of one reactor: finds the device that owns an address and gives it the access.
///
/// An access that nobody owns, or that crosses a device's end, reads as all ones and is dropped when written.
package final class Bus: AccessServer {
    private struct Entry {
        let start: UInt64
        let end: UInt64
        let device: any BusDevice
    }

    private var memory: [Entry] = []
    private var ports: [Entry] = []
    private let onAction: (BusAction) -> Void

    /// - Parameter onAction: decides about what devices ask for; never called with `.none`.
    package init(onAction: @escaping (BusAction) -> Void) {
        self.onAction = onAction
    }

    /// Gives `device` the addresses from `start`, `count` of them; false if some belong to another device.
    package func attach(_ device: any BusDevice, _ space: BusAccess.Space, at start: UInt64, count: UInt64) -> Bool {
        let (end, overflow) = start.addingReportingOverflow(count)
        guard !overflow, count > 0 else { return false }
        var entries = space == .memory ? memory : ports
        guard !entries.contains(where: { $0.start < end && start < $0.end }) else { return false }
        entries.append(Entry(start: start, end: end, device: device))
        entries.sort { $0.start < $1.start }
        if space == .memory { memory = entries } else { ports = entries }
        return true
    }

    /// Takes away all addresses of `device`.
    package func detach(_ device: any BusDevice) {
        memory.removeAll { $0.device === device }
        ports.removeAll { $0.device === device }
    }

    override package func serve(_ access: inout BusAccess) {
        guard let entry = find(access) else {
            if !access.isWrite { access.value = UInt64.max >> (64 - 8 * UInt64(min(max(access.size, 1), 8))) }
            return
        }
        let offset = access.address - entry.start
        if access.isWrite {
            let action = entry.device.write(at: offset, size: Int(access.size), value: access.value)
            if action != .none { onAction(action) }
        } else {
            access.value = entry.device.read(at: offset, size: Int(access.size))
        }
    }

    private func find(_ access: BusAccess) -> Entry? {
        let entries = access.space == .memory ? memory : ports
        var low = 0
        var high = entries.count
        while low < high {
            let middle = (low + high) / 2
            if entries[middle].end <= access.address { low = middle + 1 } else { high = middle }
        }
        guard low < entries.count, access.address >= entries[low].start,
            UInt64(access.size) <= entries[low].end - access.address
        else { return nil }
        return entries[low]
    }
}
