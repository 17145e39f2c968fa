import Options

extension DeviceOpener {
    /// A socket device: served by apus if it has a `socket`, and else by the kernel.
    func openVsock(_ spec: VsockDeviceSpec) throws(MachineError) -> any MachineDevice {
        guard let path = spec.socket else { return try VhostVsock(spec) }
        return try UnixVsock(spec, path: path)
    }
}
