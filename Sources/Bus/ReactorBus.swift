package import EventLoop

/// One reactor's end of the bus: attaches the devices that live on its thread, and gives them their accesses.
package final class ReactorBus: CallServer {
    private let bus: SystemBus
    private let owner: ReactorHandle
    private let onAction: (BusAction) -> Void
    // Those of this reactor's devices.
    private var ranges: [BusRange] = []
    // Their cells that take posted writes.
    private var posted: [DeviceCell] = []

    /// Serves the vCPUs of `bus` on the reactor, which belongs to the calling thread.
    ///
    /// - Parameter onAction: decides about what devices ask for; never called with `.none`.
    package init(_ reactor: Reactor, _ bus: SystemBus, onAction: @escaping (BusAction) -> Void) {
        self.bus = bus
        self.onAction = onAction
        owner = reactor.handle
        super.init()
        reactor.serve(with: self)
    }

    // MARK: Attaching

    /// Gives the addresses to `device`, which lives on this reactor.
    ///
    /// - Parameters:
    ///   - published: the registers that vCPU threads read and acknowledge themselves.
    ///   - postsFirst: whether a vCPU need not wait when it writes one byte to the first address.
    /// - Returns: false if some addresses belong to another device.
    package func attach(
        _ device: any BusDevice, at addresses: AddressRange, published: PublishedRegisters? = nil,
        postsFirst: Bool = false
    ) -> Bool {
        let cell = bus.makeCell(device, owner: owner)
        let range = BusRange(addresses, cell, published: published, postsFirst: postsFirst)
        // Before a vCPU can find it.
        if postsFirst { posted.append(cell) }
        guard bus.insert(range) else {
            posted.removeAll { $0 === cell }
            return false
        }
        ranges.append(range)
        return true
    }

    /// Takes away all addresses of `device`. Accesses that are on their way read all ones.
    package func detach(_ device: any BusDevice) {
        for range in ranges where range.cell?.device === device {
            bus.remove(range)
            posted.removeAll { $0 === range.cell }
            range.cell?.empty()
        }
        ranges.removeAll { $0.cell?.device == nil }
    }

    /// Moves the device's range that begins at `old` to `start`; false if it has none there, or `start` is occupied.
    package func move(_ device: any BusDevice, from old: AddressRange, to start: UInt64) -> Bool {
        guard let index = ranges.firstIndex(where: { $0.addresses == old && $0.cell?.device === device }),
            let moved = bus.move(ranges[index], to: start)
        else { return false }
        ranges[index] = moved
        return true
    }

    // MARK: Accesses

    override package func serve(caller: Int) {
        guard bus.mailboxes.indices.contains(caller) else { return }
        bus.mailboxes[caller].serve(by: self)
    }

    override package func takePosted(_ word: UInt64) {
        let (number, byte) = DeviceCell.posted(word)
        guard let cell = posted.first(where: { $0.number == number }) else { return }
        var access = BusAccess(isWrite: true, size: 1, offset: 0, value: UInt64(byte))
        perform(&access, on: cell)
    }

    /// Gives the device in `cell` an access; without a device it reads all ones, or is dropped.
    package func perform(_ access: inout BusAccess, on cell: DeviceCell) {
        guard let device = cell.device else { return access.floatHigh() }
        if access.isWrite {
            let action = device.write(at: access.offset, size: Int(access.size), value: access.value)
            if action != .none { onAction(action) }
        } else {
            access.value = device.read(at: access.offset, size: Int(access.size))
        }
    }
}
