package import Backends
import EventLoop
import Memory

/// A file system device (virtio 1.2 section 5.11) whose requests a process of the host serves, such as virtiofsd.
package final class FileSystemDevice: VirtioDevice {
    private let backend: VhostUserClient
    private var isHalted = false

    /// The queue of urgent requests, and one for the others.
    private static let queueSizes: [UInt16] = [128, 128]
    /// Longest name of a file system, in bytes.
    package static let maximumTagLength = 36

    /// - Parameter tag: the name by which the guest mounts it; what is too long is cut.
    package init(id: String, tag: String, _ backend: VhostUserClient) {
        self.backend = backend
        var config = ConfigSpace(size: Self.maximumTagLength + 4)
        config.set(bytes: Array(tag.utf8.prefix(Self.maximumTagLength)), at: 0)
        config.set(UInt32(Self.queueSizes.count - 1), at: Self.maximumTagLength)
        super.init(
            id: id, type: .fileSystem,
            features: Features.splitRing.intersection(Features(rawValue: backend.features)),
            queueSizes: Self.queueSizes, config: config)
        backend.onRest = { [weak self] in self?.operationCompleted(tag: 0, result: 0) }
    }

    package override var interruptsDirectly: Bool { true }

    package override var isIdle: Bool { backend.isAtRest }

    package override func servesQueue(_ index: Int) -> Bool { false }

    package override func activate(_ context: DeviceContext) {
        isHalted = false
        let rings = queueSizes.indices.compactMap(context.vring)
        guard rings.count == queueSizes.count else {
            return context.fail("the driver started it without its queues")
        }
        guard context.memory.file != nil else {
            return context.fail("the guest's memory cannot be shared with the process that serves it")
        }
        backend.start(rings, features: context.features.rawValue, memory: context.memory)
    }

    package override func pause() { backend.stop() }

    package override func resume() {
        if !isHalted { backend.resume() }
    }

    package override func queueStopped(_ index: Int) {
        isHalted = true
        backend.stop()
    }

    package override func cancelRequests() { backend.stop() }

    package override func reset() { backend.forget() }

    package override func retired() { backend.close() }
}
