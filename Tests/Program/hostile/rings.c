/* Rings and chains: cases 12 to 20, and 22. Each attack prepares the queue that the device serves at once. */
#include "guest.h"

static struct descriptor indirect[2 * SIZE] __attribute__((aligned(16)));

static void name_indirect(struct ring *ring, u32 length, u16 flags) {
    describe(ring, 0, (u64)indirect, length, INDIRECT | flags, 1);
    offer(ring, 0);
}

static void plain_indirect(u16 flags) {
    for (int index = 0; index < COUNT(indirect); index++)
        indirect[index] = (struct descriptor){SCRATCH, 16, flags, 0};
}

static void index_ahead(struct device *d, struct ring *ring) { ring->available.index += SIZE + 1; }
static void index_back(struct device *d, struct ring *ring) { ring->available.index--; }
static void head_outside(struct device *d, struct ring *ring) { offer(ring, SIZE); }
static void head_far_outside(struct device *d, struct ring *ring) { offer(ring, 0xffff); }

static void same_head_twice(struct device *d, struct ring *ring) {
    memset(d->data, 0, 16);
    describe(ring, 0, (u64)d->data, 16, NEXT, 1);
    describe(ring, 1, (u64)d->data + 512, 512, NEXT | WRITE, 2);
    describe(ring, 2, (u64)d->data + 1024, 1, WRITE, 0);
    offer(ring, 0);
    offer(ring, 0);
}

static void same_head_in_flight(struct device *d, struct ring *ring) {
    same_head_twice(d, ring);
    kick(d, d->queue);
    for (int turn = 0; turn < 20; turn++) {
        offer(ring, 0);
        kick(d, d->queue);
    }
}

static void self_loop(struct device *d, struct ring *ring) {
    describe(ring, 0, SCRATCH, 16, NEXT, 0);
    offer(ring, 0);
}

static void loop_of_three(struct device *d, struct ring *ring) {
    for (u16 index = 0; index < 3; index++) describe(ring, index, SCRATCH, 16, NEXT | WRITE, (index + 1) % 3);
    offer(ring, 0);
}

static void next_outside(struct device *d, struct ring *ring) {
    describe(ring, 0, SCRATCH, 16, NEXT, SIZE);
    offer(ring, 0);
}

static void whole_ring_and_back(struct device *d, struct ring *ring) {
    for (u16 index = 0; index < SIZE; index++) describe(ring, index, SCRATCH, 16, NEXT, (index + 1) % SIZE);
    offer(ring, 0);
}

static void indirect_in_indirect(struct device *d, struct ring *ring) {
    plain_indirect(INDIRECT);
    name_indirect(ring, 32, 0);
}

static void indirect_and_next(struct device *d, struct ring *ring) {
    plain_indirect(0);
    name_indirect(ring, 16, NEXT);
}

static void indirect_empty(struct device *d, struct ring *ring) { name_indirect(ring, 0, 0); }
static void indirect_of_17_bytes(struct device *d, struct ring *ring) { name_indirect(ring, 17, 0); }
static void indirect_too_long(struct device *d, struct ring *ring) {
    plain_indirect(NEXT);
    name_indirect(ring, sizeof indirect, 0);
}
static void indirect_outside(struct device *d, struct ring *ring) {
    describe(ring, 0, MEMORY_END - 16, 32, INDIRECT, 0);
    offer(ring, 0);
}
static void indirect_loop(struct device *d, struct ring *ring) {
    plain_indirect(NEXT);
    name_indirect(ring, 64, 0);
}

static void no_bytes(struct device *d, struct ring *ring) {
    describe(ring, 0, SCRATCH, 0, 0, 0);
    offer(ring, 0);
}
static void no_bytes_but_often(struct device *d, struct ring *ring) {
    for (u16 index = 0; index < SIZE; index++)
        describe(ring, index, SCRATCH, 0, index < SIZE - 1 ? NEXT : 0, index + 1);
    offer(ring, 0);
}
static void no_bytes_to_write(struct device *d, struct ring *ring) {
    for (u16 index = 0; index < SIZE; index++) {
        describe(ring, index, SCRATCH, 0, WRITE, 0);
        offer(ring, index);
    }
}

