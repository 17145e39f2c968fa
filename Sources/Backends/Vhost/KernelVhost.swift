package import EventLoop
package import Host
package import Memory

/// Virtqueues that the kernel serves: it takes requests when their doorbell rings and raises the interrupt itself;
/// this process has no part in either.
///
/// While it is stopped the rings keep their places in the kernel, so that it goes on where it was.
package final class KernelVhost {
    /// What the kernel does with the requests.
    package enum Service: Sendable {
        /// vhost-net: ring 0 receives from this tap, ring 1 sends to it.
        case network(tap: Int32)
        /// vhost-vsock.
        case socket
    }

    /// The virtio features that the kernel serves, among others of its own.
    package let features: UInt64
    /// What the kernel finds wrong.
    package let errors: VhostErrors
    /// Whether the kernel may touch guest memory.
    package private(set) var isRunning = false
    private let file: VhostFile
    private let service: Service
    private var rings: [Vring] = []

    /// `VIRTIO_NET_F_MRG_RXBUF`
    private static let mergeableBuffers: UInt64 = 1 << 15

    /// Takes `file`, whose owner this process is.
    package init(_ file: consuming VhostFile, _ service: Service) throws(VhostError) {
        do {
            errors = VhostErrors(try EventFD())
        } catch {
            throw VhostError(request: "eventfd", reason: error)
        }
        features = try file.features()
        // A file of another device takes requests until it is to serve a tap; but only vhost-net merges buffers.
        if case .network = service, features & Self.mergeableBuffers == 0 {
            throw VhostError(request: "VHOST_GET_FEATURES", reason: .notTerminal)
        }
        self.file = file
        self.service = service
    }

    /// Prepares new rings, and serves them after `resume`.
    package func setUp(_ rings: [Vring], features: UInt64, memory: GuestMemory) throws(VhostError) {
        try file.setFeatures(features & self.features)
        try file.setMemory(memory.regions.map { .init(guestAddress: $0.start.rawValue, memory: $0.memory) })
        for (index, ring) in zip(UInt32(0)..., rings) {
            try file.setSize(ofRing: index, ring.size)
            try file.setBase(ofRing: index, ring.base)
            try file.setParts(
                ofRing: index, descriptors: ring.descriptors, available: ring.available, used: ring.used)
            try file.setError(ofRing: index, errors.descriptor)
            try file.setCall(ofRing: index, ring.call)
            try file.setKick(ofRing: index, ring.kick)
        }
        self.rings = rings
    }

    /// Serves the rings from where they are.
    package func resume(_ reactor: Reactor) throws(VhostError) {
        guard !isRunning, !rings.isEmpty else { return }
        isRunning = true
        try serve(true)
        // Notifications that came when nobody listened are lost.
        for ring in rings { reactor.signal(ring.kick) }
    }

    /// Takes no more requests; when it returns the kernel has left guest memory alone.
    ///
    /// - Returns: of each ring, how many requests have been taken, all of which have been given back; nothing if
    ///   nothing was running.
    @discardableResult
    package func stop() -> [UInt16] {
        guard isRunning else { return [] }
        isRunning = false
        do {
            try serve(false)
            var bases: [UInt16] = []
            for (index, _) in zip(UInt32(0)..., rings) { bases.append(try file.base(ofRing: index)) }
            return bases
        } catch {
            Log.error("vhost", "the kernel does not stop: \(error)")
            return []
        }
    }

    /// Forgets the rings, when stopped.
    package func forget() {
        if !isRunning { rings = [] }
    }

    private func serve(_ isServed: Bool) throws(VhostError) {
        switch service {
        case .network(let tap):
            for (index, _) in zip(UInt32(0)..., rings) {
                try file.setNetBackend(ofRing: index, isServed ? tap : nil)
            }
        case .socket: try file.setRunning(isServed)
        }
    }
}
