import EventLoop
import Host
import Memory
import TestSupport
import Virtio

/// Rings with any bytes in them, compared request by request with a second opinion on what they mean.
final class VirtqueueFuzz: FuzzSubject {
    private static let page = 4096
    private static let largest: UInt16 = 16

    private let memory: AttackedMemory
    private let device = ProbeDevice(queueSizes: [largest])
    private let driver: VirtioDriver
    private let before = MemoryImage(count: 3 * page)
    /// What the device may write.
    private var allowed: [HostSlice] = []
    private var offered: UInt16 = 0
    private var features: Features = []

    init() throws {
        memory = try AttackedMemory(low: Self.page, next: Self.page, high: Self.page)
        driver = try VirtioDriver(device, memory: memory.guest, reactor: try Reactor(name: "fuzz"), base: 0)
    }

    func fuzz(_ input: inout FuzzInput) throws {
        device.holdsRequests = false
        device.release()
        driver.write(.status, 0)
        memory.host.fill(0)
        features = input.pick([
            [.version1, .splitRing], .version1, [.version1, .ringIndirectDescriptors], [.version1, .ringEventIndex],
        ])
        let size = UInt16(1) << UInt16(input.below(5))
        device.holdsRequests = input.oneIn(4)
        try driver.negotiate(features)
        let layout = Self.layout(size: size, &input)
        driver.setUp(0, layout)
        guard driver.read(.queueReady) == 1 else {
            try expect(!Self.isSound(layout, memory.guest), "\(layout) was refused")
            return
        }
        driver.addStatus(.driverOK)
        offered = 0
        device.inspect = { [unowned self] queue, chain in try inspect(queue, chain) }
        device.inspectEmpty = { [unowned self] queue in try inspectEmpty(queue) }
        // The rings first, then some rounds of changes and kicks.
        write(input.take(16 * Int(size)), at: layout.descriptorTable.rawValue)
        for _ in 0..<6 where !input.isEmpty {
            for _ in 0..<input.below(8) { patch(layout, &input) }
            try serve(layout)
            if input.oneIn(2) { device.release(isReversed: input.oneIn(2)) }
        }
        try memory.checkFence()
    }

    /// Mostly where rings may be, sometimes anywhere.
    private static func layout(size: UInt16, _ input: inout FuzzInput) -> QueueLayout {
        var layout = QueueLayout(
            size: size, descriptorTable: GuestAddress(0), availableRing: GuestAddress(0x200),
            usedRing: GuestAddress(0x300))
        guard input.oneIn(8) else { return layout }
        func address(_ input: inout FuzzInput) -> GuestAddress {
            GuestAddress(
                input.oneIn(4) ? input.integer() : input.pick([0, 0x1000, 0x2000, 1 << 32]) + UInt64(input.byte()) * 16)
        }
        layout.descriptorTable = address(&input)
        layout.availableRing = address(&input)
        layout.usedRing = address(&input)
        return layout
    }

    private static func isSound(_ layout: QueueLayout, _ memory: GuestMemory) -> Bool {
        [QueueLayout.Part.descriptorTable, .availableRing, .usedRing].allSatisfy {
            let address = layout.address(of: $0).rawValue
            return address % $0.alignment == 0
                && memory.slice(at: address, count: UInt64($0.byteCount(layout.size))) != nil
        }
    }

    private func write(_ bytes: [UInt8], at address: UInt64) {
        memory.guest.slice(at: address, count: UInt64(bytes.count))?.copy(from: bytes)
    }

    /// Changes something in the rings or beside them.
    private func patch(_ layout: QueueLayout, _ input: inout FuzzInput) {
        let size = UInt64(layout.size)
        let index = UInt64(input.below(Int(layout.size)))
        switch input.below(8) {
        case 0, 1, 2:
            // A head is offered.
            let head = input.oneIn(16) ? input.integer() : UInt16(index)
            write(littleEndian(head), at: layout.availableRing.rawValue &+ 4 &+ 2 &* (UInt64(offered) % size))
            offered &+= 1
            write(littleEndian(offered), at: layout.availableRing.rawValue &+ 2)
        case 3, 4:
            var entry = littleEndian(input.oneIn(8) ? input.integer() : Self.address(&input))
            entry += littleEndian(input.oneIn(8) ? input.integer() : UInt32(input.byte()))
            entry += littleEndian(input.oneIn(8) ? input.integer() : input.pick([1, 0, 3, 2, 4]))
            entry += littleEndian(input.oneIn(8) ? input.integer() : UInt16(input.below(Int(size))))
            write(entry, at: layout.descriptorTable.rawValue &+ 16 &* index)
        case 5:
            // An indirect table, and a descriptor that names it.
            let count = 1 + input.below(6)
            write(input.take(16 * count), at: 0x800)
            let entry = littleEndian(UInt64(0x800)) + littleEndian(UInt32(16 * count)) + [4, 0, 0, 0]
            write(entry, at: layout.descriptorTable.rawValue &+ 16 &* index)
        case 6:
            offered = input.oneIn(4) ? input.integer() : offered &+ UInt16(input.below(4))
            write(littleEndian(offered), at: layout.availableRing.rawValue &+ 2)
        default: write(input.take(1 + input.below(16)), at: UInt64(input.integer(UInt16.self)))
        }
    }

