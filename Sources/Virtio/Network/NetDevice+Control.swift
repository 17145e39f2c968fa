import Backends
import Host

/// The commands of the control queue (virtio 1.2 section 5.1.6.5).
extension NetDevice {
    /// Executes the commands in the queue and answers each. A command that is unknown, too long, too short or not
    /// negotiated fails without effect.
    func processControl(_ queue: Virtqueue, _ context: DeviceContext) {
        while let chain = queue.next() {
            let isDone = execute(chain.readable, context)
            let hasAnswer = chain.writable.put(UInt8(isDone ? 0 : 1))
            queue.complete(chain.head, written: hasAnswer ? 1 : 0)
        }
    }

    private func execute(_ data: SliceList, _ context: DeviceContext) -> Bool {
        guard let first: UInt8 = data.take(), let second: UInt8 = data.take(),
            let command = NetworkCommand(rawValue: UInt16(first) << 8 | UInt16(second)),
            context.features.contains(command.feature)
        else { return false }
        switch command {
        case .promiscuous: return setMode(.promiscuous, data)
        case .allMulticast: return setMode(.allMulticast, data)
        case .allUnicast: return setMode(.allUnicast, data)
        case .noMulticast: return setMode(.noMulticast, data)
        case .noUnicast: return setMode(.noUnicast, data)
        case .noBroadcast: return setMode(.noBroadcast, data)
        case .setAddressTable: return setTables(data)
        case .setAddress:
            guard data.byteCount == Ethernet.addressSize else { return false }
            setAddress((0..<Ethernet.addressSize).map { _ in data.take() ?? 0 })
            return true
        case .addVLAN: return setVLAN(data, isWanted: true)
        case .deleteVLAN: return setVLAN(data, isWanted: false)
        case .setQueuePairs:
            guard data.byteCount == 2, let count: UInt16 = data.take(), count > 0, count <= tap.queues.count
            else { return false }
            return attempt { () throws(Errno) in try setQueuePairs(Int(count)) }
        case .setGuestOffloads:
            guard data.byteCount == 8, let bits: UInt64 = data.take() else { return false }
            let offloads = Features(rawValue: bits)
            guard offloads.isSubset(of: context.features.intersection(.netGuestOffloads)) else { return false }
            return attempt { () throws(Errno) in try setGuestOffloads(offloads) }
        }
    }

    private func setMode(_ mode: ReceiveFilter.Modes, _ data: SliceList) -> Bool {
        guard data.byteCount == 1, let isOn: UInt8 = data.take() else { return false }
        filter.set(mode, isOn != 0)
        return true
    }

    private func setVLAN(_ data: SliceList, isWanted: Bool) -> Bool {
        guard data.byteCount == 2, let number: UInt16 = data.take(), number < Ethernet.vlanCount else { return false }
        filter.setVLAN(number, isWanted: isWanted)
        return true
    }

    /// Reads a table of unicast addresses and one of multicast addresses, each after its number of entries. If one is
    /// malformed, the filter passes all addresses, since too many frames do less harm than too few.
    private func setTables(_ data: SliceList) -> Bool {
        guard setTable(data, multicast: false), setTable(data, multicast: true), data.isEmpty else {
            filter.beginTable(multicast: false, count: .max)
            filter.beginTable(multicast: true, count: .max)
            return false
        }
        return true
    }

    private func setTable(_ data: SliceList, multicast: Bool) -> Bool {
        guard let count: UInt32 = data.take(), Int(count) <= data.byteCount / Ethernet.addressSize else { return false }
        filter.beginTable(multicast: multicast, count: Int(count))
        for index in 0..<Int(count) {
            guard index < ReceiveFilter.tableSize else {
                return data.skip((Int(count) - index) * Ethernet.addressSize)
            }
            guard let low: UInt32 = data.take(), let high: UInt16 = data.take() else { return false }
            filter.setTable(multicast: multicast, index, UInt64(high) << 32 | UInt64(low))
        }
        return true
    }

    private func attempt(_ change: () throws(Errno) -> Void) -> Bool {
        do {
            try change()
            return true
        } catch {
            logLimit.write(.warn, id, "tap '\(tap.name)' refuses the driver's command: \(error)")
            return false
        }
    }
}
