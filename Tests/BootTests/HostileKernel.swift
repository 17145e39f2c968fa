import Bus
import Host
import Memory
import Testing

@testable import Boot

/// A kernel that must be refused, with the field the error has to name.
struct HostileKernel: Sendable, CustomTestStringConvertible {
    let testDescription: String
    let image: Image
    let field: String
    var bootProtocol = BootProtocol.automatic

    init(_ name: String, _ image: Image, _ field: String, by bootProtocol: BootProtocol = .automatic) {
        testDescription = name
        self.image = image
        self.field = field
        self.bootProtocol = bootProtocol
    }

    /// Expects the refusal: in these words, and with nothing written where the kernel has no business.
    func check() throws {
        let memory = try GuestMemory(size: 0x400_0000)
        let plan = BootPlan(bootProtocol: bootProtocol, layout: .microvm, cpuCount: 1)
        let error = #expect(throws: BootError.self) { try load(image, plan, into: memory) }
        #expect(error?.field == field)
        #expect(error?.place == "-kernel /test/image")
        #expect(try memory.slice(at: GuestAddress(0), count: 0x10_0000).isZero)
    }
}
