import Host

/// A descriptor to hand over, and the other end of it, which tells whether it is open.
final class HandedOver {
    private let ours: Box<FileDescriptor>
    private let theirs: FileDescriptor
    /// The number of the descriptor.
    let number: Int32

    init() throws {
        let ends = try Socket.pair()
        try ends.second.setNonBlocking(true)
        number = ends.first.rawValue
        ours = Box(ends.first)
        theirs = ends.second
    }

    /// Hands it over, once.
    func take() throws -> FileDescriptor {
        guard let file = ours.take() else { throw Errno.badDescriptor }
        return file
    }

    /// Whether it is open, wherever it is.
    var isOpen: Bool { (try? theirs.read(count: 1)) != [] }
}