static void one(struct ring *ring, u64 address, u32 length, u16 flags) {
    describe(ring, 0, address, length, flags, 0);
    offer(ring, 0);
}
static void wraps(struct device *d, struct ring *ring) { one(ring, -8ul, 16, 0); }
static void wraps_to_write(struct device *d, struct ring *ring) { one(ring, -8ul, 16, WRITE); }
static void over_the_end(struct device *d, struct ring *ring) { one(ring, MEMORY_END - 8, 16, WRITE); }
static void behind_the_end(struct device *d, struct ring *ring) { one(ring, MEMORY_END, 1, WRITE); }
static void longest(struct device *d, struct ring *ring) { one(ring, SCRATCH, 0xffffffff, WRITE); }
static void on_registers(struct device *d, struct ring *ring) {
    one(ring, (u64)d->registers + QUEUE_NOTIFY, 4, WRITE);
}
static void on_registers_to_read(struct device *d, struct ring *ring) { one(ring, WINDOW, 0x200, 0); }
static void on_interrupt_controllers(struct device *d, struct ring *ring) { one(ring, 0xfec00000, 64, WRITE); }

/* A chain that names the same 80 MiB again and again. */
static void gigabytes(struct ring *ring, u16 count, u16 flags) {
    for (u16 index = 0; index < count; index++)
        describe(ring, index, SCRATCH, SCRATCH_SIZE, index < count - 1 ? NEXT | flags : flags, index + 1);
}
static void five_gigabytes_to_read(struct device *d, struct ring *ring) {
    gigabytes(ring, SIZE, 0);
    offer(ring, 0);
}
static void five_gigabytes_to_write(struct device *d, struct ring *ring) {
    gigabytes(ring, SIZE, WRITE);
    offer(ring, 0);
}
static void three_gigabytes_to_read(struct device *d, struct ring *ring) {
    /* A guest may say as much as it likes on its console. */
    if (d->kind == CONSOLE) return;
    gigabytes(ring, 38, 0);
    offer(ring, 0);
}
static void three_gigabytes_to_write(struct device *d, struct ring *ring) {
    gigabytes(ring, 38, WRITE);
    offer(ring, 0);
}
static void three_gigabytes_behind_a_header(struct device *d, struct ring *ring) {
    gigabytes(ring, 38, WRITE);
    memset(d->data, 0, 64);
    describe(ring, 0, (u64)d->data, 16, NEXT, 1);
    offer(ring, 0);
}

static void written_before_read(struct device *d, struct ring *ring) {
    describe(ring, 0, SCRATCH, 16, NEXT | WRITE, 1);
    describe(ring, 1, SCRATCH, 16, 0, 0);
    offer(ring, 0);
}
static void wrong_direction(struct device *d, struct ring *ring) {
    one(ring, SCRATCH, 64, d->kind == RNG || d->kind == BLK ? 0 : WRITE);
}
static void header_in_pieces(struct device *d, struct ring *ring) {
    memset(d->data, 0, 16);
    for (u16 index = 0; index < 16; index++) describe(ring, index, (u64)d->data + index, 1, NEXT, index + 1);
    describe(ring, 16, (u64)d->data + 512, 512, NEXT | WRITE, 17);
    describe(ring, 17, (u64)d->data + 1024, 1, WRITE, 0);
    offer(ring, 0);
}
static void header_too_short(struct device *d, struct ring *ring) {
    describe(ring, 0, (u64)d->data, 3, NEXT, 1);
    describe(ring, 1, (u64)d->data + 512, 1, WRITE, 0);
    offer(ring, 0);
}

