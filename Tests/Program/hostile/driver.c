/* Serial output, and the driver of virtio-mmio. */
#include "guest.h"

enum { SERIAL = 0x3f8, SLEEP_CONTROL = 0x600, SOFT_OFF = 0x34 };

struct device devices[SLOTS], *witness;
int device_count;

void *memset(void *to, int value, u64 count) {
    void *place = to;
    __asm__ volatile("rep stosb" : "+D"(place), "+c"(count) : "a"(value) : "memory");
    return to;
}

void put(const char *text) {
    while (*text) out8(SERIAL, *text++);
}

void put_number(u64 number) {
    if (number > 9) put_number(number / 10);
    out8(SERIAL, '0' + number % 10);
}

void end_machine(void) {
    out8(SLEEP_CONTROL, SOFT_OFF);
    for (;;) __asm__ volatile("hlt");
}

u32 get(struct device *d, u32 offset) { return *(volatile u32 *)(d->registers + offset); }
void set(struct device *d, u32 offset, u32 value) { *(volatile u32 *)(d->registers + offset) = value; }

void set64(struct device *d, u32 offset, u64 value) {
    set(d, offset, value);
    set(d, offset + 4, value >> 32);
}

/* How often a driver looks for what the device is to do, before it takes it for dead. */
enum { PATIENCE = 200000 };

/* Whether the device came back to its beginning. */
int reset(struct device *d) {
    set(d, STATUS, 0);
    for (int turn = 0; turn < PATIENCE; turn++)
        if (get(d, STATUS) == 0) return 1;
    return 0;
}

int negotiate(struct device *d, u64 wanted) {
    set(d, STATUS, ACKNOWLEDGE);
    set(d, STATUS, ACKNOWLEDGE | DRIVER);
    u64 offered = 0;
    for (u32 half = 0; half < 2; half++) {
        set(d, DEVICE_FEATURES_SEL, half);
        offered |= (u64)get(d, DEVICE_FEATURES) << 32 * half;
    }
    d->features = offered & (wanted | FEATURE_VERSION_1);
    for (u32 half = 0; half < 2; half++) {
        set(d, DRIVER_FEATURES_SEL, half);
        set(d, DRIVER_FEATURES, d->features >> 32 * half);
    }
    set(d, STATUS, ACKNOWLEDGE | DRIVER | FEATURES_OK);
    return (get(d, STATUS) & FEATURES_OK) != 0;
}

void set_queue(struct device *d, u32 queue, struct ring *ring) {
    memset(&ring->available, 0, sizeof ring->available);
    memset(&ring->used, 0, sizeof ring->used);
    set(d, QUEUE_SEL, queue);
    u32 most = get(d, QUEUE_NUM_MAX);
    set(d, QUEUE_NUM, most < SIZE ? most : SIZE);
    set64(d, QUEUE_DESC, (u64)ring->table);
    set64(d, QUEUE_DRIVER, (u64)&ring->available);
    set64(d, QUEUE_DEVICE, (u64)&ring->used);
    set(d, QUEUE_READY, 1);
}

