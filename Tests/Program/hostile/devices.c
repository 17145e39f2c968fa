/* What only one kind of device can be asked: cases 25 to 31. */
#include "guest.h"

static void store(u8 *at, u64 value, int size) {
    for (int index = 0; index < size; index++) at[index] = value >> 8 * index;
}

/* A chain of a readable part at `data`, and a writable one of so many bytes behind it. */
static void send(struct device *d, u32 readable, u32 writable) {
    struct ring *ring = &d->rings[d->queue];
    describe(ring, 0, (u64)d->data, readable, writable ? NEXT : 0, 1);
    describe(ring, 1, (u64)d->data + 4096, writable, WRITE, 0);
    offer(ring, 0);
    kick(d, d->queue);
}

/* MARK: Case 25 */

static const struct {
    const char *name;
    u32 type;
    u64 sector;
    u32 readable, writable;
} block_requests[] = {
    {"sector that overflows", 0, 1ul << 55, 16, 513},
    {"largest sector", 0, -1ul, 16, 513},
    {"read past the end", 0, 2047, 16, 1025},
    {"write past the end", 1, 2048, 16 + 512, 1},
    {"read of 511 bytes", 0, 0, 16, 512},
    {"write of 1 byte", 1, 0, 17, 1},
    {"unknown type", 99, 0, 16, 513},
    {"largest type", -1u, 0, 16, 513},
    {"SCSI command", 2, 0, 16 + 512, 1},
    {"serial number in 3 bytes", 8, 0, 16, 4},
    {"serial number without room", 8, 0, 16, 1},
    {"flush with data", 4, 99, 16 + 512, 1},
    {"discard of no ranges", 11, 0, 16, 1},
    {"discard of half a range", 11, 0, 24, 1},
    {"discard of many ranges", 11, 0, 16 + 2048, 1},
    {"zeroes that wrap", 13, 0, 32, 1},
    {"no status", 0, 0, 16, 0},
    {"nothing but a status", 0, 0, 0, 1},
};

static void block(struct device *d) {
    for (int index = 0; index < COUNT(block_requests); index++) {
        memset(d->data, 0xff, 4096);
        store(d->data, block_requests[index].type, 4);
        store(d->data + 8, block_requests[index].sector, 8);
        send(d, block_requests[index].readable, block_requests[index].writable);
        outcome(d, 25, block_requests[index].name, SERVED);
    }
}

/* MARK: Case 27 */

static void network(struct device *d) {
    /* Lengths below the header, of it alone, below Ethernet's, above all that is possible; all bytes 0xff make every
       field of the header a lie. */
    static const u32 lengths[] = {1, 11, 12, 13, 25, 26, 4095};
    for (int index = 0; index < COUNT(lengths); index++)
        for (int fill = 0; fill < 2; fill++) {
            memset(d->data, fill ? 0xff : 0, 4096);
            send(d, lengths[index], 0);
            outcome(d, 27, fill ? "a header full of lies" : "a frame of any length", EITHER);
        }
    memset(d->data, 0, 4096);
    for (u8 type = 1; type < 8; type++) {
        store(d->data, 1 | (u64)type << 8, 2);
        store(d->data + 4, 0xffff, 2);
        store(d->data + 6, 0xffff, 2);
        store(d->data + 8, 0xffff, 2);
        send(d, 1000, 0);
        settle(d, d->queue);
    }
    outcome(d, 27, "segments and sums that cannot be", EITHER);
    struct ring *ring = &d->rings[d->queue];
    for (u16 index = 0; index < SIZE; index++)
        describe(ring, index, SCRATCH, 4096, index < SIZE - 1 ? NEXT : 0, index + 1);
    offer(ring, 0);
    kick(d, d->queue);
    outcome(d, 27, "a frame of 256 KiB", EITHER);
    for (u16 index = 0; index < SIZE; index++) {
        describe(&d->rings[0], index, SCRATCH, index & 3, WRITE, 0);
        offer(&d->rings[0], index);
    }
    kick(d, 0);
    outcome(d, 27, "buffers too small to receive", EITHER);
}

/* MARK: Case 28 */

static void vsock_packet(u8 *at, u64 from, u64 to, u32 length, u16 type, u16 operation, u32 port) {
    memset(at, 0, 44);
    store(at, from, 8);
    store(at + 8, to, 8);
    store(at + 16, port, 4);
    store(at + 20, 1024, 4);
    store(at + 24, length, 4);
    store(at + 28, type, 2);
    store(at + 30, operation, 2);
}

static const struct {
    const char *name;
    u64 from, to;
    u32 length;
    u16 type, operation;
} packets[] = {
    {"another's address", 4, 2, 0, 1, 1},
    {"no such address", -1ul, -1ul, 0, 1, 1},
    {"to itself", 3, 3, 0, 1, 1},
    {"unknown type", 3, 2, 0, 7, 1},
    {"unknown operation", 3, 2, 0, 1, 99},
    {"no operation", 3, 2, 0, 1, 0},
    {"longer than its buffer", 3, 2, 4000, 1, 5},
    {"longest", 3, 2, 0xffffffff, 1, 5},
    {"data without a connection", 3, 2, 16, 1, 5},
    {"an answer without a question", 3, 2, 0, 1, 2},
    {"credit without a connection", 3, 2, 0, 1, 6},
};

