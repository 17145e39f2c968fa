/// `-accel`: what runs the guest's instructions. It is always KVM.
package enum AcceleratorSpec: String, Equatable, Sendable {
    case kvm

    /// Reads the value of `-accel`. Throws an error for anything but `kvm` and `kvm:tcg`.
    package static func parse(_ text: String) throws(OptionError) -> AcceleratorSpec {
        try ValueType.accelerator.read(text, option: "-accel")
    }
}

extension ValueType where Value == AcceleratorSpec {
    /// `kvm`, or `kvm:tcg` for those who ask for emulation as a second choice, which is never needed.
    static let accelerator = ValueType(
        placeholder: "kvm", expectation: "an accelerator; kvm is the one that is supported"
    ) { text in
        text == "kvm" || text == "kvm:tcg" ? .kvm : nil
    }
}
