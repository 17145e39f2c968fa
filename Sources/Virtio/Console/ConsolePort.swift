import Backends
import Host

/// A port of a console device: carries characters between two queues and a chardev.
///
/// A console never keeps its guest waiting, since a kernel that prints blocks its CPU: if the reader is slow, the
/// oldest output is dropped. Any other port is a data channel: the guest waits for the reader, and nothing is lost
/// while the host end is open.
final class ConsolePort {
    let number: Int
    let name: [UInt8]
    let isConsole: Bool
    private let chardev: Chardev
    private weak var owner: ConsoleDevice?
    private var context: DeviceContext?
    /// The output under way.
    private var chain: DescriptorChain?
    /// The bytes of it that the chardev has taken.
    private var taken: UInt32 = 0
    /// The output that a restored device continues.
    private var saved: ConsoleDevice.State.PartialOutput?
    /// Whether the driver has opened its end.
    private(set) var isGuestOpen = false
    private var isHostOpen = false
    /// Whether the driver has declared the port ready.
    private var isReady = false
    /// The pending control messages. It is a set: a driver that asks repeatedly gets each message once.
    private(set) var announcements: Announcements = []

    /// Control messages, in the order of sending.
    struct Announcements: OptionSet {
        let rawValue: UInt8

        static let added = Announcements(rawValue: 1)
        static let console = Announcements(rawValue: 2)
        static let name = Announcements(rawValue: 4)
        /// Before `opened`, so that the guest sees the end of one client even if the next has connected.
        static let closed = Announcements(rawValue: 8)
        static let opened = Announcements(rawValue: 16)
        static let all = Announcements(rawValue: 31)
    }

    /// The most bytes that one port copies in a turn, so that other ports get their share.
    static let bytesPerTurn = 128 << 10

    init(_ port: ConsoleDevice.Port, owner: ConsoleDevice) {
        number = port.number
        name = Array(port.name.utf8.prefix(255))
        isConsole = port.isConsole
        chardev = port.chardev
        self.owner = owner
        chardev.attach(self)
    }

    // MARK: The driver's progress

    /// Starts the port. A driver without control messages opens its end by that.
    func activate(_ context: DeviceContext) {
        self.context = context
        if !context.features.contains(.consoleMultiport) { isGuestOpen = true }
    }

    func reset() {
        if let chain { context?.queue(ConsoleQueues.output(ofPort: number))?.putBack(chain.head) }
        context = nil
        chain = nil
        saved = nil
        isGuestOpen = false
        isReady = false
        announcements = []
    }

    /// Announces the port to the driver.
    func announce() {
        announcements.insert(.added)
    }

    /// Notes whether the driver is ready for the port, and answers with the port's properties.
    func setReady(_ isReady: Bool) {
        self.isReady = isReady
        announcements = []
        guard isReady else { return }
        if isConsole { announcements.insert(.console) }
        if !name.isEmpty { announcements.insert(.name) }
        if isConsole || isHostOpen { announcements.insert(.opened) }
    }

    /// Notes whether the driver has opened its end.
    func setGuestOpen(_ isOpen: Bool) {
        isGuestOpen = isOpen
        if isOpen { chardev.resumeReceiving() }
    }

    /// Takes the next pending control message.
    func takeAnnouncement() -> ConsoleControl? {
        for (announcement, event, value) in [
            (Announcements.added, ConsoleEvent.portAdd, UInt16(1)), (.console, .consolePort, 1), (.name, .portName, 1),
            (.closed, .portOpen, 0), (.opened, .portOpen, 1),
        ] where announcements.contains(announcement) {
            announcements.remove(announcement)
            return ConsoleControl(port: UInt32(truncatingIfNeeded: number), event: event, value: value)
        }
        return nil
    }

    // MARK: State

    var state: ConsoleDevice.State.Port {
        ConsoleDevice.State.Port(
            number: number, name: name, isConsole: isConsole, isReady: isReady, isGuestOpen: isGuestOpen,
            isHostOpen: isHostOpen, announcements: announcements.rawValue,
            output: chain.map { ConsoleDevice.State.PartialOutput(head: $0.head, taken: taken) })
    }

