/// A fixed number of plain values at a fixed address, changed in place.
///
/// What an array in a class costs on each change (a check for exclusive access, and one for a shared copy) this does
/// not: it is for the tables of a data path. An index outside the table is a mistake of the program and ends it.
///
/// It is `public` because the compiler specialises only what is public across modules.
@safe
public struct FixedTable<Element: BitwiseCopyable>: ~Copyable {
    @usableFromInline let base: UnsafeMutablePointer<Element>
    /// How many elements there are.
    public let count: Int

    /// A table of `count` elements, all equal to `element`.
    package init(repeating element: Element, count: Int) {
        self.count = max(count, 0)
        unsafe base = .allocate(capacity: max(count, 1))
        unsafe base.initialize(repeating: element, count: self.count)
    }

    deinit {
        unsafe base.deallocate()
    }

    /// One element.
    @inlinable
    public subscript(index: Int) -> Element {
        get {
            precondition(index >= 0 && index < count)
            return unsafe base[index]
        }
        nonmutating _modify {
            precondition(index >= 0 && index < count)
            yield unsafe &base[index]
        }
    }
}
