/// `vhost-vsock-device`, also named `virtio-vsock-device`: sockets between host and guest (virtio 1.2, section 5.10),
/// served by the kernel, or by apus itself if there is a `socket`.
package struct VsockDeviceSpec: Equatable, Sendable {
    package let id: String?
    /// The guest's address, 3 or more.
    package let guestCID: UInt32
    /// An inherited descriptor of `/dev/vhost-vsock`; nil if apus is to open it.
    package let vhostDescriptor: Int32?
    /// The path of the Unix socket that the host's programs connect to; `PATH_PORT` serves the guest's connections.
    package let socket: String?
}

extension VsockDeviceSpec {
    private enum Keys {
        static let id = OptionKey("id", .deviceID, "its name, for device_del")
        static let guestCID = OptionKey(
            "guest-cid", ValueType<UInt32>.number("a context id", 3...UInt32.max), .required,
            "the guest's address, 3 or more; with socket= several machines may have the same")
        static let vhostfd = OptionKey(
            "vhostfd", ValueType<Int32>.number("a file descriptor", 0...Int32.max),
            "an inherited descriptor of /dev/vhost-vsock")
        static let socket = OptionKey(
            "socket", .socketPath, "serve it by apus: the Unix socket for CONNECT PORT; PATH_PORT for the guest's calls"
        )
    }

    static let keys = [
        Keys.guestCID.description, Keys.id.description, Keys.vhostfd.description, Keys.socket.description,
    ]

    static func decode(_ reader: KeyReader) throws(OptionError) -> VsockDeviceSpec {
        let descriptor = try reader.optional(Keys.vhostfd)
        let socket = try reader.optional(Keys.socket)
        if descriptor != nil, socket != nil {
            throw reader.error(
                Keys.socket, "and vhostfd exclude each other",
                remedy: "either apus serves the device or the kernel does")
        }
        return VsockDeviceSpec(
            id: try reader.id(Keys.id), guestCID: try reader.value(Keys.guestCID), vhostDescriptor: descriptor,
            socket: socket)
    }
}
