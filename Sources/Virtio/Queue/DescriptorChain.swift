/// One request of the driver: buffers that are checked, translated, and in the order that the specification wants.
///
/// A queue has one such object and fills it anew for each request: it is valid until the queue's next `next()`, and a
/// device copies what it needs longer.
package final class DescriptorChain {
    /// What the device gives back when it is done with the request.
    package var head: UInt16 { currentHead }
    var currentHead: UInt16 = 0
    /// The buffers that the device reads.
    package let readable: SliceList
    /// The buffers that the device writes.
    package let writable: SliceList

    init(capacity: Int) {
        readable = SliceList(capacity: capacity)
        writable = SliceList(capacity: capacity)
    }
}
