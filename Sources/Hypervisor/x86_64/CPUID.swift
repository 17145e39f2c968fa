import CHost
import Host

/// How the guest's processors are arranged.
package struct ProcessorTopology: Sendable {
    package let threadsPerCore: Int
    package let coresPerSocket: Int
    package let sockets: Int

    package init(threadsPerCore: Int, coresPerSocket: Int, sockets: Int) {
        self.threadsPerCore = max(1, threadsPerCore)
        self.coresPerSocket = max(1, coresPerSocket)
        self.sockets = max(1, sockets)
    }

    /// Bits of an APIC id that number the threads of a core.
    var threadBits: Int { Self.bits(threadsPerCore) }
    /// Bits of an APIC id that number the threads of a socket.
    var socketBits: Int { threadBits + Self.bits(coresPerSocket) }

    private static func bits(_ count: Int) -> Int { count <= 1 ? 0 : Int.bitWidth - (count - 1).leadingZeroBitCount }

    /// The APIC ids of `count` processors: socket, core and thread, each in its own bits; plain numbers where those
    /// would not fit 8 bits.
    package func apicIDs(_ count: Int) -> [UInt8] {
        let ids = (0..<count).map(apicID(of:))
        return ids.allSatisfy { $0 < 255 } ? ids.map(UInt8.init) : (0..<count).map { UInt8(truncatingIfNeeded: $0) }
    }

    /// The APIC id of a processor, with all the bits it takes.
    package func apicID(of index: Int) -> UInt32 {
        let thread = index % threadsPerCore
        let core = index / threadsPerCore % coresPerSocket
        let socket = index / threadsPerCore / coresPerSocket
        return UInt32(truncatingIfNeeded: socket << socketBits | core << threadBits | thread)
    }
}

/// What `CPUID` answers in the guest: what KVM supports, made true for this machine.
struct CPUID {
    private var entries: [kvm_cpuid_entry2]
    private let hasDeadlineTimer: Bool
    private let isAMD: Bool

    private static let capacity = 256

    /// Asks KVM what it supports on this host.
    init(_ kvm: borrowing KVM) throws(HypervisorError) {
        hasDeadlineTimer = kvm.has(KVM_CAP_TSC_DEADLINE_TIMER)
        let buffer = Self.buffer(Self.capacity)
        buffer.all.store(UInt32(Self.capacity), at: 0)
        let device = kvm.rawValue
        do {
            _ = try checked {
                unsafe host_ioctl_pointer(device, HOST_KVM_GET_SUPPORTED_CPUID, buffer.all.pointer)
            }
        } catch {
            throw HypervisorError("KVM_GET_SUPPORTED_CPUID", error)
        }
        let count = min(Int(buffer.all.load(at: 0, as: UInt32.self) ?? 0), Self.capacity)
        let list = unsafe (buffer.all.pointer + 8).assumingMemoryBound(to: kvm_cpuid_entry2.self)
        entries = (0..<count).map { unsafe list[$0] }
        withExtendedLifetime(buffer) {}
        isAMD = entries.first { $0.function == 0 }?.ecx == 0x444d_4163  // "cAMD"
    }

    /// A `kvm_cpuid2`: a count, padding, and as many entries.
    private static func buffer(_ count: Int) -> IOBuffer {
        IOBuffer(capacity: 8 + count * MemoryLayout<kvm_cpuid_entry2>.stride)
    }

    /// Gives one vCPU its `CPUID`.
    func apply(to vcpu: VCPU, _ topology: ProcessorTopology, tscKilohertz: UInt32) throws(HypervisorError) {
        let adapted = adapted(topology, vcpu.id, tscKilohertz)
        let buffer = Self.buffer(adapted.count)
        buffer.all.store(UInt32(adapted.count), at: 0)
        let list = unsafe (buffer.all.pointer + 8).assumingMemoryBound(to: kvm_cpuid_entry2.self)
        for (index, entry) in adapted.enumerated() { unsafe (list + index).initialize(to: entry) }
        try vcpu.request("KVM_SET_CPUID2", HOST_KVM_SET_CPUID2, buffer)
    }

