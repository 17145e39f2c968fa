/// How much a machine of a board can have; the board says it.
package struct Limits: Equatable, Sendable {
    /// vCPUs, those there is only room for among them.
    package var vcpus: Int
    /// Disks, those plugged in later among them.
    package var disks: Int
    /// NICs, those plugged in later among them.
    package var nics: Int
    /// Devices on MMIO that the board has interrupt lines for. Whether the guest can use them all depends on its
    /// kernel.
    package var transports: Int
    /// Devices on MMIO that a guest without ACPI can use.
    package var transportsWithoutACPI: Int
    package var iothreads: Int

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
