package import Backends
import EventLoop
import Memory

/// A file system device (virtio 1.2 section 5.11) whose requests a process of the host serves, such as virtiofsd.
package final class FileSystemDevice: VirtioDevice {
    private let server: VhostUserQueueServer

    /// The queue of urgent requests, and one for the others.
    private static let queueSizes: [UInt16] = [128, 128]
    /// Longest name of a file system, in bytes.
    package static let maximumTagLength = 36

    /// - Parameter tag: the name by which the guest mounts it; what is too long is cut.
    package init(id: String, tag: String, _ backend: VhostUserClient) {
        server = VhostUserQueueServer(backend)
        var config = ConfigSpace(size: Self.maximumTagLength + 4)
        config.set(bytes: Array(tag.utf8.prefix(Self.maximumTagLength)), at: 0)
        config.set(UInt32(Self.queueSizes.count - 1), at: Self.maximumTagLength)
        super.init(
            id: id, type: .fileSystem,
            features: Features.splitRing.intersection(Features(rawValue: backend.features)),
            queueSizes: Self.queueSizes, config: config)
    }

    package override func activate(_ context: DeviceContext) { context.offload(queueSizes.indices, to: server) }

    package override func retired() { server.close() }
}
