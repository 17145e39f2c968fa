package import Options

/// The host's ends of devices to come: images, taps and iothreads.
package protocol BackendCommands: AnyObject {
    /// Opens an image for a disk.
    func addDrive(_ spec: DriveSpec) throws(QMPError)
    /// Closes an image that no disk uses.
    func removeDrive(_ id: String) throws(QMPError)
    /// Opens a tap for a network card; descriptors that it names are taken over.
    func addNetdev(_ spec: NetdevSpec) throws(QMPError)
    /// Closes a tap that no card uses.
    func removeNetdev(_ id: String) throws(QMPError)
    /// Adds an object that devices refer to, then completes `reply`.
    func addObject(_ spec: ObjectSpec, _ reply: QMPReply)
    /// Removes an object that no device uses, then completes `reply`.
    func removeObject(_ id: String, _ reply: QMPReply)
}

/// Devices that are plugged in and out, and what can be changed of them.
package protocol DeviceCommands: AnyObject {
    /// Plugs a device into the slot, or the first free one, then completes `reply`.
    func addDevice(_ spec: DeviceSpec, slot: Int?, _ reply: QMPReply)
    /// Unplugs the device, posts DEVICE_DELETED, then completes `reply`.
    func removeDevice(_ id: String, _ reply: QMPReply)
    /// Plugs the cable of a network card in, or pulls it out, then completes `reply`.
    func setLink(_ id: String, up isUp: Bool, _ reply: QMPReply)
    /// Gives the disk of this drive or device `size` bytes and tells the guest, then completes `reply`.
    func resizeDisk(_ id: String, to size: UInt64, _ reply: QMPReply)
    /// Sets how many requests a second the disk of this drive or device carries out on average, 0 for no limit, then
    /// completes `reply`.
    func limitDisk(_ id: String, iops: UInt32, _ reply: QMPReply)
}
