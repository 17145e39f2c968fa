/// Why a tap cannot be used; the text says which interface or descriptor, and what would help.
package struct TapError: Error, CustomStringConvertible {
    package let description: String

    init(_ description: String) {
        self.description = description
    }
}
