import Control
import Host
import Options
import Virtio

extension Machine {
    private var cards: [NIC] { parts.slots.devices.compactMap { $0 as? NIC } }

    func addNetdev(_ spec: NetdevSpec) throws(QMPError) {
        try checkTakesDevices("netdev_add")
        let place = "netdev_add id=\(spec.id)"
        let all = cards.map(\.netdev) + backends.unusedNetdevs
        guard !all.contains(where: { $0.spec.id == spec.id }) else {
            throw QMPError("netdev_add: \(spec.id) is registered already; choose another id")
        }
        guard all.count < options.limits.nics else {
            throw QMPError("netdev_add: a MicroVm has at most \(options.limits.nics) network cards")
        }
        guard case .tap(let tap) = spec.backend else {
            throw QMPError("netdev_add: only a tap can be added while the machine runs")
        }
        let handedOver =
            (tap.interface == nil ? tap.descriptors : []) + (tap.usesVhost ? tap.vhostDescriptors : [])
        // Any other number may be one of this process's own.
        let kept = Set(backends.numbers.values)
        if let stranger = handedOver.first(where: { !kept.contains($0) }) {
            throw QMPError("netdev_add: no descriptor \(stranger) came with getfd; name one that did")
        }
        guard Set(handedOver).count == handedOver.count else {
            throw QMPError("netdev_add: a descriptor is named twice")
        }
        // From here on they are the tap's, whether it can use them or not.
        backends.release(handedOver)
        do throws(MachineError) {
            backends.add(try Netdev(spec, place))
        } catch {
            throw QMPError("\(error)")
        }
    }

    func removeNetdev(_ id: String) throws(QMPError) {
        if backends.takeNetdev(id) != nil || backends.wasRemoved(of: id) { return }
        if let card = cards.first(where: { $0.netdev.spec.id == id }) {
            throw QMPError("netdev_del: \(id) is in use by the device \(card.id); device_del takes both away")
        }
        throw QMPError("netdev_del: there is no netdev '\(id)'")
    }

    func add(_ spec: NetworkDeviceSpec, _ wanted: Int?, _ reply: QMPReply) throws(QMPError) {
        let id = spec.id ?? spec.netdev
        try checkIsFree(id)
        let slot = try freeSlot(.networkCard, wanted)
        guard let netdev = backends.takeNetdev(spec.netdev) else {
            throw QMPError("device_add: there is no unused netdev '\(spec.netdev)'; netdev_add it first")
        }
        let card: NIC
        do throws(MachineError) {
            card = try NIC(netdev, spec, beside: cards)
        } catch {
            backends.add(netdev)
            throw QMPError("device_add: \(error)")
        }
        exchange(slot: slot.number, from: nil, to: card) { [self] error in
            guard let error else {
                Log.info(id, "plugged in")
                return reply.succeed()
            }
            backends.add(netdev)
            reply.fail(QMPError("device_add: \(error)"))
        }
    }

    func setLink(_ id: String, up isUp: Bool, _ reply: QMPReply) {
        operations.add { [self] done in
            guard let slot = parts.slots.slots.first(where: { ($0.device as? NIC)?.has(name: id) ?? false })
            else {
                reply.fail(QMPError("set_link: Device '\(id)' not found", class: .deviceNotFound))
                return done()
            }
            let number = slot.number
            slot.residence.run { home, answer in
                (home.device(inSlot: number) as? NetDevice)?.setLink(up: isUp)
                answer(())
            } then: {
                reply.succeed()
                done()
            }
        }
    }
}

extension NIC {
    /// Whether a client may mean this card: by its own id, or by its netdev's.
    fileprivate func has(name: String) -> Bool { id == name || netdev.spec.id == name }
}
