import Options

extension DeviceOpener {
    /// A socket device: served by apus if it has a `socket`, and else by the kernel.
    func openVsock(_ spec: VsockDeviceSpec) throws(MachineError) -> any MachineDevice {
        guard spec.socket == nil else {
            throw MachineError("-device vhost-vsock-device", "socket= is not supported yet")
        }
        return try VhostVsock(spec)
    }
}
