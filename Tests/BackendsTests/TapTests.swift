import Backends
import Glibc
import Host
import Testing

private func unusedName() -> String {
    "apt" + randomBytes(5).map { String($0 & 15, radix: 16) + String($0 >> 4, radix: 16) }.joined()
}

private let canMakeTaps = (try? Tap(interface: unusedName())) != nil

/// Taps that the host really has; making them takes a privileged user.
@Suite(.enabled(if: canMakeTaps, "needs CAP_NET_ADMIN and /dev/net/tun"))
struct TapTests {
    private func problem(_ body: () throws -> Tap) -> String {
        do {
            return "none: \(try body().name)"
        } catch {
            return "\(error)"
        }
    }

    /// A number that `Tap` may take over: a descriptor of the same open file.
    private func handOver(_ number: Int32) -> Int32 { dup(number) }

    @Test func makesAnInterface() throws {
        let name = unusedName()
        var tap: Tap? = try Tap(interface: name)
        #expect(tap?.name == name)
        #expect(tap?.mtu == 1500)
        #expect(tap?.queues.count == 1)
        #expect(tap?.offloads.isSuperset(of: [.checksum, .tso4, .tso6, .ecn]) == true)
        try tap?.setOffloads([.checksum, .tso4])
        tap = nil
        #expect(interfaceMTU(name) == nil)
    }

    @Test func usesOneOrAllQueues() throws {
        let name = unusedName()
        var tap: Tap? = try Tap(interface: name, queues: 4)
        #expect(tap?.queues.count == 4)
        try tap?.setQueue(1, isAttached: true)
        try tap?.setQueue(1, isAttached: false)
        // The others may have one of their own, since the interface has several.
        #expect(try Tap(interface: name).queues.count == 1)
        tap = nil
    }

    @Test func takesOverDescriptors() throws {
        let first = try Tap(interface: unusedName(), queues: 2)
        let tap = try Tap(inherited: first.queues.map { handOver($0.descriptor) })
        #expect(tap.name == first.name)
        #expect(tap.queues.count == 2)
        #expect(tap.mtu == nil)
    }

    @Test func saysWhatIsWrongWithAName() throws {
        let name = unusedName()
        let tap = try Tap(interface: name)
        #expect(
            problem { try Tap(interface: name) }
                == "ifname=\(name) is in use by another process; end that process, or use another interface")
        #expect(
            problem { try Tap(interface: name, queues: 2) }
                == "ifname=\(name) is not a tap with several queues; create it with multi_queue, or use queues=1")
        #expect(
            problem { try Tap(interface: "lo") }
                == "ifname=lo is not a tap; name a tap, or an interface that does not exist yet")
        #expect(problem { try Tap(interface: "a/b") } == "ifname=a/b cannot be opened: Invalid argument")
        _ = consume tap
    }

    @Test func saysWhatIsWrongWithADescriptor() throws {
        let null = try FileDescriptor.open("/dev/null", .readWrite)
        let bare = try FileDescriptor.open("/dev/net/tun", .readWrite)
        let tap = try Tap(interface: unusedName())
        let other = try Tap(interface: unusedName())
        // Not one that was open: other tests open descriptors at the same time.
        let closed = Int32.max
        for (descriptors, expected) in [
            ([closed], "fd=\(closed) is not open; have the parent process pass it"),
            ([1], "fd=1 cannot be a tap; use a number above 2"),
        ] {
            #expect(problem { try Tap(inherited: descriptors) } == expected)
        }
        var number = handOver(null.rawValue)
        #expect(
            problem { try Tap(inherited: [number]) }
                == "fd=\(number) is not a tap; pass a descriptor of /dev/net/tun with an interface")
        number = handOver(bare.rawValue)
        #expect(
            problem { try Tap(inherited: [number]) }
                == "fd=\(number) is not attached to an interface; use TUNSETIFF first")
        number = handOver(tap.queues[0].descriptor)
        let second = handOver(other.queues[0].descriptor)
        #expect(
            problem { try Tap(inherited: [number, second]) }
                == "fd=\(second) belongs to interface '\(other.name)', the others to '\(tap.name)'; "
                + "pass descriptors of one"
        )
    }
}
