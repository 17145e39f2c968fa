import Host

/// What a front end asks of a back end (vhost-user protocol, "Front-end message types").
struct VhostUserRequest: RawRepresentable, Hashable {
    let rawValue: UInt32

    static let getFeatures = VhostUserRequest(rawValue: 1)
    static let setFeatures = VhostUserRequest(rawValue: 2)
    static let setOwner = VhostUserRequest(rawValue: 3)
    static let setMemoryTable = VhostUserRequest(rawValue: 5)
    static let setRingSize = VhostUserRequest(rawValue: 8)
    static let setRingAddress = VhostUserRequest(rawValue: 9)
    static let setRingBase = VhostUserRequest(rawValue: 10)
    static let getRingBase = VhostUserRequest(rawValue: 11)
    static let setRingKick = VhostUserRequest(rawValue: 12)
    static let setRingCall = VhostUserRequest(rawValue: 13)
    static let getProtocolFeatures = VhostUserRequest(rawValue: 15)
    static let setProtocolFeatures = VhostUserRequest(rawValue: 16)
    static let getQueueCount = VhostUserRequest(rawValue: 17)
    static let setRingEnable = VhostUserRequest(rawValue: 18)
}

/// Extensions of the protocol that both sides agree on.
struct VhostUserProtocolFeatures: OptionSet {
    let rawValue: UInt64

    /// `VHOST_USER_PROTOCOL_F_MQ`: the back end tells how many queues it serves.
    static let multipleQueues = VhostUserProtocolFeatures(rawValue: 1 << 0)
    /// `VHOST_USER_PROTOCOL_F_REPLY_ACK`: the back end acknowledges what it is asked to.
    static let acknowledges = VhostUserProtocolFeatures(rawValue: 1 << 3)

    /// Those that this front end knows.
    static let known: VhostUserProtocolFeatures = [.multipleQueues, .acknowledges]

    /// `VHOST_USER_F_PROTOCOL_FEATURES`: the virtio feature bit by which a back end says that it has extensions.
    static let marker: UInt64 = 1 << 30
}

/// One message to the back end.
struct VhostUserMessage {
    /// Little-endian words, as on every machine that this is built for.
    private(set) var payload: [UInt8] = []
    let request: VhostUserRequest
    /// The descriptors that go with it.
    var descriptors: [Int32] = []

    private static let version: UInt32 = 1
    private static let reply: UInt32 = 1 << 2
    private static let needsReply: UInt32 = 1 << 3
    private static let headerSize = 12
    /// No reply that this front end asks for is longer.
    private static let longestReply: UInt32 = 8

    init(_ request: VhostUserRequest) {
        self.request = request
    }

    init(_ request: VhostUserRequest, _ value: UInt64) {
        self.request = request
        append(value)
    }

    /// A ring's state: its number, and a value.
    init(_ request: VhostUserRequest, ring: UInt32, _ value: UInt32) {
        self.request = request
        append(ring)
        append(value)
    }

    mutating func append<T: FixedWidthInteger & UnsignedInteger>(_ value: T) {
        for position in 0..<MemoryLayout<T>.size {
            payload.append(UInt8(truncatingIfNeeded: value >> T(truncatingIfNeeded: 8 * position)))
        }
    }

    /// The message's bytes; with `acknowledged` the back end is to reply even if it would not by itself.
    func bytes(acknowledged: Bool) -> [UInt8] {
        var message = VhostUserMessage(request)
        message.append(request.rawValue)
        message.append(Self.version | (acknowledged ? Self.needsReply : 0))
        message.append(UInt32(truncatingIfNeeded: payload.count))
        return message.payload + payload
    }

    /// A back end's reply.
    struct Reply: Equatable {
        /// The 64 bits that every reply to this front end has.
        let value: UInt64

        /// Of a ring's state, the number of the ring.
        var ring: UInt32 { UInt32(truncatingIfNeeded: value) }
    }

    /// Takes the reply to `request` from the beginning of what was received; nil as long as some of it is missing.
    ///
    /// - Throws: what is wrong with it, as far as it is there.
    static func takeReply(to request: VhostUserRequest, from received: inout [UInt8]) throws(VhostUserError) -> Reply? {
        guard received.count >= headerSize else { return nil }
        let (code, flags, size) = (word(received, 0), word(received, 4), word(received, 8))
        guard code == request.rawValue else { throw .reply("answers request \(code) instead of \(request.rawValue)") }
        guard flags & 3 == version, flags & reply != 0 else {
            throw .reply("has the flags 0x\(String(flags, radix: 16)), which are not those of a reply")
        }
        guard size == longestReply else { throw .reply("has \(size) bytes instead of \(longestReply)") }
        guard received.count >= headerSize + Int(longestReply) else { return nil }
        let value = UInt64(word(received, headerSize)) | UInt64(word(received, headerSize + 4)) << 32
        received.removeFirst(headerSize + Int(longestReply))
        return Reply(value: value)
    }

    private static func word(_ bytes: [UInt8], _ offset: Int) -> UInt32 {
        bytes.dropFirst(offset).prefix(4).reversed().reduce(0) { $0 << 8 | UInt32($1) }
    }
}
