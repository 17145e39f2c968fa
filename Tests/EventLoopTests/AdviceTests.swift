import EventLoop
import Host
import Testing

/// `madvise` through the ring: memory goes back to the host, and only what was named.
@Suite struct AdviceTests {
    private final class Result: RingClient {
        var value: Int32?

        override func operationCompleted(tag: UInt32, result: Int32) { value = result }
    }

    private func advise(_ memory: HostSlice, _ advice: MemoryAdvice) throws -> Int32? {
        let reactor = try Reactor(name: "test")
        let result = Result()
        reactor.submit(.advise(memory, advice), for: result)
        while result.value == nil { reactor.turn(waiting: true) }
        return result.value
    }

    @Test func privateMemoryReadsZeroAgain() throws {
        let page = HostProcess.pageSize
        let region = try MappedRegion(anonymous: 4 * page)
        region.all.fill(0x55)
        let middle = try #require(region.all.slice(at: page, count: 2 * page))
        #expect(try advise(middle, .dontNeed) == 0)
        #expect(middle.isZero)
        #expect(region.all.byte(at: page - 1) == 0x55)
        #expect(region.all.byte(at: 3 * page) == 0x55)
    }

    @Test func aSharedFileGetsSmaller() throws {
        let page = HostProcess.pageSize
        let file = try FileDescriptor.memory(name: "test")
        try file.truncate(to: UInt64(4 * page))
        let region = try MappedRegion(file: file, count: 4 * page, shared: true)
        region.all.fill(0x55)
        #expect(try FileStatus(of: file).allocatedSize == UInt64(4 * page))
        let middle = try #require(region.all.slice(at: page, count: 2 * page))
        #expect(try advise(middle, .remove) == 0)
        #expect(try FileStatus(of: file).allocatedSize == UInt64(2 * page))
        #expect(middle.isZero)
        #expect(region.all.byte(at: page - 1) == 0x55)
        #expect(region.all.byte(at: 3 * page) == 0x55)
    }

    @Test func whatTheKernelRefusesIsAnError() throws {
        let region = try MappedRegion(anonymous: HostProcess.pageSize)
        let odd = try #require(region.all.slice(at: 1, count: 16))
        #expect(try advise(odd, .dontNeed) == -Errno.invalidArgument.rawValue)
        // Only a file that is shared can lose pages.
        #expect(try (advise(region.all, .remove) ?? 0) < 0)
    }
}
