import EventLoop
import Host
import Synchronization

/// The bus of a board: its address map, and the mailboxes through which its vCPUs reach devices.
///
/// Changes take a lock, accesses take none: a change publishes a whole new map and then counts it, and a vCPU's thread
/// keeps the map it has until the count differs.
package final class SystemBus: Sendable {
    let mailboxes: [ExitMailbox]
    private let map = Mutex(AddressMap())
    private let changes = Atomic<UInt64>(0)
    private let cells = Atomic<UInt64>(0)

    /// A bus with nothing at any address.
    ///
    /// - Parameters:
    ///   - vcpus: how many vCPUs there are, at most `ReactorHandle.maximumCallers`.
    ///   - maySpin: whether a vCPU's thread may look for its answer for a while before it sleeps.
    package init(vcpus: Int, maySpin: Bool = HostThread.availableCPUs > 1) {
        mailboxes = (0..<min(max(vcpus, 0), ReactorHandle.maximumCallers)).map {
            ExitMailbox(caller: $0, maySpin: maySpin)
        }
    }

    /// The map as it is now.
    package var snapshot: AddressMap { map.withLock { $0 } }

    /// Adds a range; false if it overlaps another one.
    package func insert(_ range: BusRange) -> Bool { change { $0.insert(range) } }

    /// Takes a range away.
    package func remove(_ range: BusRange) {
        change { map in
            map.remove(range)
            return true
        }
    }

    /// Lets what is at `range` answer from `start` on, in one change; nil if it would overlap another range there.
    package func move(_ range: BusRange, to start: UInt64) -> BusRange? {
        let moved = range.moved(to: start)
        let isMoved = change { map in
            map.remove(range)
            return map.insert(moved)
        }
        return isMoved ? moved : nil
    }

    @discardableResult
    private func change(_ body: (inout AddressMap) -> Bool) -> Bool {
        map.withLock { map in
            var changed = map
            guard body(&changed) else { return false }
            map = changed
            changes.wrappingAdd(1, ordering: .releasing)
            return true
        }
    }

    /// A cell for a device that is attached to this bus.
    func makeCell(_ device: any BusDevice, owner: ReactorHandle) -> DeviceCell {
        DeviceCell(device, owner: owner, number: cells.wrappingAdd(1, ordering: .relaxed).newValue)
    }

    /// One thread's own copy of the map.
    struct Reader {
        private let bus: SystemBus
        private var seen: UInt64
        private(set) var map: AddressMap

        init(_ bus: SystemBus) {
            self.bus = bus
            (map, seen) = bus.counted
        }

        /// Follows the changes that were made since; without a lock if there were none.
        mutating func refresh() {
            if bus.changes.load(ordering: .acquiring) != seen { (map, seen) = bus.counted }
        }
    }

    private var counted: (AddressMap, UInt64) {
        map.withLock { ($0, changes.load(ordering: .relaxed)) }
    }
}