    private func adapted(
        _ topology: ProcessorTopology, _ apicID: UInt32, _ tscKilohertz: UInt32
    ) -> [kvm_cpuid_entry2] {
        let threads = UInt32(topology.threadsPerCore)
        let perSocket = threads * UInt32(topology.coresPerSocket)
        var list = entries.filter { ![0xb, 0x1f, 0x4000_0010].contains($0.function) }
        for index in list.indices {
            switch list[index].function {
            case 1:
                // Initial APIC id, logical processors of the socket, cache line of 8 quadwords.
                list[index].ebx = apicID << 24 | min(perSocket, 255) << 16 | 8 << 8
                list[index].ecx |= 1 << 31
                if hasDeadlineTimer { list[index].ecx |= 1 << 24 }
                if perSocket > 1 { list[index].edx |= 1 << 28 } else { list[index].edx &= ~(1 << 28) }
            case 4 where list[index].eax & 0x1f != 0:
                let level = list[index].eax >> 5 & 7
                let sharing =
                    level >= 3 ? UInt32(1) << UInt32(topology.socketBits) : UInt32(1) << UInt32(topology.threadBits)
                let cores = UInt32(1) << UInt32(topology.socketBits - topology.threadBits)
                list[index].eax = list[index].eax & 0x3fff | (sharing - 1) << 14 | (min(cores, 64) - 1) << 26
            case 6:
                list[index].ecx &= ~(1 << 3)
            case 0xa:
                // No performance counters: their registers are not kept over a snapshot.
                (list[index].eax, list[index].ebx, list[index].ecx, list[index].edx) = (0, 0, 0, 0)
            case 0x4000_0000:
                list[index].eax = max(list[index].eax, 0x4000_0010)
            case 0x8000_0001 where isAMD:
                // CMP_LEGACY: the count in leaf 1 is of cores.
                if perSocket > 1 { list[index].ecx |= 1 << 1 } else { list[index].ecx &= ~(1 << 1) }
            case 0x8000_0008 where isAMD:
                list[index].ecx = UInt32(topology.socketBits) << 12 | (perSocket - 1)
            case 0x8000_001d where list[index].eax & 0x1f != 0:
                let level = list[index].eax >> 5 & 7
                list[index].eax = list[index].eax & 0x3fff | ((level >= 3 ? perSocket : threads) - 1) << 14
            case 0x8000_001e:
                list[index].eax = apicID
                list[index].ebx = (threads - 1) << 8 | apicID >> UInt32(topology.threadBits) & 0xff
                list[index].ecx = 0
            default:
                break
            }
        }
        list += extendedTopology(topology, apicID, perSocket)
        if tscKilohertz > 0, list.contains(where: { $0.function == 0x4000_0000 }) {
            // Frequencies of the time stamp counter and of the local APIC's timer, in kHz.
            list.append(entry(0x4000_0010, eax: tscKilohertz, ebx: 1_000_000))
        }
        return list
    }

    /// Leaf 0xb: threads, then cores, then the end.
    private func extendedTopology(
        _ topology: ProcessorTopology, _ apicID: UInt32, _ perSocket: UInt32
    ) -> [kvm_cpuid_entry2] {
        guard (entries.first { $0.function == 0 }?.eax ?? 0) >= 0xb else { return [] }
        return [
            entry(
                0xb, 0, eax: UInt32(topology.threadBits), ebx: UInt32(topology.threadsPerCore), ecx: 1 << 8, edx: apicID
            ),
            entry(0xb, 1, eax: UInt32(topology.socketBits), ebx: perSocket, ecx: 2 << 8 | 1, edx: apicID),
            entry(0xb, 2, ecx: 2, edx: apicID),
        ]
    }

    private func entry(
        _ function: UInt32, _ index: UInt32? = nil, eax: UInt32 = 0, ebx: UInt32 = 0, ecx: UInt32 = 0, edx: UInt32 = 0
    ) -> kvm_cpuid_entry2 {
        var entry = kvm_cpuid_entry2()
        entry.function = function
        entry.index = index ?? 0
        entry.flags = index == nil ? 0 : UInt32(KVM_CPUID_FLAG_SIGNIFCANT_INDEX)
        (entry.eax, entry.ebx, entry.ecx, entry.edx) = (eax, ebx, ecx, edx)
        return entry
    }
}
