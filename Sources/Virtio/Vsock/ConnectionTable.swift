import EventLoop
import Host

/// The connections of a device: their slots, their sockets, and the ports by which they are found.
final class ConnectionTable {
    /// Ports of connections that the host begins; programs do not listen on these.
    static let hostPorts: ClosedRange<UInt32> = 1 << 30...(1 << 31) - 1

    /// How many slots there are.
    let capacity: Int
    private let slots: FixedTable<VsockConnection>
    private let directory: ConnectionDirectory
    private var free: SlotQueue
    private var used = 0
    private var port = ConnectionTable.hostPorts.lowerBound

    /// - Parameter capacity: the most connections at a time.
    init(capacity: Int) {
        self.capacity = capacity
        slots = FixedTable(repeating: VsockConnection(), count: capacity)
        directory = ConnectionDirectory(capacity: capacity)
        free = SlotQueue(allOf: capacity)
    }

    deinit {
        for slot in 0..<capacity { closeSocket(slot) }
    }

    /// The connection in a slot.
    subscript(slot: Int) -> VsockConnection {
        get { slots[slot] }
        _modify { yield &slots[slot] }
    }

    /// How many connections there are, in whatever phase.
    var count: Int { used }

    /// Whether all slots are in use.
    var isFull: Bool { free.isEmpty }

    /// The socket of a connection, which has one.
    func file(_ slot: Int) -> IOFile { IOFile(descriptor: slots[slot].socket) }

    /// The slot of the connection with these ports; nil if there is none.
    func find(_ ports: VsockPorts) -> Int? { directory.find(ports) }

    // MARK: Beginnings

    /// Takes a slot for a program on the host that has connected; nil if all are in use, and then `client` is closed.
    func open(fromHost client: consuming FileDescriptor) -> Int? {
        guard let slot = take() else { return nil }
        slots[slot] = VsockConnection(fromHost: client.release(), window: window)
        return slot
    }

    /// Takes a slot for a connection that the guest requests; nil if all are in use.
    func open(fromGuest ports: VsockPorts, _ request: VsockHeader) -> Int? {
        guard let slot = take() else { return nil }
        slots[slot] = VsockConnection(fromGuest: ports, request, window: window)
        directory.insert(slot, ports)
        return slot
    }

    /// Has a connection that the host began request a port of the guest.
    ///
    /// - Returns: false if no port of the host is free for it.
    func request(_ slot: Int, guestPort: UInt32) -> Bool {
        guard let ports = choosePorts(guest: guestPort) else { return false }
        slots[slot].request(ports)
        directory.insert(slot, ports)
        return true
    }

    private func take() -> Int? {
        guard let slot = free.takeFirst() else { return nil }
        used += 1
        return slot
    }

    /// The buffer promised to the newest connection [bytes]: generous to a few, so that together they stay modest.
    private var window: UInt32 { used <= 64 ? 256 << 10 : 64 << 10 }

    // MARK: Ports

    /// The port of the host that the next connection gets, unless it is in use.
    var nextPort: UInt32 {
        get { port }
        set { if Self.hostPorts.contains(newValue) { port = newValue } }
    }

    /// A port of the host that no connection with this port of the guest has.
    private func choosePorts(guest: UInt32) -> VsockPorts? {
        for _ in 0...capacity {
            let ports = VsockPorts(guest: guest, host: port)
            port = port < Self.hostPorts.upperBound ? port + 1 : Self.hostPorts.lowerBound
            if directory.find(ports) == nil { return ports }
        }
        return nil
    }

    // MARK: Ends

    /// A slot that only waits for the guest's confirmation, if all are in use.
    var evictable: Int? {
        guard free.isEmpty else { return nil }
        return (0..<capacity).first { slots[$0].phase == .ending && slots[$0].socket < 0 }
    }

    /// Leaves a connection's ports to others.
    func forgetPorts(_ slot: Int) { directory.remove(slot) }

    /// Closes a connection's socket, if it has one.
    func closeSocket(_ slot: Int) {
        let socket = slots[slot].takeSocket()
        if socket >= 0 { _ = FileDescriptor(owning: socket) }
    }

    /// Frees a slot that no operation uses, and whose ports were forgotten.
    func release(_ slot: Int) {
        closeSocket(slot)
        slots[slot] = VsockConnection()
        free.append(slot)
        used -= 1
    }
}
