package import EventLoop
package import Host

/// The kind of a request to an image.
package enum DiskRequestKind: UInt8, Sendable, BitwiseCopyable {
    case read, write
    /// Bring all earlier writes to stable storage.
    case flush
    /// Free the bytes; their contents are undefined afterwards.
    case discard
    /// Make the bytes read as zeroes, and keep their storage.
    case writeZeroes
    /// Make the bytes read as zeroes; the host may free their storage.
    case unmapZeroes

    var modifies: Bool { self != .read && self != .flush }
}

/// The treatment of writes that are all zeroes.
package enum ZeroDetection: UInt8, Sendable, BitwiseCopyable {
    case off
    /// Turn them into `writeZeroes`.
    case keep
    /// Turn them into `unmapZeroes`.
    case unmap
}

/// The next step of a request to an image.
package enum DiskStep {
    /// Submit this operation with the slot as its tag, and give its result to `advance`.
    case submit(Operation)
    /// Nothing for now; `resume` names the request later.
    case wait
    /// The request has ended, with this error if it failed. Its slot is free. Call `resume` until it returns nil.
    case done(Errno?)
}

/// The requests of one user to an image of any format: a state machine that names each next operation.
///
/// It submits nothing itself. `begin`, `advance`, `resume` and `stop` name a step, and the user carries it out. A
/// request can only wait for another one of the same user, so `resume` matters after `.done` and at no other time.
///
/// The memory of a request must stay valid until the request is done.
package enum DiskRequests {
    case raw(RawRequests)

    /// - Parameters:
    ///   - image: used by this user alone, unless it is read-only.
    ///   - reactor: the reactor that runs the operations; it knows the image's files until `unregister`.
    ///   - slots: the number of requests that can be in flight, 1 to 4096.
    ///   - segments: the most pieces of memory of one request.
    package init(
        _ image: DiskImage, on reactor: Reactor, slots: Int, segments: Int, zeroDetection: ZeroDetection = .off
    ) {
        self =
            switch image {
            case .raw(let image):
                .raw(RawRequests(image, on: reactor, slots: slots, segments: segments, zeroDetection: zeroDetection))
            }
    }

    /// Describes one piece of memory of a request that is about to begin; false if there are too many.
    package func setSegment(_ index: Int, of slot: Int, _ memory: HostSlice) -> Bool {
        switch self {
        case .raw(let requests): requests.setSegment(index, of: slot, memory)
        }
    }

    /// Begins a request in a free slot.
    ///
    /// - Parameters:
    ///   - offset: the position in the image, in bytes.
    ///   - count: the number of bytes; for a read or write the sum of its segments.
    ///   - segments: the number of pieces of memory that were set.
    ///   - isDurable: whether the data must be on stable storage before the request is done.
    package func begin(
        _ slot: Int, _ kind: DiskRequestKind, at offset: UInt64, count: UInt64, segments: Int, isDurable: Bool = false
    ) -> DiskStep {
        switch self {
        case .raw(let requests):
            requests.begin(slot, kind, at: offset, count: count, segments: segments, isDurable: isDurable)
        }
    }

    /// Takes the result of the operation that was submitted for `slot`.
    package func advance(_ slot: Int, result: Int32) -> DiskStep {
        switch self {
        case .raw(let requests): requests.advance(slot, result: result)
        }
    }

    /// Continues the oldest request that waited and no longer has to; nil if there is none.
    package func resume() -> (slot: Int, step: DiskStep)? {
        switch self {
        case .raw(let requests): requests.resume()
        }
    }

    /// Cancels all requests: those in flight end with their next completion, those that wait at once.
    ///
    /// - Returns: the first request that waited, if any; `resume` names the others.
    package func stop() -> (slot: Int, step: DiskStep)? {
        switch self {
        case .raw(let requests): requests.stop()
        }
    }

    /// Accepts requests again, when all that `stop` cancelled are done.
    package func restart() {
        switch self {
        case .raw(let requests): requests.restart()
        }
    }

    /// Gives the image's files back to the reactor, when no operation uses them.
    package func unregister() {
        switch self {
        case .raw(let requests): requests.unregister()
        }
    }
}