static void vsock(struct device *d) {
    for (int index = 0; index < COUNT(packets); index++) {
        vsock_packet(d->data, packets[index].from, packets[index].to, packets[index].length, packets[index].type,
            packets[index].operation, 77);
        send(d, 44 + 16, 0);
        outcome(d, 28, packets[index].name, EITHER);
    }
    /* The host answers each, and there is no room for the answers. */
    static const u16 floods[] = {1, 3, 5, 7};
    for (int index = 0; index < COUNT(floods); index++) {
        for (u32 round = 0; round < 300; round++) {
            vsock_packet(d->data, 3, 2, 0, 1, floods[index], round);
            send(d, 44, 0);
            if (round % 16 == 15) settle(d, d->queue);
            if (stopped(d)) break;
        }
        /* What waits for room is not taken: that is no harm, and ends with the reset. */
        int good = request(witness) && begin(d, 0) && request(d);
        verdict(d, 28, "a flood", good ? "as expected" : "not as expected", good);
    }
    for (u16 index = 0; index < SIZE; index++) {
        describe(&d->rings[0], index, SCRATCH, index % 48, WRITE, 0);
        offer(&d->rings[0], index);
    }
    kick(d, 0);
    vsock_packet(d->data, 3, 2, 0, 1, 1, 5);
    send(d, 44, 0);
    outcome(d, 28, "buffers too small for an answer", EITHER);
}

/* MARK: Case 29 */

static void balloon(struct device *d) {
    static const u32 pages[] = {MEMORY_END >> 12, 0xd0000, WINDOW >> 12, 0xfee00, 0xffffffff, 0x7fffffff};
    for (int index = 0; index < 1024; index++) store(d->data + 4 * index, pages[index % COUNT(pages)], 4);
    send(d, 4096, 0);
    outcome(d, 29, "pages outside memory", EITHER);
    for (int index = 0; index < 1024; index++) store(d->data + 4 * index, (SCRATCH >> 12) + (index & 1), 4);
    send(d, 4096, 0);
    outcome(d, 29, "the same pages again and again", SERVED);
    send(d, 4095, 0);
    outcome(d, 29, "three quarters of a page number", EITHER);
    *(volatile u32 *)(d->registers + CONFIG + 4) = -1u;
    *(volatile u32 *)(d->registers + CONFIG) = -1u;
    outcome(d, 29, "more given up than there is", SERVED);
    static const u32 lengths[] = {0, 1, 9, 10, 4096};
    for (int index = 0; index < COUNT(lengths); index++)
        for (u32 queue = 1; queue < QUEUES; queue++) {
            describe(&d->rings[queue], 0, (u64)d->data, lengths[index], queue == 3 ? WRITE : 0, 0);
            offer(&d->rings[queue], 0);
            kick(d, queue);
        }
    outcome(d, 29, "statistics and reports of any length", EITHER);
    /* The page of its own rings. */
    store(d->data, (u64)d->rings >> 12, 4);
    send(d, 4, 0);
    outcome(d, 29, "its own rings", EITHER);
}

/* MARK: Case 31 */

static void entropy(struct device *d) {
    struct ring *ring = &d->rings[0];
    for (u16 head = 0; head < SIZE; head++) {
        describe(ring, head, SCRATCH, SCRATCH_SIZE, WRITE, 0);
        offer(ring, head);
    }
    kick(d, 0);
    outcome(d, 31, "many huge buffers", SERVED);
}

static void console(struct device *d) {
    struct ring *ring = &d->rings[d->queue];
    for (u16 head = 0; head < SIZE; head++) {
        describe(ring, head, SCRATCH, 65536, 0, 0);
        offer(ring, head);
    }
    kick(d, d->queue);
    outcome(d, 31, "4 MiB of output", SERVED);
    /* Control messages of ports that are not there, unknown ones, of any length, and one of 80 MiB. */
    for (u32 event = 0; event < 10; event++)
        for (u32 length = 0; length < 20; length += 3) {
            if (!begin(d, 1 << 1)) break;
            store(d->data, event * 0x1000000, 4);
            store(d->data + 4, event, 2);
            store(d->data + 6, -1ul, 2);
            describe(&d->rings[3], 0, (u64)d->data, length, 0, 0);
            offer(&d->rings[3], 0);
            describe(&d->rings[2], 0, SCRATCH, length, WRITE, 0);
            offer(&d->rings[2], 0);
            kick(d, 2);
            kick(d, 3);
            settle(d, 3);
        }
    outcome(d, 31, "control messages of any kind", EITHER);
    begin(d, 1 << 1);
    describe(&d->rings[3], 0, SCRATCH, SCRATCH_SIZE, 0, 0);
    offer(&d->rings[3], 0);
    kick(d, 3);
    settle(d, 3);
    outcome(d, 31, "control message of 80 MiB", EITHER);
}

void device_cases(struct device *d) {
    switch (d->kind) {
    case BLK: block(d); break;
    case NET: network(d); break;
    case VSOCK: vsock(d); break;
    case BALLOON: balloon(d); break;
    case RNG: entropy(d); break;
    case CONSOLE: console(d); break;
    }
}
