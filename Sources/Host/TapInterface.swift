import CHost
import Glibc

/// A tap interface as the kernel describes it (`TUNGETIFF`).
package struct TapInterface: Sendable {
    package let name: String
    /// It carries Ethernet frames, and not IP packets as a tun does.
    package let isTap: Bool
    /// Frames come without four bytes of packet information before them.
    package let hasBareFrames: Bool
    /// Each frame has a `virtio_net_hdr` before it.
    package let hasHeaders: Bool
    package let isMultiqueue: Bool
}

/// What the reader of a tap takes over from the kernel (`TUN_F_*`); in the other direction nothing needs to be said.
package struct TapOffloads: OptionSet, Sendable {
    package let rawValue: UInt32

    package init(rawValue: UInt32) {
        self.rawValue = rawValue
    }

    /// Frames may come without their checksum; needed for all the others.
    package static let checksum = TapOffloads(rawValue: UInt32(TUN_F_CSUM))
    package static let tso4 = TapOffloads(rawValue: UInt32(TUN_F_TSO4))
    package static let tso6 = TapOffloads(rawValue: UInt32(TUN_F_TSO6))
    package static let ecn = TapOffloads(rawValue: UInt32(TUN_F_TSO_ECN))
    /// UDP segmentation, which the kernel knows since 6.2 and for both versions of IP only.
    package static let uso = TapOffloads(rawValue: HOST_TUN_F_USO4 | HOST_TUN_F_USO6)
}

extension FileDescriptor {
    /// Attaches this descriptor of `/dev/net/tun` to the interface `name`, which is made if there is none: a tap whose
    /// frames have a `virtio_net_hdr`.
    package func attachTap(_ name: String, isMultiqueue: Bool) throws(Errno) {
        var tap = host_tap()
        guard !name.isEmpty, name.utf8.count < MemoryLayout.size(ofValue: tap.name), !name.utf8.contains(0) else {
            throw .invalidArgument
        }
        unsafe withUnsafeMutableBytes(of: &tap.name) { unsafe $0.copyBytes(from: Array(name.utf8)) }
        tap.flags = HOST_IFF_TAP | HOST_IFF_NO_PI | HOST_IFF_VNET_HDR | (isMultiqueue ? HOST_IFF_MULTI_QUEUE : 0)
        _ = try checked { unsafe host_tap_attach(rawValue, &tap) }
    }

    /// The interface that the descriptor is attached to.
    ///
    /// - Throws: `ENOTTY`, or another error, for what is no tap; `EBADFD` for one that is attached to nothing.
    package func tapInterface() throws(Errno) -> TapInterface {
        var tap = host_tap()
        _ = try checked { unsafe host_tap_describe(rawValue, &tap) }
        let name = unsafe withUnsafeBytes(of: &tap.name) { unsafe Array($0.prefix { $0 != 0 }) }
        return TapInterface(
            name: String(decoding: name, as: UTF8.self), isTap: tap.flags & HOST_IFF_TAP != 0,
            hasBareFrames: tap.flags & HOST_IFF_NO_PI != 0, hasHeaders: tap.flags & HOST_IFF_VNET_HDR != 0,
            isMultiqueue: tap.flags & HOST_IFF_MULTI_QUEUE != 0)
    }

    /// Sets how many bytes the header before each frame takes.
    package func setTapHeaderSize(_ size: Int32) throws(Errno) {
        var size = size
        _ = try checked { unsafe host_ioctl_pointer(rawValue, HOST_TUNSETVNETHDRSZ, &size) }
    }

    /// Says which frames may come unfinished; those that come otherwise are finished by the kernel.
    package func setTapOffloads(_ offloads: TapOffloads) throws(Errno) {
        _ = try checked { host_ioctl(rawValue, HOST_TUNSETOFFLOAD, UInt(offloads.rawValue)) }
    }

    /// Lets the kernel use this queue of a multi-queue tap, or not.
    package func setTapQueue(isAttached: Bool) throws(Errno) {
        let flags = isAttached ? HOST_IFF_ATTACH_QUEUE : HOST_IFF_DETACH_QUEUE
        _ = try checked { host_tap_set_queue(rawValue, flags) }
    }
}

/// The largest packet that the interface of this name carries, in bytes without its Ethernet header; nil if there is
/// no such interface in this process's network.
package func interfaceMTU(_ name: String) -> Int? {
    let mtu = unsafe host_interface_mtu(name)
    return mtu < 0 ? nil : Int(mtu)
}
