package import Backends
import Host

/// A console device (virtio 1.2 section 5.3): a bus of up to 31 ports, each of them a console or a data channel.
///
/// A driver without the multiport feature uses port 0 alone.
package final class ConsoleDevice: VirtioDevice {
    /// A port and its host end.
    package struct Port {
        /// 0 to 30, each once.
        package let number: Int
        /// The name by which programs in the guest find it; empty for none.
        package let name: String
        package let isConsole: Bool
        package let chardev: Chardev

        package init(number: Int, name: String, isConsole: Bool, chardev: Chardev) {
            self.number = number
            self.name = name
            self.isConsole = isConsole
            self.chardev = chardev
        }
    }

    /// The most ports of one device.
    package static let mostPorts = 31

    /// By their numbers.
    private var ports: [ConsolePort?] = []
    private var context: DeviceContext?
    private var logLimit = LogLimit()
    private let emergencyCharacter = IOBuffer(capacity: 1)

    private static let emergencyWriteOffset = 8

    /// - Parameters:
    ///   - id: the device's name in the log.
    ///   - ports: in any order; this device becomes the front end of each chardev. The driver prepares every number up
    ///     to the highest one, and each takes time.
    package init(id: String, ports: [Port]) {
        let highest = ports.map(\.number).max() ?? 0
        let count = min(max(highest, 0) + 1, Self.mostPorts)
        var config = ConfigSpace(size: 12)
        config.set(UInt32(truncatingIfNeeded: count), at: 4)
        super.init(
            id: id, type: .console, features: [.splitRing, .consoleMultiport, .consoleEmergencyWrite],
            queueSizes: ConsoleQueues.sizes(ports: count), config: config)
        self.ports = [ConsolePort?](repeating: nil, count: count)
        for port in ports where self.ports.indices.contains(port.number) {
            self.ports[port.number] = ConsolePort(port, owner: self)
        }
    }

    // MARK: Life

    override package func activate(_ context: DeviceContext) {
        self.context = context
        for port in ports { port?.activate(context) }
    }

    override package func reset() {
        context = nil
        for port in ports { port?.reset() }
    }

    override package func writeConfig(at offset: Int, size: Int, value: UInt64) {
        guard offset == Self.emergencyWriteOffset, let console = ports[0], console.isConsole else { return }
        emergencyCharacter.all.store(UInt8(truncatingIfNeeded: value), at: 0)
        console.emergencyWrite(emergencyCharacter.all)
    }

    override package var deviceState: DeviceState {
        .console(State(ports: ports.compactMap { $0?.state }))
    }

    /// Takes over a saved state, and announces host ends that differ from it.
    override package func restore(_ state: DeviceState) throws(StateError) {
        guard case .console(let state) = state else { throw .otherType }
        let present = ports.compactMap(\.self)
        guard present.count == state.ports.count else {
            throw StateError("the device has \(present.count) ports, and the saved one had \(state.ports.count)")
        }
        for (port, saved) in zip(present, state.ports) { try port.check(saved) }
        for (port, saved) in zip(present, state.ports) { port.restore(saved) }
    }

    // MARK: Queues

    override package func process(_ queue: Virtqueue) {
        guard let context else { return }
        switch queue.index {
        case ConsoleQueues.controlToDriver: announce(queue)
        case ConsoleQueues.controlToDevice: takeControl(queue, context)
        default: transfer(queue, context)
        }
    }

    private func transfer(_ queue: Virtqueue, _ context: DeviceContext) {
        let number = queue.index < 2 ? 0 : (queue.index - 2) / 2
        let port = ports.indices.contains(number) ? ports[number] : nil
        let isOutput = queue.index == ConsoleQueues.output(ofPort: number)
        switch (port, isOutput) {
        case (let port?, true): port.transmit(queue, context)
        case (let port?, false): port.resumeInput()
        case (nil, true): while let chain = queue.next() { queue.complete(chain.head, written: 0) }
        case (nil, false): break
        }
    }

    // MARK: Control messages

    /// Sends pending control messages, as far as the driver has offered buffers.
    private func announce(_ queue: Virtqueue) {
        for port in ports {
            guard let port else { continue }
            while !port.announcements.isEmpty, let chain = queue.next() {
                guard chain.writable.byteCount >= ConsoleControl.size else {
                    logLimit.write(
                        .warn, id, "a buffer for control messages has \(chain.writable.byteCount) bytes, too few")
                    queue.complete(chain.head, written: 0)
                    continue
                }
                let room = chain.writable.byteCount
                if let message = port.takeAnnouncement(), message.put(into: chain.writable),
                    message.event == .portName
                {
                    for byte in port.name where !chain.writable.put(byte) { break }
                }
                queue.complete(chain.head, written: UInt32(truncatingIfNeeded: room - chain.writable.byteCount))
            }
        }
    }

    /// Sends a port's new control messages.
    func announcementsChanged() {
        guard let context, let queue = context.queue(ConsoleQueues.controlToDriver) else { return }
        context.resume(queue)
    }

    private func takeControl(_ queue: Virtqueue, _ context: DeviceContext) {
        while let chain = queue.next() {
            let length = chain.readable.byteCount
            if let message = ConsoleControl(taking: chain.readable) {
                obey(message)
            } else {
                logLimit.write(.warn, id, "a control message has \(length) bytes, too few")
            }
            queue.complete(chain.head, written: 0)
        }
        if let queue = context.queue(ConsoleQueues.controlToDriver) { announce(queue) }
    }

    private func obey(_ message: ConsoleControl) {
        if message.event == .deviceReady {
            // This message names no port.
            if message.value == 1 {
                for port in ports { port?.announce() }
            } else {
                logLimit.write(.warn, id, "the driver cannot serve the device")
            }
            return
        }
        guard let number = Int(exactly: message.port), ports.indices.contains(number), let port = ports[number] else {
            logLimit.write(.warn, id, "a control message names port \(message.port), which does not exist")
            return
        }
        switch message.event {
        case .portReady:
            if message.value != 1 { logLimit.write(.warn, id, "the driver cannot serve port \(number)") }
            port.setReady(message.value == 1)
        case .portOpen: port.setGuestOpen(message.value != 0)
        default: logLimit.write(.warn, id, "control message \(message.event.rawValue) is not for a device")
        }
    }
}
