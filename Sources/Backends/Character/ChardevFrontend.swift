package import Host

/// The guest's side of a character backend: a serial port, or a port of a console.
package protocol ChardevFrontend: AnyObject {
    /// Whether the guest's side is in use.
    var isOpen: Bool { get }

    /// Takes characters for the guest; answers how many were taken. If not all, the front end says with
    /// `Chardev.resumeReceiving` when it takes more.
    func receive(_ bytes: HostSlice) -> Int

    /// Somebody has come to the host's end, or has left it.
    func hostEndChanged(isOpen: Bool)

    /// Some of what the guest wrote has left: there is more room in the backend's memory of output.
    func outputLeft()
}

extension ChardevFrontend {
    package var isOpen: Bool { true }
    package func hostEndChanged(isOpen: Bool) {}
    package func outputLeft() {}
}
