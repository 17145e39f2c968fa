package import Host

/// The far end of a serial port: where its characters go, and who keeps back what cannot be received yet.
package protocol SerialLine: AnyObject {
    /// Takes characters from the guest. Never blocks; what cannot be kept is the line's business.
    func send(_ bytes: HostSlice)

    /// The port, which took less than it was offered, has room again.
    func resumeReceiving()
}
