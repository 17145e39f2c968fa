import Host
import Testing

@testable import EventLoop

/// What a ring does with operations it was not made for, whoever puts them in.
@Suite struct RestrictionTests {
    /// The result of an operation without a file or memory, with this opcode and these flags.
    private func result(_ opcode: UInt8, flags: UInt8 = 0, of ring: borrowing Ring) -> Int32? {
        var operation = Operation.poll(IOFile(descriptor: -1), 0)
        operation.opcode = opcode
        operation.flags = flags
        guard unsafe ring.push(operation, userData: 1, deadline: nil) else { return nil }
        guard ring.submitAndWait() == nil else { return nil }
        return ring.pop()?.result
    }

    @Test(arguments: [false, true])
    func allOtherOperationsFail(_ isOfIOThread: Bool) throws {
        let operations: OperationSet = isOfIOThread ? .ofDisksAndCards : .all
        let allowed = operations.numbers
        let ring = try Ring(entries: 8, letsThrough: operations)
        for opcode in 0...UInt8.max {
            let isRefused = result(opcode, of: ring) == -Errno.accessDenied.rawValue
            // The kernel does not look at a restriction for what it does not know.
            if opcode < 48 { #expect(isRefused == !allowed.contains(opcode), "\(opcode)") }
        }
        #expect(allowed.count == (isOfIOThread ? 11 : 15))
    }

    @Test func linksAndOtherFlagsFail() throws {
        let ring = try Ring(entries: 8, letsThrough: .all)
        let poll = Operation.poll(IOFile(descriptor: -1), 0).opcode
        #expect(result(poll, of: ring) == -Errno.badDescriptor.rawValue)
        // Drain, link, hard link, to a worker at once.
        for bit in 1...4 as ClosedRange<UInt8> {
            #expect(result(poll, flags: 1 << bit, of: ring) == -Errno.accessDenied.rawValue, "\(bit)")
        }
    }
}