/* A running device with empty queues; whether it is one. */
int begin(struct device *d, u64 wanted) {
    if (!reset(d) || !negotiate(d, wanted)) return 0;
    for (u32 queue = 0; queue < QUEUES; queue++) {
        set(d, QUEUE_SEL, queue);
        if (get(d, QUEUE_NUM_MAX)) set_queue(d, queue, &d->rings[queue]);
    }
    set(d, STATUS, ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
    return get(d, STATUS) == (ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
}

void describe(struct ring *ring, u32 index, u64 address, u32 length, u16 flags, u16 next) {
    ring->table[index] = (struct descriptor){address, length, flags, next};
}

void offer(struct ring *ring, u16 head) {
    ring->available.ring[ring->available.index % SIZE] = head;
    BARRIER();
    ring->available.index++;
}

void kick(struct device *d, u32 queue) {
    BARRIER();
    set(d, QUEUE_NOTIFY, queue);
}

int stopped(struct device *d) { return (get(d, STATUS) & NEEDS_RESET) != 0; }

/* Whether another process serves the device's queues. It may end of what it finds in them, which the device is not told:
   then the driver waits until another one is there. */
int is_served_elsewhere(struct device *d) { return d->kind == FS; }

static int settle_within(struct device *d, u32 queue, int turns) {
    struct ring *ring = &d->rings[queue];
    for (int turn = 0; turn < turns; turn++) {
        BARRIER();
        if (*(volatile u16 *)&ring->used.index == ring->available.index) return 1;
        if (turn % 16 == 15 && stopped(d)) return 1;
    }
    return 0;
}

/* Waits until the device has used all that was offered, or has stopped: whether it did. */
int settle(struct device *d, u32 queue) {
    return settle_within(d, queue, is_served_elsewhere(d) ? PATIENCE / 4 : PATIENCE);
}

/* One sound request to a running device; whether it was served. */
int request(struct device *d) {
    struct ring *ring = &d->rings[d->queue];
    u8 *data = d->data;
    switch (d->kind) {
    case BLK:
        memset(data, 0, 16);
        data[1024] = 0xee;
        describe(ring, 0, (u64)data, 16, NEXT, 1);
        describe(ring, 1, (u64)data + 512, 512, NEXT | WRITE, 2);
        describe(ring, 2, (u64)data + 1024, 1, WRITE, 0);
        break;
    case RNG:
        describe(ring, 0, (u64)data, 16, WRITE, 0);
        break;
    case BALLOON:
        *(u32 *)data = SCRATCH >> 12;
        describe(ring, 0, (u64)data, 4, 0, 0);
        break;
    case NET:
        memset(data, 0, 12);
        describe(ring, 0, (u64)data, 12 + 60, 0, 0);
        break;
    case VSOCK:
        /* A reset of a connection that is not there. */
        memset(data, 0, 44);
        *(u64 *)data = 3;
        *(u64 *)(data + 8) = 2;
        *(u32 *)(data + 16) = *(u32 *)(data + 20) = 9;
        *(u16 *)(data + 28) = 1;
        *(u16 *)(data + 30) = 3;
        describe(ring, 0, (u64)data, 44, 0, 0);
        break;
    case FS:
        /* FUSE_INIT, of version 7.31. */
        memset(data, 0, 4096);
        *(u32 *)data = 40 + 16;
        *(u32 *)(data + 4) = 26;
        *(u64 *)(data + 8) = 1;
        *(u32 *)(data + 40) = 7;
        *(u32 *)(data + 44) = 31;
        describe(ring, 0, (u64)data, 40 + 16, NEXT, 1);
        describe(ring, 1, (u64)data + 512, 16 + 64, WRITE, 0);
        break;
    default:
        describe(ring, 0, (u64)"one line\n", 9, 0, 0);
    }
    offer(ring, 0);
    kick(d, d->queue);
    if (!settle_within(d, d->queue, is_served_elsewhere(d) ? 50 * PATIENCE : PATIENCE) || stopped(d) || ring->used.index != ring->available.index) return 0;
    /* A place without a disk answers, too: with an error. */
    return d->kind != BLK || data[1024] == 0 || *(volatile u64 *)(d->registers + CONFIG) == 0;
}

void verdict(struct device *d, int number, const char *name, const char *what, int good) {
    put("case ");
    put_number(number);
    put(" ");
    put(d ? d->name : "machine");
    if (d) put_number(d->slot);
    put(" ");
    put(name);
    put(": ");
    put(what);
    put(good ? ", ok\n" : ", FAIL\n");
}

/* What became of a device that was attacked in the queue that takes requests at once; that its neighbour works, and
   that it works again itself. */
void outcome(struct device *d, int number, const char *name, enum outcome expected) {
    const char *what;
    int good;
    if (!settle(d, d->queue))
        what = "neither served nor stopped", good = is_served_elsewhere(d);
    else if (stopped(d))
        what = "stopped", good = expected != SERVED;
    else
        what = "served", good = expected != STOPPED || is_served_elsewhere(d);
    if (!request(witness)) what = "the neighbour is dead", good = 0;
    if (!begin(d, FEATURE_INDIRECT) || !request(d)) what = "it does not work again", good = 0;
    verdict(d, number, name, what, good);
}

/* Finds all devices; the last source of entropy is the neighbour that is left in peace. */
int find_devices(void) {
    static struct ring rings[SLOTS][QUEUES];
    static u8 data[SLOTS][8192] __attribute__((aligned(4096)));
    static const char *const names[] = {[NET] = "net", [BLK] = "blk", [CONSOLE] = "console", [RNG] = "rng",
        [BALLOON] = "balloon", [VSOCK] = "vsock", [FS] = "fs"};
    for (u32 slot = 0; slot < SLOTS; slot++) {
        struct device *d = &devices[device_count];
        d->registers = (volatile u8 *)(u64)(WINDOW + SLOT_SIZE * slot);
        u32 kind = get(d, DEVICE_ID);
        if (get(d, MAGIC) != 0x74726976 || get(d, VERSION) != 2 || kind >= COUNT(names) || !names[kind]) continue;
        d->kind = kind;
        d->slot = slot;
        d->name = names[kind];
        d->queue = kind == NET || kind == CONSOLE || kind == VSOCK || kind == FS;
        d->rings = rings[slot];
        d->data = data[slot];
        if (kind == RNG) witness = d;
        device_count++;
    }
    return witness && begin(witness, 0) && request(witness);
}
