import Memory

/// What the driver has written about one queue (virtio 1.2 section 4.2.2: `QueueNum` to `QueueDevice`).
struct QueueSetup {
    var size: UInt32 = 0
    var descriptorTable: UInt64 = 0
    var availableRing: UInt64 = 0
    var usedRing: UInt64 = 0
    /// Checked and translated when the driver declares it ready; what is above cannot change until it is not.
    var queue: Virtqueue?
    /// The driver took it out of use again.
    var isDisabled = false
    /// The driver declared it ready, but it cannot work.
    var isRefused = false

    subscript(part: QueueLayout.Part) -> UInt64 {
        get {
            switch part {
            case .descriptorTable: descriptorTable
            case .availableRing: availableRing
            case .usedRing: usedRing
            }
        }
        set {
            switch part {
            case .descriptorTable: descriptorTable = newValue
            case .availableRing: availableRing = newValue
            case .usedRing: usedRing = newValue
            }
        }
    }

    /// The queue as the driver wants it.
    func makeQueue(
        _ index: Int, maximumSize: UInt16, features: Features, memory: GuestMemory
    ) throws(QueueError) -> Virtqueue {
        guard let size = UInt16(exactly: size) else { throw .size(size, maximum: maximumSize) }
        let layout = QueueLayout(
            size: size, descriptorTable: GuestAddress(descriptorTable), availableRing: GuestAddress(availableRing),
            usedRing: GuestAddress(usedRing))
        return try Virtqueue(
            index: index, layout: layout, maximumSize: maximumSize, features: features, memory: memory)
    }
}

/// The queues of a device by number. A number that the driver wrote is checked here, and nowhere else.
struct QueueTable {
    private(set) var all: [QueueSetup] = []

    /// - Parameter count: how many the device has.
    init(count: Int) {
        resize(count)
    }

    /// Nil for a queue that the device does not have; one cannot be added by setting it.
    subscript(index: Int) -> QueueSetup? {
        get { all.indices.contains(index) ? all[index] : nil }
        set { if all.indices.contains(index), let newValue { all[index] = newValue } }
    }

    /// Adds queues that no driver has set up, or drops the last ones.
    mutating func resize(_ count: Int) {
        if all.count > count { all.removeLast(all.count - count) }
        while all.count < count { all.append(QueueSetup()) }
    }

    /// The queues that are ready, each at its number.
    var queues: [Virtqueue?] { all.map(\.queue) }

    /// What the driver has set up.
    var limits: QueueLimits {
        QueueLimits(
            count: (all.lastIndex { $0.queue != nil } ?? -1) + 1,
            size: all.lazy.compactMap { $0.queue?.size }.max() ?? 0)
    }

    /// The first queue that was refused.
    var refused: Int? { all.firstIndex(where: \.isRefused) }
}
