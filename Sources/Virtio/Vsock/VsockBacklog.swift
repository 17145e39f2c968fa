import Host

/// The guest's data that waits in the device for a slow reader on the host: a ring over memory that `TxPath` keeps.
struct VsockBacklog: BitwiseCopyable {
    private var memory: HostSlice?
    private var start = 0
    private(set) var count = 0

    /// Whether it has memory.
    var isReady: Bool { memory != nil }

    /// Gives it memory; once.
    mutating func use(_ memory: HostSlice) {
        self.memory = memory
    }

    /// Adds bytes at the end; what does not fit is left out, which credit prevents.
    mutating func append(_ bytes: HostSlice) {
        guard let memory else { return }
        var rest = bytes.prefix(memory.count - count)
        while rest.count > 0 {
            let end = (start + count) % memory.count
            let copied = memory.dropFirst(end).copy(from: rest)
            rest = rest.dropFirst(copied)
            count += copied
        }
    }

    /// The oldest bytes, as far as they lie in one piece; nil if there are none.
    var front: HostSlice? {
        guard count > 0, let memory else { return nil }
        return memory.dropFirst(start).prefix(count)
    }

    /// Drops the oldest `length` bytes.
    mutating func drop(_ length: Int) {
        guard let memory else { return }
        let dropped = min(length, count)
        count -= dropped
        start = count == 0 ? 0 : (start + dropped) % memory.count
    }
}
