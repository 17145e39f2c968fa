import Backends
import Host

/// A port of a console device: carries characters between two queues and a chardev.
///
/// A console never keeps its guest waiting, since a kernel that prints does so with a CPU that can do nothing else
/// meanwhile: what a slow reader cannot take is forgotten, the oldest first. Any other port is a channel for data: its
/// guest waits for the reader, and nothing is lost as long as there is one.
final class ConsolePort {
    let number: Int
    let name: [UInt8]
    let isConsole: Bool
    private let chardev: Chardev
    private weak var owner: ConsoleDevice?
    private var context: DeviceContext?
    /// Taken from the driver, and not sent to its end.
    private var chain: DescriptorChain?
    /// The driver has opened its end.
    private(set) var isGuestOpen = false
    private var isHostOpen = false
    /// The driver knows of the port, and listens to what is said of it.
    private var isReady = false
    /// What the driver shall be told. It is a set: a driver that asks for more than it takes gets each thing once.
    private(set) var announcements: Announcements = []

    /// Control messages that wait for the driver's buffers, in the order in which they are sent.
    struct Announcements: OptionSet {
        let rawValue: UInt8

        static let added = Announcements(rawValue: 1)
        static let console = Announcements(rawValue: 2)
        static let name = Announcements(rawValue: 4)
        /// Before `opened`, so that a guest learns of the end of one client though the next is there already.
        static let closed = Announcements(rawValue: 8)
        static let opened = Announcements(rawValue: 16)
    }

    /// How many bytes of one port are copied in one turn, so that others get their turn too.
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

    /// The driver is there; one that knows no control messages has opened its end with that.
    func activate(_ context: DeviceContext) {
        self.context = context
        isGuestOpen = !context.features.contains(.consoleMultiport)
    }

    func reset() {
        context = nil
        chain = nil
        isGuestOpen = false
        isReady = false
        announcements = []
    }

    /// The driver wants to know which ports there are.
    func announce() {
        announcements.insert(.added)
    }

    /// The driver is ready for the port, or cannot serve it.
    func setReady(_ isReady: Bool) {
        self.isReady = isReady
        announcements = []
        guard isReady else { return }
        if isConsole { announcements.insert(.console) }
        if !name.isEmpty { announcements.insert(.name) }
        if isConsole || isHostOpen { announcements.insert(.opened) }
    }

    /// The driver has opened its end, or closed it.
    func setGuestOpen(_ isOpen: Bool) {
        isGuestOpen = isOpen
        if isOpen { chardev.resumeReceiving() }
    }

    /// Takes the next of what the driver shall be told.
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

    // MARK: Output

    /// Sends what the driver has written, as much as there is room for at the host's end.
    func transmit(_ queue: Virtqueue, _ context: DeviceContext) {
        var quota = Self.bytesPerTurn
        while let chain = self.chain ?? queue.next() {
            self.chain = chain
            while isHostOpen || isConsole, !chain.readable.isEmpty {
                let room = isConsole ? quota : min(quota, chardev.room)
                guard let piece = chain.readable.takePiece(upTo: room) else {
                    // Goes on in the next turn; or else when output has left, and there is room again.
                    if quota == 0 { context.resume(queue) }
                    return
                }
                chardev.send(piece)
                quota -= piece.count
            }
            // Nobody at the host's end: what was on its way is lost, as on any connection that breaks.
            self.chain = nil
            queue.complete(chain.head, written: 0)
        }
    }

    /// Writes a character that came without a queue.
    func emergencyWrite(_ character: HostSlice) {
        chardev.send(character)
    }

    // MARK: Input

    /// There are buffers for input again.
    func resumeInput() {
        chardev.resumeReceiving()
    }
}

extension ConsolePort: ChardevFrontend {
    /// A console is always there; another port only while a program in the guest has opened it.
    var isOpen: Bool { isConsole || isGuestOpen }

    func receive(_ bytes: HostSlice) -> Int {
        // What comes before a program has opened the port would be thrown away by the driver.
        guard isGuestOpen, let context, let queue = context.queue(ConsoleQueues.input(ofPort: number)) else { return 0 }
        var rest = bytes
        var isUsed = false
        while rest.count > 0, let chain = queue.next() {
            let taken = chain.writable.copy(from: rest)
            queue.complete(chain.head, written: UInt32(truncatingIfNeeded: taken))
            rest = rest.dropFirst(taken)
            isUsed = true
        }
        // This is no turn of the device's: it needs one to tell the driver.
        if isUsed { context.resume(queue) }
        return bytes.count - rest.count
    }

    func hostEndChanged(isOpen: Bool) {
        isHostOpen = isOpen
        // A console's host end counts as open whether somebody looks at it or not.
        guard !isConsole else { return }
        if isReady {
            if isOpen {
                announcements.insert(.opened)
            } else {
                announcements.remove(.opened)
                announcements.insert(.closed)
            }
            owner?.announcementsChanged()
        }
        if !isOpen { outputLeft() }
    }

    func outputLeft() {
        guard chain != nil, let context, let queue = context.queue(ConsoleQueues.output(ofPort: number)) else { return }
        context.resume(queue)
    }
}