    private static func address(_ input: inout FuzzInput) -> UInt64 {
        input.pick([0x800, 0xc00, 0xff0, 0x1000, 0x1ff0, 1 << 32, 0x1_0000_0ff0, 0x340, 0x10]) &+ UInt64(input.byte())
    }

    /// Kicks, and sees that nothing changes but what may.
    private func serve(_ layout: QueueLayout) throws {
        allowed = []
        if let used = memory.guest.slice(
            at: layout.usedRing.rawValue, count: UInt64(QueueLayout.Part.usedRing.byteCount(layout.size)))
        {
            allowed.append(used)
        }
        before.note(memory.host)
        let status = driver.status
        driver.write(.queueNotify, 0)
        for _ in 0..<4 { driver.reactor.turn(waiting: false) }
        try device.takeViolation()
        for slice in allowed { before.note(slice, at: Int(slice.address - memory.host.address)) }
        try expect(before.matches(memory.host), "memory outside the chains has changed")
        try expect(driver.status.isSuperset(of: status), "the status lost bits")
    }

    // MARK: What the device sees

    private func inspect(_ queue: Virtqueue, _ chain: DescriptorChain) throws {
        let (head, table) = model(queue, at: queue.position &- 1)
        try expect(chain.head == head, "head \(chain.head) instead of \(head)")
        let model = ChainModel(
            head: head, table: table, memory: memory.guest,
            allowsIndirect: features.contains(.ringIndirectDescriptors))
        guard let buffers = model.buffers else { throw Violation(description: "an unsound chain was handed out") }
        for (list, isWritable) in [(chain.readable, false), (chain.writable, true)] {
            let wanted = buffers.filter { $0.isWritable == isWritable }
            try expect(list.count == wanted.count, "\(list.count) buffers instead of \(wanted.count)")
            try expect(list.byteCount == model.byteCount(isWritable: isWritable), "another number of bytes")
            for (index, entry) in wanted.enumerated() {
                let found = list[index]
                let expected = memory.guest.slice(at: entry.address, count: UInt64(entry.length))
                try expect(
                    found?.address == expected?.address && found?.count == expected?.count, "another buffer \(index)")
                if isWritable, let found { allowed.append(found) }
            }
        }
    }

    /// If the queue has not failed, there must really be nothing.
    private func inspectEmpty(_ queue: Virtqueue) throws {
        let index = memory.guest.slice(at: queue.layout.availableRing.rawValue &+ 2, count: 2)?.load(at: 0) ?? UInt16(0)
        if queue.failure == nil {
            try expect(index == queue.position || !queue.takesRequests, "a request was left behind")
            return
        }
        guard index &- queue.position <= queue.size, index != queue.position else { return }
        let (head, table) = model(queue, at: queue.position)
        if device.held.contains(where: { $0.head == head }) { return }
        let model = ChainModel(
            head: head, table: table, memory: memory.guest,
            allowsIndirect: features.contains(.ringIndirectDescriptors))
        try expect(model.buffers == nil, "a sound chain was refused: \(queue.failure.map { "\($0)" } ?? "")")
    }

    /// The head in the available ring at `position`, and all descriptors.
    private func model(_ queue: Virtqueue, at position: UInt16) -> (UInt16, [ChainModel.Entry]) {
        let ring = memory.guest.slice(
            at: queue.layout.availableRing.rawValue &+ 4 &+ 2 &* UInt64(position % queue.size), count: 2)
        let slice = memory.guest.slice(at: queue.layout.descriptorTable.rawValue, count: 16 * UInt64(queue.size))
        let table = (0..<Int(queue.size)).map { index in
            ChainModel.Entry(
                address: slice?.load(at: 16 * index) ?? 0, length: slice?.load(at: 16 * index + 8) ?? 0,
                flags: slice?.load(at: 16 * index + 12) ?? 0, next: slice?.load(at: 16 * index + 14) ?? 0)
        }
        return (ring?.load(at: 0) ?? .max, table)
    }
}
