package import EventLoop
import Host
package import Memory

/// Virtqueues that another process serves: it takes requests when their doorbell rings and raises the interrupt itself;
/// this process has no part in either (vhost-user protocol, front end).
///
/// A back end that goes away is looked for until it is back, and gets the queues again with the requests that nobody
/// has answered. Meanwhile the guest waits.
package final class VhostUserClient: RingClient {
    /// Where the queues are on their way.
    private enum State {
        case stopped, starting, running, stopping
    }

    /// What the back end is to serve.
    private struct Work {
        let rings: [Vring]
        let features: UInt64
        let memory: GuestMemory
    }

    /// The virtio features that the back end serves.
    package let features: UInt64
    private let name: String
    private let path: String
    private let reactor: Reactor
    private let patience: UInt64
    private var connection: VhostUserConnection?
    private var isNegotiated = false
    private var hasExtensions = false
    private var extensions: VhostUserProtocolFeatures = []
    private var state = State.stopped
    private var work: Work?
    private var isWanted = false
    /// When the connection was made.
    private var connectedAt = Clock.monotonic
    private var delay = ReconnectDelay()
    private var isMissing = false
    /// Called when the back end has left guest memory alone after `stop`.
    package var onRest: () -> Void = {}

    /// The most regions of memory that every back end takes.
    private static let maximumRegions = 8

    /// Takes over a connection.
    ///
    /// - Parameters:
    ///   - name: of the device, for the log.
    ///   - patience: how long the back end may take to start or to stop, in nanoseconds. Before it stops it completes
    ///     what it has begun, which takes as long as its disks do.
    package init(
        _ endpoint: VhostUserEndpoint, name: String, reactor: Reactor, patience: UInt64 = 30_000_000_000
    ) {
        self.patience = patience
        features = endpoint.features
        path = endpoint.path
        self.name = name
        self.reactor = reactor
        super.init()
        if let socket = endpoint.takeSocket() {
            connection = VhostUserConnection(socket, reactor: reactor, patience: patience, owner: self)
        }
    }

    /// Whether the back end leaves guest memory alone.
    package var isAtRest: Bool { state == .stopped }

    /// Has the rings of a new driver served.
    package func start(_ rings: [Vring], features: UInt64, memory: GuestMemory) {
        work = Work(rings: rings, features: features, memory: memory)
        isWanted = true
        advance()
    }

    /// Has no more requests taken; those that the back end has begun are completed before it is at rest.
    package func stop() {
        isWanted = false
        advance()
    }

    /// Has the rings of the last start served again, from where they were.
    package func resume() {
        isWanted = work != nil
        advance()
    }

    /// Forgets the rings of a driver that is gone, when at rest.
    package func forget() {
        work = nil
        isWanted = false
    }

    /// Leaves the back end for good.
    package func close() {
        connection?.close()
        connection = nil
        reactor.retire(self)
    }

    // MARK: Starting and stopping

    private func advance() {
        guard let connection, let work else { return }
        if state == .stopped, isWanted {
            state = .starting
            connection.append(isNegotiated ? setUp(work) : negotiate(work))
        } else if state == .running, !isWanted {
            state = .stopping
            connection.append(work.rings.indices.map(stopRing))
        }
    }

    private func negotiate(_ work: Work) -> [VhostUserConnection.Step] {
        [
            ask(.getFeatures) { [weak self] reply throws(VhostUserError) in
                guard let self else { return }
                let missing = work.features & ~reply.value
                guard missing == 0 else {
                    throw .lacks("the features 0x\(String(missing, radix: 16)), which the guest uses")
                }
                hasExtensions = reply.value & VhostUserProtocolFeatures.marker != 0
                extensions = []
                connection?.append(hasExtensions ? negotiateExtensions(work) : begin(work))
            }
        ]
    }

    private func negotiateExtensions(_ work: Work) -> [VhostUserConnection.Step] {
        [
            ask(.getProtocolFeatures) { [weak self] reply throws(VhostUserError) in
                guard let self else { return }
                extensions = VhostUserProtocolFeatures(rawValue: reply.value).intersection(.known)
                var steps = [tell(VhostUserMessage(.setProtocolFeatures, extensions.rawValue), acknowledged: false)]
                if extensions.contains(.multipleQueues) {
                    steps.append(
                        ask(.getQueueCount) { reply throws(VhostUserError) in
                            guard reply.value >= work.rings.count else {
                                throw .lacks("queues: it has \(reply.value) of \(work.rings.count)")
                            }
                        })
                }
                connection?.append(steps + begin(work))
            }
        ]
    }

    private func begin(_ work: Work) -> [VhostUserConnection.Step] {
        isNegotiated = true
        return [tell(VhostUserMessage(.setOwner))] + setUp(work)
    }

    private func setUp(_ work: Work) -> [VhostUserConnection.Step] {
        let marker = hasExtensions ? VhostUserProtocolFeatures.marker : 0
        var messages = [VhostUserMessage(.setFeatures, work.features | marker), memoryTable(work.memory)]
        for (index, vring) in zip(UInt32(0)..., work.rings) {
            messages.append(VhostUserMessage(.setRingSize, ring: index, UInt32(vring.size)))
            // What nobody gave back is taken once more; a back end that has stopped left no such requests. What it says
            // itself is no help: libvhost-user tells how far it was before it stopped.
            messages.append(VhostUserMessage(.setRingBase, ring: index, UInt32(vring.usedIndex)))
            var address = VhostUserMessage(.setRingAddress, ring: index, 0)
            for part in [vring.descriptors, vring.used, vring.available] { address.append(UInt64(part.address)) }
            address.append(UInt64(0))
            messages.append(address)
            for (request, event) in [(VhostUserRequest.setRingCall, vring.call), (.setRingKick, vring.kick)] {
                var message = VhostUserMessage(request, UInt64(index))
                message.descriptors = [event]
                messages.append(message)
            }
        }
        if hasExtensions {
            messages += work.rings.indices.map { VhostUserMessage(.setRingEnable, ring: UInt32($0), 1) }
        }
        return messages.map { tell($0) }
    }

    private func memoryTable(_ memory: GuestMemory) -> VhostUserMessage {
        var message = VhostUserMessage(.setMemoryTable)
        let regions = memory.regions.prefix(Self.maximumRegions)
        message.append(UInt32(regions.count))
        message.append(UInt32(0))
        for region in regions {
            message.append(region.start.rawValue)
            message.append(UInt64(region.memory.count))
            message.append(UInt64(region.memory.address))
            message.append(region.fileOffset)
            if let file = memory.file { message.descriptors.append(file) }
        }
        return message
    }

    private func stopRing(_ ring: Int) -> VhostUserConnection.Step {
        let index = UInt32(truncatingIfNeeded: ring)
        return .init(
            message: VhostUserMessage(.getRingBase, ring: index, 0),
            answer: .value { reply throws(VhostUserError) in
                guard reply.ring == index else { throw .reply("tells of queue \(reply.ring) instead of \(index)") }
            })
    }

    private func ask(
        _ request: VhostUserRequest, _ use: @escaping (VhostUserMessage.Reply) throws(VhostUserError) -> Void
    ) -> VhostUserConnection.Step {
        .init(message: VhostUserMessage(request), answer: .value(use))
    }

    private func tell(_ message: VhostUserMessage, acknowledged: Bool = true) -> VhostUserConnection.Step {
        .init(
            message: message,
            answer: acknowledged && extensions.contains(.acknowledges) ? .acknowledgement : .none)
    }

    // MARK: The way back

    override package func operationCompleted(tag: UInt32, result: Int32) {
        guard !isRetiring, connection == nil else { return }
        do throws(Errno) {
            connection = VhostUserConnection(
                try Socket.connectNow(unix: path), reactor: reactor, patience: patience, owner: self)
            connectedAt = Clock.monotonic
            advance()
        } catch {
            retry(afterLife: 0)
        }
    }

    private func retry(afterLife life: UInt64) {
        reactor.submit(.timeout(at: Clock.monotonic &+ delay.take(afterLife: life)), for: self)
    }
}

extension VhostUserClient: VhostUserConnectionOwner {
    func connectionIsDone(_ connection: VhostUserConnection) {
        switch state {
        case .starting:
            state = .running
            if isMissing { Log.info(name, "\(path) serves it again") }
            isMissing = false
            // Notifications and interrupts that came when nobody was there are lost.
            for ring in work?.rings ?? [] {
                reactor.signal(ring.kick)
                reactor.signal(ring.call)
            }
        case .stopping:
            state = .stopped
            onRest()
        case .stopped, .running: break
        }
        advance()
    }

    func connectionEnded(_ connection: VhostUserConnection, _ error: VhostUserError) {
        if !isMissing { Log.warn(name, "\(path): \(error); trying to connect again") }
        isMissing = true
        self.connection = nil
        isNegotiated = false
        let wasAtRest = isAtRest
        state = .stopped
        if !wasAtRest { onRest() }
        retry(afterLife: Clock.monotonic &- connectedAt)
    }
}
