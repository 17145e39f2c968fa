/// The reason why a tap cannot be used: the interface or descriptor, the failure and its remedy.
package struct TapError: Error, CustomStringConvertible {
    package let description: String

    init(_ description: String) {
        self.description = description
    }
}
