import Host
package import Memory

/// What a chain must come to, worked out from the specification in the plainest way: a second opinion on the walk.
package struct ChainModel {
    package struct Entry {
        package var address: UInt64
        package var length: UInt32
        package var flags: UInt16
        package var next: UInt16

        package init(address: UInt64, length: UInt32, flags: UInt16, next: UInt16) {
            self.address = address
            self.length = length
            self.flags = flags
            self.next = next
        }

        package var isWritable: Bool { flags & 2 != 0 }
    }

    /// The buffers in order, without those that have no bytes; nil if the chain is not sound.
    package let buffers: [Entry]?

    /// - Parameters:
    ///   - table: the queue's descriptors.
    ///   - memory: where indirect tables are found.
    package init(head: UInt16, table: [Entry], memory: GuestMemory, allowsIndirect: Bool) {
        guard let order = Self.follow(head, table, memory, allowsIndirect) else {
            buffers = nil
            return
        }
        let found = order.filter { $0.length > 0 }
        let directions = found.map(\.isWritable)
        let isSound =
            found.allSatisfy { memory.slice(at: $0.address, count: UInt64($0.length)) != nil }
            && directions == directions.sorted { !$0 && $1 }
            && order.reduce(0) { $0 + UInt64($1.length) } <= UInt64(UInt32.max)
        buffers = isSound ? found : nil
    }

    /// How many bytes there are to read, or to write.
    package func byteCount(isWritable: Bool) -> Int {
        (buffers ?? []).filter { $0.isWritable == isWritable }.reduce(0) { $0 + Int($1.length) }
    }

    private static func follow(
        _ head: UInt16, _ table: [Entry], _ memory: GuestMemory, _ allowsIndirect: Bool
    ) -> [Entry]? {
        var order: [Entry] = []
        var current = table
        var isIndirect = false
        var index = Int(head)
        while order.count <= table.count, current.indices.contains(index) {
            let entry = current[index]
            if entry.flags & 4 == 0 {
                order.append(entry)
                if entry.flags & 1 == 0 { return order.count <= table.count ? order : nil }
                index = Int(entry.next)
            } else {
                guard allowsIndirect, !isIndirect, entry.flags & 1 == 0,
                    let inner = indirectTable(entry, memory), 1...table.count ~= inner.count
                else { return nil }
                isIndirect = true
                current = inner
                index = 0
            }
        }
        return nil
    }

    private static func indirectTable(_ entry: Entry, _ memory: GuestMemory) -> [Entry]? {
        guard entry.length % 16 == 0, let slice = memory.slice(at: entry.address, count: UInt64(entry.length)) else {
            return nil
        }
        return (0..<slice.count / 16).map { index in
            Entry(
                address: slice.load(at: 16 * index) ?? 0, length: slice.load(at: 16 * index + 8) ?? 0,
                flags: slice.load(at: 16 * index + 12) ?? 0, next: slice.load(at: 16 * index + 14) ?? 0)
        }
    }
}