static void events_far_away(struct device *d, struct ring *ring) {
    for (u16 round = 0; round < SIZE; round++) {
        ring->available.used_event = 0x8000 + round * 0x101;
        ring->available.flags = round & 1;
        one(ring, SCRATCH, 0, 0);
        kick(d, d->queue);
    }
}

static const struct attack {
    int number;
    const char *name;
    enum outcome expected;
    void (*prepare)(struct device *d, struct ring *ring);
    u64 features;
} attacks[] = {
    {12, "index ahead by more than the queue", STOPPED, index_ahead},
    {12, "index that goes backwards", STOPPED, index_back},
    {13, "head outside the table", STOPPED, head_outside},
    {13, "head far outside the table", STOPPED, head_far_outside},
    {13, "same head twice in one batch", EITHER, same_head_twice},
    {13, "same head while in flight", EITHER, same_head_in_flight},
    {14, "loop of one", STOPPED, self_loop},
    {14, "loop of three", STOPPED, loop_of_three},
    {14, "next outside the table", STOPPED, next_outside},
    {14, "chain longer than the queue", STOPPED, whole_ring_and_back},
    {15, "indirect in indirect", STOPPED, indirect_in_indirect, FEATURE_INDIRECT},
    {15, "indirect and next", STOPPED, indirect_and_next, FEATURE_INDIRECT},
    {15, "indirect table of no bytes", STOPPED, indirect_empty, FEATURE_INDIRECT},
    {15, "indirect table of 17 bytes", STOPPED, indirect_of_17_bytes, FEATURE_INDIRECT},
    {15, "indirect table longer than the queue", STOPPED, indirect_too_long, FEATURE_INDIRECT},
    {15, "indirect table over the end of memory", STOPPED, indirect_outside, FEATURE_INDIRECT},
    {15, "loop in an indirect table", STOPPED, indirect_loop, FEATURE_INDIRECT},
    {15, "indirect without the feature", STOPPED, indirect_and_next},
    {16, "buffer of no bytes", EITHER, no_bytes},
    {16, "chain of buffers of no bytes", EITHER, no_bytes_but_often},
    {16, "many buffers of no bytes", EITHER, no_bytes_to_write},
    {17, "buffer that wraps", STOPPED, wraps},
    {17, "buffer that wraps, written", STOPPED, wraps_to_write},
    {17, "buffer over the end of memory", STOPPED, over_the_end},
    {17, "buffer behind the end of memory", STOPPED, behind_the_end},
    {17, "longest buffer", STOPPED, longest},
    {17, "buffer on its own doorbell", STOPPED, on_registers},
    {17, "buffer on a device's registers, read", STOPPED, on_registers_to_read},
    {17, "buffer on the interrupt controller", STOPPED, on_interrupt_controllers},
    {18, "five gigabytes to read", STOPPED, five_gigabytes_to_read},
    {18, "five gigabytes to write", STOPPED, five_gigabytes_to_write},
    {18, "three gigabytes to read", EITHER, three_gigabytes_to_read},
    {18, "three gigabytes to write", EITHER, three_gigabytes_to_write},
    {18, "three gigabytes behind a header", EITHER, three_gigabytes_behind_a_header},
    {19, "writable before readable", STOPPED, written_before_read},
    {19, "wrong direction", EITHER, wrong_direction},
    {20, "header in sixteen pieces", EITHER, header_in_pieces},
    {20, "header too short", EITHER, header_too_short},
    {22, "events far away", EITHER, events_far_away, FEATURE_EVENT_IDX},
};

void ring_cases(struct device *d) {
    for (int index = 0; index < COUNT(attacks); index++) {
        const struct attack *attack = &attacks[index];
        if (!begin(d, attack->features)) {
            verdict(d, attack->number, attack->name, "it does not start", 0);
            continue;
        }
        attack->prepare(d, &d->rings[d->queue]);
        kick(d, d->queue);
        outcome(d, attack->number, attack->name, attack->expected);
    }
}
