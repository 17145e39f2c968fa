/// A file format that no x86-64 kernel has. Apus must not run such a file as a raw binary.
struct ForeignFormat {
    /// The format and the remedy.
    let problem: String

    /// Recognizes a format by the file's first bytes; nil if they may be instructions.
    ///
    /// - Parameter head: the first 512 bytes, or the whole of a shorter file.
    init?(_ head: [UInt8]) {
        if let known = Self.known.first(where: { head.dropFirst($0.offset).starts(with: $0.magic) }) {
            problem = known.problem
        } else if let machine = Self.peMachine(head) {
            problem =
                machine == Self.peX86
                ? "is an EFI program without Linux's boot header, such as a unified kernel image; pass the bzImage that "
                    + "it was made of (objcopy -O binary --only-section=.linux takes it out)"
                : "is an EFI program for another architecture; pass a kernel for x86-64"
        } else if Self.isText(head) {
            problem = "is text; pass a bzImage, an ELF vmlinux or a raw binary"
        } else {
            return nil
        }
    }

    private typealias Known = (offset: Int, magic: [UInt8], problem: String)

    private static let known: [Known] = [
        (0, [0x1f, 0x8b], compressed("gzip", "gzip -dc")),
        (0, [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00], compressed("xz", "xz -dc")),
        (0, [0x28, 0xb5, 0x2f, 0xfd], compressed("zstd", "zstd -dc")),
        (0, [0x42, 0x5a, 0x68], compressed("bzip2", "bzip2 -dc")),
        (0, [0x5d, 0x00, 0x00], compressed("lzma", "xz -dc")),
        (0, [0x04, 0x22, 0x4d, 0x18], compressed("lz4", "lz4 -dc")),
        (0, [0x02, 0x21, 0x4c, 0x18], compressed("lz4", "lz4 -dc")),
        (0, [0x89, 0x4c, 0x5a, 0x4f], compressed("lzop", "lzop -dc")),
        (0, Array("07070".utf8), "is a cpio archive, which is what an initrd is; pass it as -initrd"),
        (0, [0x27, 0x05, 0x19, 0x56], "is a U-Boot image; pass the kernel that it was made of"),
        // Documentation/arch/arm64/booting.rst: the magic number at offset 56.
        (56, Array("ARMd".utf8), "is an Image for AArch64; pass a kernel for x86-64"),
        // drivers/firmware/efi/libstub/zboot-header.S: "zimg" behind the DOS magic and its padding.
        (4, Array("zimg".utf8), "is a compressed EFI kernel (zboot); pass the kernel that it was made of"),
    ]

    private static func compressed(_ name: String, _ command: String) -> String {
        "is compressed by \(name); unpack it (\(command) FILE > vmlinux) and pass the result"
    }

    private static let peX86: UInt16 = 0x8664

    /// The machine type of a PE file: `MZ`, the header's offset at 0x3c, and there `PE\0\0` and the machine type.
    private static func peMachine(_ head: [UInt8]) -> UInt16? {
        guard head.starts(with: [0x4d, 0x5a]), let start = head.load(at: 0x3c, as: UInt32.self),
            let start = Int(exactly: start), head.dropFirst(start).starts(with: [0x50, 0x45, 0, 0])
        else { return nil }
        return head.load(at: start + 4, as: UInt16.self)
    }

    /// Whether all bytes are printable ASCII or white space.
    private static func isText(_ head: [UInt8]) -> Bool {
        head.count >= 4
            && head.allSatisfy { (0x20...0x7e).contains($0) || (0x09...0x0d).contains($0) }
    }
}
