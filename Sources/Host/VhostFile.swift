import CHost

/// What the kernel's vhost refused.
package struct VhostError: Error, CustomStringConvertible {
    /// The request, as the kernel names it.
    package let request: String
    package let reason: Errno

    package init(request: String, reason: Errno) {
        self.request = request
        self.reason = reason
    }

    package var description: String { "\(request): \(reason)" }
}

/// An open device of the kernel's vhost, which serves virtqueues in this process's memory (`linux/vhost.h`).
///
/// Rings are numbered from 0 within one file.
package struct VhostFile: ~Copyable, Sendable {
    private let descriptor: FileDescriptor

    /// Takes over an open `/dev/vhost-net` or `/dev/vhost-vsock`.
    package init(_ descriptor: consuming FileDescriptor) {
        self.descriptor = descriptor
    }

    /// One range of guest memory.
    package struct Region {
        let region: vhost_memory_region

        /// - Parameter memory: where this process has what the guest has at `guestAddress`.
        package init(guestAddress: UInt64, memory: HostSlice) {
            region = vhost_memory_region(
                guest_phys_addr: guestAddress, memory_size: UInt64(memory.count),
                userspace_addr: UInt64(memory.address), flags_padding: 0)
        }
    }

    // MARK: The device

    /// Makes this process the owner, whose memory the rings are in (`VHOST_SET_OWNER`).
    ///
    /// - Throws: `EBUSY` if it has an owner already.
    package func setOwner() throws(VhostError) {
        try unsafe request("VHOST_SET_OWNER", HOST_VHOST_SET_OWNER, nil)
    }

    /// The virtio features that the kernel serves, among others of its own.
    package func features() throws(VhostError) -> UInt64 {
        var features: UInt64 = 0
        try unsafe request("VHOST_GET_FEATURES", HOST_VHOST_GET_FEATURES, &features)
        return features
    }

    /// Chooses from the features.
    package func setFeatures(_ features: UInt64) throws(VhostError) {
        var features = features
        try unsafe request("VHOST_SET_FEATURES", HOST_VHOST_SET_FEATURES, &features)
    }

    /// Tells where guest memory is.
    package func setMemory(_ regions: [Region]) throws(VhostError) {
        let regions = regions.map(\.region)
        let count = UInt32(clamping: regions.count)
        do {
            _ = try checked { unsafe host_vhost_set_memory(descriptor.rawValue, regions, count) }
        } catch {
            throw VhostError(request: "VHOST_SET_MEM_TABLE", reason: error)
        }
    }

    // MARK: Rings

    /// Sets how many descriptors a ring has.
    package func setSize(ofRing index: UInt32, _ size: UInt16) throws(VhostError) {
        var state = vhost_vring_state(index: index, num: UInt32(size))
        try unsafe request("VHOST_SET_VRING_NUM", HOST_VHOST_SET_VRING_NUM, &state)
    }

    /// Sets the next entry of the available ring to take.
    package func setBase(ofRing index: UInt32, _ base: UInt16) throws(VhostError) {
        var state = vhost_vring_state(index: index, num: UInt32(base))
        try unsafe request("VHOST_SET_VRING_BASE", HOST_VHOST_SET_VRING_BASE, &state)
    }

    /// The next entry of the available ring to take, when the ring is stopped.
    package func base(ofRing index: UInt32) throws(VhostError) -> UInt16 {
        var state = vhost_vring_state(index: index, num: 0)
        try unsafe request("VHOST_GET_VRING_BASE", HOST_VHOST_GET_VRING_BASE, &state)
        return UInt16(truncatingIfNeeded: state.num)
    }

    /// Sets where the parts of a ring are.
    package func setParts(
        ofRing index: UInt32, descriptors: HostSlice, available: HostSlice, used: HostSlice
    ) throws(VhostError) {
        var address = vhost_vring_addr()
        address.index = index
        address.desc_user_addr = UInt64(descriptors.address)
        address.avail_user_addr = UInt64(available.address)
        address.used_user_addr = UInt64(used.address)
        try unsafe request("VHOST_SET_VRING_ADDR", HOST_VHOST_SET_VRING_ADDR, &address)
    }

    /// Sets the eventfd that tells of new requests, or takes it away.
    package func setKick(ofRing index: UInt32, _ event: Int32?) throws(VhostError) {
        try setFile("VHOST_SET_VRING_KICK", HOST_VHOST_SET_VRING_KICK, index, event)
    }

    /// Sets the eventfd to signal when requests were used, or takes it away.
    package func setCall(ofRing index: UInt32, _ event: Int32?) throws(VhostError) {
        try setFile("VHOST_SET_VRING_CALL", HOST_VHOST_SET_VRING_CALL, index, event)
    }

    /// Sets the eventfd to signal when a ring is broken, or takes it away.
    package func setError(ofRing index: UInt32, _ event: Int32?) throws(VhostError) {
        try setFile("VHOST_SET_VRING_ERR", HOST_VHOST_SET_VRING_ERR, index, event)
    }

    // MARK: What the device is

    /// vhost-net: moves the packets of a ring to and from a tap, or with nil stops it.
    package func setNetBackend(ofRing index: UInt32, _ tap: Int32?) throws(VhostError) {
        try setFile("VHOST_NET_SET_BACKEND", HOST_VHOST_NET_SET_BACKEND, index, tap)
    }

    /// vhost-vsock: sets the guest's address.
    ///
    /// - Throws: `EADDRINUSE` if another guest of this host has it.
    package func setGuestCID(_ cid: UInt64) throws(VhostError) {
        var cid = cid
        try unsafe request("VHOST_VSOCK_SET_GUEST_CID", HOST_VHOST_VSOCK_SET_GUEST_CID, &cid)
    }

    /// vhost-vsock: serves the rings, or stops.
    package func setRunning(_ isRunning: Bool) throws(VhostError) {
        var value: Int32 = isRunning ? 1 : 0
        try unsafe request("VHOST_VSOCK_SET_RUNNING", HOST_VHOST_VSOCK_SET_RUNNING, &value)
    }

    // MARK: ioctl

    @unsafe
    private func request(_ name: String, _ number: UInt, _ argument: UnsafeMutableRawPointer?) throws(VhostError) {
        do {
            _ = try checked { unsafe host_ioctl_pointer(descriptor.rawValue, number, argument) }
        } catch {
            throw VhostError(request: name, reason: error)
        }
    }

    private func setFile(_ name: String, _ number: UInt, _ index: UInt32, _ file: Int32?) throws(VhostError) {
        var file = vhost_vring_file(index: index, fd: file ?? VHOST_FILE_UNBIND)
        try unsafe request(name, number, &file)
    }
}
