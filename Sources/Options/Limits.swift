/// How much a machine of a board can have; the board says it.
package struct Limits: Equatable, Sendable {
    /// vCPUs, those there is only room for among them.
    package let vcpus: Int
    /// Disks, those plugged in later among them.
    package let disks: Int
    /// NICs, those plugged in later among them.
    package let nics: Int
    /// Devices on MMIO that the board has interrupt lines for. Whether the guest can use them all depends on its
    /// kernel.
    package let transports: Int
    /// Devices on MMIO that a guest without ACPI can use.
    package let transportsWithoutACPI: Int
    package let iothreads: Int

    package init(
        vcpus: Int, disks: Int, nics: Int, transports: Int, transportsWithoutACPI: Int, iothreads: Int
    ) {
        self.vcpus = max(1, vcpus)
        self.disks = max(0, disks)
        self.nics = max(0, nics)
        self.transports = max(0, transports)
        self.transportsWithoutACPI = max(0, transportsWithoutACPI)
        self.iothreads = max(0, iothreads)
    }
}
