import EventLoop
import Host
import Memory

/// Frees the memory that requests of one queue name, one request after the other.
///
/// Freeing blocks, so the kernel's worker threads do it, in pieces of bounded size and a few at a time. A request is
/// used when its last piece is done: from then on the driver may touch the memory.
final class PageReleaser {
    /// How requests name memory.
    enum Form {
        /// By page numbers in their readable buffers.
        case pageNumbers
        /// By their writable buffers themselves.
        case buffers
    }

    private let form: Form
    /// The tag of its operations.
    let tag: UInt32
    /// The queue of the request under way.
    private(set) var queue: Virtqueue?
    private var chain: DescriptorChain?
    private var runs: PageRuns?
    /// Operations in flight.
    private(set) var inFlight = 0

    private static let mostInFlight = 4
    private static let largestPiece = Int(PageRuns.longestRun)

    init(_ form: Form, tag: UInt32) {
        self.form = form
        self.tag = tag
    }

    /// Whether a request is under way; no other can begin before it has ended.
    var isBusy: Bool { chain != nil || inFlight > 0 }

    /// Begins with a request of `queue`, which must hand out no other one before this one has ended.
    func begin(_ chain: DescriptorChain, _ queue: Virtqueue, _ context: DeviceContext) {
        self.chain = chain
        self.queue = queue
        runs = PageRuns(context.memory)
    }

    /// Submits the next operations, and gives the request back when the last one is done.
    ///
    /// - Returns: the mistake in a request that has ended, if any.
    func advance(_ context: DeviceContext, for device: VirtioDevice) -> String? {
        guard let chain else { return nil }
        if let advice = context.memory.discardAdvice {
            while inFlight < Self.mostInFlight, let piece = takePiece(chain, context) {
                guard let pages = context.memory.wholePages(of: piece) else { continue }
                if context.reactor.submit(.advise(pages, advice), for: device, tag: tag) { inFlight += 1 }
            }
        }
        guard inFlight == 0 else { return nil }
        queue?.complete(chain.head, written: 0)
        let problem = context.memory.discardAdvice == nil ? nil : problem(chain)
        stop()
        return problem
    }

    /// Notes that one operation has ended.
    func completed() {
        inFlight -= 1
    }

    /// Begins nothing new, and does not give the request back.
    func stop() {
        chain = nil
        queue = nil
        runs = nil
    }

    private func takePiece(_ chain: DescriptorChain, _ context: DeviceContext) -> HostSlice? {
        switch form {
        case .buffers: return chain.writable.takePiece(upTo: Self.largestPiece)
        case .pageNumbers:
            guard let run = runs?.take(from: chain.readable) else { return nil }
            return context.memory.slice(at: run.start, count: run.count)
        }
    }

    private func problem(_ chain: DescriptorChain) -> String? {
        guard form == .pageNumbers else { return nil }
        if let invalid = runs?.invalidPages, invalid > 0 { return "\(invalid) of its pages are not memory" }
        if chain.readable.byteCount >= 4 { return "it has more than \(PageRuns.mostPages) pages" }
        return chain.readable.byteCount > 0 ? "its last page number is truncated" : nil
    }
}
