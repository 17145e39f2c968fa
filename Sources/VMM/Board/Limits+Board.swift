package import Bus
package import Options

extension Limits {
    /// How much a machine of this board can have.
    package init(_ board: BoardLayout) {
        self.init(
            vcpus: board.limits.vcpus, disks: board.limits.disks, nics: board.limits.nics,
            transports: board.slots(acpi: true), transportsWithoutACPI: board.slots(acpi: false),
            iothreads: board.limits.iothreads)
    }

    /// Those of the one board there is.
    package static let microvm = Limits(.microvm)
}