    /// Throws for the state of another port, and for values that no port can have.
    func check(_ state: ConsoleDevice.State.Port) throws(StateError) {
        guard state.number == number, state.isConsole == isConsole, state.name == name else {
            throw StateError("port \(number) has another number, name or kind than the saved port \(state.number)")
        }
        guard Announcements(rawValue: state.announcements).isSubset(of: .all) else {
            throw StateError(
                "port \(number): the control messages 0x\(String(state.announcements, radix: 16)) have unknown bits")
        }
    }

    /// Takes over a state that was checked, and announces the host's end if it differs.
    func restore(_ state: ConsoleDevice.State.Port) {
        isReady = state.isReady
        isGuestOpen = state.isGuestOpen
        announcements = Announcements(rawValue: state.announcements)
        saved = state.output
        if isReady, !isConsole, state.isHostOpen != isHostOpen { announceHostEnd() }
    }

    // MARK: Output

    /// Sends the driver's output, as far as the host's end has room.
    func transmit(_ queue: Virtqueue, _ context: DeviceContext) {
        var quota = Self.bytesPerTurn
        while let chain = self.chain ?? nextOutput(queue) {
            while isHostOpen || isConsole, !chain.readable.isEmpty {
                let room = isConsole ? quota : min(quota, chardev.room)
                guard let piece = chain.readable.takePiece(upTo: room) else {
                    // Continue in the next turn, or when the chardev has room again.
                    if quota == 0 { context.resume(queue) }
                    return
                }
                chardev.send(piece)
                quota -= piece.count
                taken &+= UInt32(truncatingIfNeeded: piece.count)
            }
            // While the host's end is closed, output is lost as on any broken connection.
            self.chain = nil
            queue.complete(chain.head, written: 0)
        }
    }

    /// Takes the next chain of output, without the bytes that the chardev took before a restore.
    private func nextOutput(_ queue: Virtqueue) -> DescriptorChain? {
        guard let next = queue.next() else { return nil }
        chain = next
        taken = 0
        if let saved, saved.head == next.head {
            taken = UInt32(clamping: min(Int(saved.taken), next.readable.byteCount))
            next.readable.skip(Int(taken))
        }
        saved = nil
        return next
    }

    /// Writes a character that came without a queue.
    func emergencyWrite(_ character: HostSlice) {
        chardev.send(character)
    }

    // MARK: Input

    /// Lets input continue: the driver has offered buffers.
    func resumeInput() {
        chardev.resumeReceiving()
    }
}

extension ConsolePort: ChardevFrontend {
    /// A console is always open; another port only while a program in the guest has opened it.
    var isOpen: Bool { isConsole || isGuestOpen }

    func receive(_ bytes: HostSlice) -> Int {
        // Before a program opens the port, the driver would drop its input.
        guard isGuestOpen, let context, let queue = context.queue(ConsoleQueues.input(ofPort: number)) else { return 0 }
        var rest = bytes
        var isUsed = false
        while rest.count > 0, let chain = queue.next() {
            let taken = chain.writable.copy(from: rest)
            queue.complete(chain.head, written: UInt32(truncatingIfNeeded: taken))
            rest = rest.dropFirst(taken)
            isUsed = true
        }
        // Used buffers become visible in the device's own turn.
        if isUsed { context.resume(queue) }
        return bytes.count - rest.count
    }

    func hostEndChanged(isOpen: Bool) {
        isHostOpen = isOpen
        // The host end of a console always counts as open.
        guard !isConsole else { return }
        if isReady {
            announceHostEnd()
            owner?.announcementsChanged()
        }
        if !isOpen { outputLeft() }
    }

    private func announceHostEnd() {
        if isHostOpen {
            announcements.insert(.opened)
        } else {
            announcements.remove(.opened)
            announcements.insert(.closed)
        }
    }

    func outputLeft() {
        guard chain != nil, let context, let queue = context.queue(ConsoleQueues.output(ofPort: number)) else { return }
        context.resume(queue)
    }
}
