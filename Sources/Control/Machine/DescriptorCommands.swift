package import Host

/// Open files that clients hand over.
package protocol DescriptorCommands: AnyObject {
    /// Keeps a descriptor under a name, in place of the one that has it already.
    func keepDescriptor(_ file: consuming FileDescriptor, as name: String) throws(QMPError)
    /// Closes a descriptor that was kept.
    func closeDescriptor(_ name: String) throws(QMPError)
    /// The numbers of the descriptors that are kept, by name.
    var descriptorNumbers: [String: Int32] { get }
    /// Keeps a descriptor in the set of this number, or in a new one; answers with the set's number and its own.
    func addDescriptor(
        _ file: consuming FileDescriptor, toSet set: UInt64?, opaque: String?
    ) throws(QMPError) -> (set: UInt64, number: Int32)
    /// Closes a descriptor of a set, or all of them, and the set with the last.
    func removeDescriptor(_ number: UInt64?, fromSet set: UInt64) throws(QMPError)
    /// The sets of descriptors.
    var descriptorSets: [FDSetInfo] { get }
}

/// A set of descriptors that clients have handed over.
package struct FDSetInfo: Equatable, Sendable {
    package struct Descriptor: Equatable, Sendable {
        package var number: Int32
        /// What the client wants to know it by.
        package var opaque: String?

        package init(number: Int32, opaque: String? = nil) {
            self.number = number
            self.opaque = opaque
        }
    }

    package var number: UInt64
    package var descriptors: [Descriptor]

    package init(number: UInt64, descriptors: [Descriptor]) {
        self.number = number
        self.descriptors = descriptors
    }
}
