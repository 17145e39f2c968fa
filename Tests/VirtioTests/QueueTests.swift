import EventLoop
import Host
import Memory
import TestSupport
import Testing
import Virtio

@Suite struct QueueTests {
    @Test(arguments: [Features.version1, [.version1, .ringEventIndex], [.version1, .splitRing]], [false, true])
    func echoes(features: Features, isIndirect: Bool) throws {
        guard !isIndirect || features.contains(.ringIndirectDescriptors) else { return }
        let driver = try VirtioDriver(EchoDevice(), reactor: try Reactor(name: "test"))
        let queue = try driver.start(features)[0]
        for round in 0..<300 {
            let reply = try driver.exchange(
                on: queue, readable: [[1, 2, 3], [], [UInt8(round & 0xff)], [5]], writable: [1, 2, 0, 5],
                isIndirect: isIndirect)
            #expect(reply.written == 5)
            #expect(reply.bytes == [1, 2, 3, UInt8(round & 0xff), 5, 0xee, 0xee, 0xee])
        }
    }
}
