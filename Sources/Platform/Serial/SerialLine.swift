package import Host

/// The far end of a serial port: takes its output, and keeps input that the port cannot take yet.
package protocol SerialLine: AnyObject {
    /// Takes characters from the guest. Never blocks; the line drops what it cannot keep.
    func send(_ bytes: HostSlice)

    /// The port has room again, after it took less than it was offered.
    func resumeReceiving()
}
