import Control
import Host
import TestSupport
import Testing

@testable import VMM

@Suite struct DescriptorStoreTests {
    private let store = DescriptorStore()

    private func message(_ body: () throws(QMPError) -> Void) -> String? {
        do throws(QMPError) {
            try body()
            return nil
        } catch {
            return error.description
        }
    }

    // MARK: By name

    @Test func keepsAndClosesByName() throws {
        let file = try HandedOver()
        try store.keep(try file.take(), as: "tap0")
        #expect(store.numbers == ["tap0": file.number])
        #expect(file.isOpen)
        #expect(message { () throws(QMPError) in try store.close("tap1") }?.hasSuffix("named 'tap1'") == true)
        try store.close("tap0")
        #expect(store.numbers.isEmpty && !file.isOpen)
    }

    @Test func theNextOfANameTakesThePlaceOfTheLast() throws {
        let (first, second) = (try HandedOver(), try HandedOver())
        try store.keep(try first.take(), as: "a")
        try store.keep(try second.take(), as: "a")
        #expect(store.numbers == ["a": second.number])
        #expect(!first.isOpen && second.isOpen)
    }

    @Test func keepsNoMoreThanItsLimit() throws {
        for index in 0..<DescriptorStore.limit { try store.keep(try null(), as: "\(index)") }
        let file = try HandedOver()
        let more = Box(try file.take())
        let text = message { () throws(QMPError) in
            if let more = more.take() { try store.keep(more, as: "one more") }
        }
        #expect(text == "getfd: too many descriptors are kept; closefd those that are not needed")
        #expect(!file.isOpen, "one that is not kept is closed")
        // One of a name that is there already is no more.
        try store.keep(try null(), as: "7")
        #expect(store.numbers.count == DescriptorStore.limit)
    }

    private func null() throws -> FileDescriptor { try FileDescriptor.open("/dev/null", .readWrite) }

    // MARK: For taps

    @Test func whatATapTakesOverStaysOpen() throws {
        let (first, second) = (try HandedOver(), try HandedOver())
        try store.keep(try first.take(), as: "a")
        try store.keep(try second.take(), as: "b")
        try store.release([first.number])
        #expect(Array(store.numbers.keys) == ["b"])
        #expect(first.isOpen)
        // It is the tap's now, which closes it.
        _ = FileDescriptor(owning: first.number)
        #expect(!first.isOpen && second.isOpen)
    }

    @Test func aTapGetsAllOrNothing() throws {
        let file = try HandedOver()
        let number = file.number
        try store.keep(try file.take(), as: "a")
        let stranger = message { () throws(QMPError) in try store.release([number, 0]) }
        #expect(stranger == "netdev_add: no descriptor 0 came with getfd; name one that did")
        let twice = message { () throws(QMPError) in try store.release([number, number]) }
        #expect(twice == "netdev_add: a descriptor is named twice")
        #expect(store.numbers == ["a": number])
        try store.release([])
        #expect(store.numbers == ["a": number])
    }

    // MARK: In sets

    @Test func setsHaveALimitOfTheirOwn() throws {
        try store.keep(try null(), as: "a")
        for _ in 0..<DescriptorStore.limit { _ = try store.add(try null(), toSet: 3, opaque: nil) }
        let file = Box(try null())
        let text = message { () throws(QMPError) in
            if let file = file.take() { _ = try store.add(file, toSet: nil, opaque: nil) }
        }
        #expect(text == "add-fd: too many descriptors are kept; remove-fd those that are not needed")
        try store.remove(nil, fromSet: 3)
        #expect(try store.add(try null(), toSet: nil, opaque: "x").set == 0)
        #expect(store.infos.map(\.number) == [0])
    }

    @Test func namesWhatIsNotThere() throws {
        let set = message { () throws(QMPError) in try store.remove(nil, fromSet: 4) }
        #expect(set == "remove-fd: there is no set 4 of descriptors")
        let number = message { () throws(QMPError) in try store.remove(9, fromSet: 4) }
        #expect(number == "remove-fd: there is no descriptor 9 in the set 4")
    }

    @Test func onlyAPathOfASetIsOne() throws {
        _ = try store.add(try null(), toSet: 1, opaque: nil)
        func isSet(_ path: String) throws -> Bool {
            guard let file = try store.duplicate(path, readOnly: false) else { return false }
            return file.rawValue >= 0
        }
        #expect(try isSet("/dev/fdset/1"))
        #expect(try !isSet("/srv/image"))
        #expect(throws: MachineError.self) { try isSet("/dev/fdset/2") }
        #expect(throws: MachineError.self) { try isSet("/dev/fdset/x") }
    }
}
