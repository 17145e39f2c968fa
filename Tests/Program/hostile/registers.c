/* Registers and configuration space: cases 1 to 11, and 24. After each the device must be as good as new. */
#include "guest.h"

/* Whether queue 0 of a device with agreed features refuses this size and these places. */
static int refuses(struct device *d, u32 size, u64 descriptors, u64 available, u64 used) {
    if (!reset(d) || !negotiate(d, 0)) return 0;
    set(d, QUEUE_SEL, 0);
    set(d, QUEUE_NUM, size);
    set64(d, QUEUE_DESC, descriptors);
    set64(d, QUEUE_DRIVER, available);
    set64(d, QUEUE_DEVICE, used);
    set(d, QUEUE_READY, 1);
    int good = get(d, QUEUE_READY) == 0;
    set(d, STATUS, get(d, STATUS) | DRIVER_OK);
    for (u32 queue = 0; queue < QUEUES; queue++) set(d, QUEUE_NOTIFY, queue);
    return good;
}

static int sizes(struct device *d) {
    static const u32 sizes[] = {0, 3, 63, 0x8000, 0x10000, 0x10040, 0xffffffff};
    int good = 1;
    for (int index = 0; index < COUNT(sizes); index++)
        good &= refuses(d, sizes[index], SCRATCH, SCRATCH + 0x1000, SCRATCH + 0x2000);
    return good;
}

static int misaligned(struct device *d) {
    return refuses(d, SIZE, SCRATCH + 8, SCRATCH + 0x1000, SCRATCH + 0x2000)
        & refuses(d, SIZE, SCRATCH, SCRATCH + 0x1001, SCRATCH + 0x2000)
        & refuses(d, SIZE, SCRATCH, SCRATCH + 0x1000, SCRATCH + 0x2002);
}

static int outside(struct device *d) {
    static const u64 places[] = {MEMORY_END - 16, MEMORY_END, 0xd0000000, WINDOW, 0xfee00000, 1ul << 63, -16ul};
    int good = 1;
    for (int index = 0; index < COUNT(places); index++) {
        good &= refuses(d, SIZE, places[index], SCRATCH, SCRATCH + 0x1000);
        good &= refuses(d, SIZE, SCRATCH, places[index], SCRATCH + 0x1000);
        good &= refuses(d, SIZE, SCRATCH, SCRATCH + 0x1000, places[index]);
    }
    return good;
}

/* All rings in one place, of all queues; and a used ring on another queue's descriptors. */
static int overlapping(struct device *d) {
    if (!reset(d) || !negotiate(d, 0)) return 0;
    for (u32 queue = 0; queue < QUEUES; queue++) {
        set(d, QUEUE_SEL, queue);
        set(d, QUEUE_NUM, SIZE);
        set64(d, QUEUE_DESC, SCRATCH);
        set64(d, QUEUE_DRIVER, SCRATCH);
        set64(d, QUEUE_DEVICE, queue & 1 ? SCRATCH : SCRATCH + 16);
        set(d, QUEUE_READY, 1);
    }
    set(d, STATUS, get(d, STATUS) | DRIVER_OK);
    for (u32 round = 0; round < 64; round++) {
        *(volatile u16 *)(SCRATCH + 2) = round;
        for (u32 queue = 0; queue < QUEUES; queue++) set(d, QUEUE_NOTIFY, queue);
    }
    return 1;
}

static int changed_after_start(struct device *d) {
    static const u32 values[] = {0, 1, 0x10000, 0xffffffff};
    static const u32 offsets[] = {QUEUE_NUM, QUEUE_DESC, QUEUE_DESC + 4, QUEUE_DRIVER, QUEUE_DRIVER + 4, QUEUE_DEVICE,
        QUEUE_DEVICE + 4};
    if (!begin(d, 0)) return 0;
    for (u32 queue = 0; queue < QUEUES; queue++) {
        set(d, QUEUE_SEL, queue);
        for (int value = 0; value < COUNT(values); value++)
            for (int index = 0; index < COUNT(offsets); index++) set(d, offsets[index], values[value]);
        set(d, QUEUE_READY, 1);
    }
    return request(d);
}

static int selected_outside(struct device *d) {
    static const u32 queues[] = {64, 0xffff, 0x10000, 0x7fffffff, 0xffffffff};
    if (!begin(d, 0)) return 0;
    int good = 1;
    for (int index = 0; index < COUNT(queues); index++) {
        set(d, QUEUE_SEL, queues[index]);
        good &= get(d, QUEUE_NUM_MAX) == 0;
        set(d, QUEUE_NUM, SIZE);
        set64(d, QUEUE_DESC, -1ul);
        set(d, QUEUE_READY, 1);
        good &= get(d, QUEUE_READY) == 0;
        set(d, QUEUE_NOTIFY, queues[index]);
    }
    return good & request(d);
}

static int statuses(struct device *d) {
    static const u8 values[] = {2, 4, 8, 0xf, 0x30, 1, 3, 7, 0xf, 1, 0x43, 0xff, 0, 1, 0x81, 0x8f};
    for (int first = 0; first < COUNT(values); first++) {
        reset(d);
        for (int index = first; index < COUNT(values); index++) set(d, STATUS, values[index] | index << 16);
    }
    return 1;
}

static int features(struct device *d) {
    int good = 1;
    for (u32 bit = 0; bit <= 33; bit++) {
        /* Without VERSION_1, whatever else: no. The last two say nothing and everything. */
        u64 wanted = bit < 32 ? 1ul << bit : bit == 32 ? 0 : -1ul;
        reset(d);
        set(d, STATUS, ACKNOWLEDGE | DRIVER);
        for (u32 half = 0; half < 6; half++) {
            set(d, DRIVER_FEATURES_SEL, half < 2 ? half : half * 0x20000001);
            set(d, DRIVER_FEATURES, half < 2 ? wanted >> 32 * half : -1u);
        }
        set(d, STATUS, ACKNOWLEDGE | DRIVER | FEATURES_OK);
        good &= (get(d, STATUS) & FEATURES_OK) == 0;
    }
    if (!begin(d, 0)) return 0;
    set(d, DRIVER_FEATURES_SEL, 0);
    set(d, DRIVER_FEATURES, -1u);
    return good & request(d);
}

static void access_all(struct device *d, u32 first, u32 end, u64 value) {
    for (u32 offset = first; offset < end; offset++) {
        volatile u8 *place = d->registers + offset;
        /* Beginning with an odd one, sizes take turns, so that each place sees all of them in a few rounds. */
        switch ((offset ^ value) & 3) {
        case 0: *place, *place = value; break;
        case 1: *(volatile u16 *)place, *(volatile u16 *)place = value; break;
        case 2: *(volatile u64 *)place, *(volatile u64 *)place = value; break;
        default:
            *(volatile u32 *)place;
            /* An aligned word is a register, and those have cases of their own. */
            if (first == CONFIG || offset & 3) *(volatile u32 *)place = value;
        }
    }
}

static int configuration(struct device *d) {
    if (!begin(d, 0)) return 0;
    for (u64 value = 0; value < 4; value++) access_all(d, CONFIG, CONFIG + 0x100, value - 2);
    return 1;
}

static int odd_accesses(struct device *d) {
    if (!begin(d, 0)) return 0;
    for (u64 value = 0; value < 4; value++) access_all(d, 0, STATUS, value - 2);
    /* Over the border to the next device. */
    *(volatile u32 *)(d->registers + SLOT_SIZE - 2), *(volatile u64 *)(d->registers + SLOT_SIZE - 1) = -1ul;
    for (u32 causes = 0; causes < 8; causes++) set(d, INTERRUPT_ACK, causes * 0x1fffffff);
    static const u8 read_only[] = {MAGIC, VERSION, DEVICE_ID, 0xc, QUEUE_NUM_MAX, INTERRUPT_STATUS, 0xb0, 0xb4, 0xfc};
    for (int index = 0; index < COUNT(read_only); index++) set(d, read_only[index], -1u);
    return get(d, MAGIC) == 0x74726976 && get(d, VERSION) == 2;
}

static int early_kicks(struct device *d) {
    if (!reset(d)) return 0;
    for (u32 queue = 0; queue < 200; queue++) set(d, QUEUE_NOTIFY, queue % 6);
    if (!negotiate(d, 0)) return 0;
    for (u32 queue = 0; queue < 200; queue++) set(d, QUEUE_NOTIFY, queue % 6);
    return 1;
}

static int kick_flood(struct device *d) {
    if (!begin(d, 0)) return 0;
    for (u32 round = 0; round < 2000; round++) set(d, QUEUE_NOTIFY, round % QUEUES);
    return request(d);
}

static int reset_storm(struct device *d) {
    for (u32 round = 0; round < 100; round++) {
        if (!begin(d, 0)) return 0;
        set(d, QUEUE_NOTIFY, d->queue);
        set(d, STATUS, 0);
        set(d, STATUS, 0);
    }
    return 1;
}

/* Requests under way, and the driver gives up: when the device says that it is reset, memory is the guest's again. */
static int reset_in_flight(struct device *d) {
    u8 *buffers = (u8 *)SCRATCH;
    for (u32 round = 0; round < 20; round++) {
        if (!begin(d, 0)) return 0;
        struct ring *ring = &d->rings[d->queue];
        memset(d->data, 0, 64);
        for (u16 head = 0; head + 2 < SIZE; head += 3) {
            describe(ring, head, (u64)d->data, 16, NEXT, head + 1);
            describe(ring, head + 1, (u64)buffers + head * 4096, 4096, NEXT | WRITE, head + 2);
            describe(ring, head + 2, (u64)d->data + 1024, 1, WRITE, 0);
            offer(ring, head);
        }
        kick(d, d->queue);
        if (round & 1) kick(d, d->queue);
        if (!reset(d)) return 0;
        u16 index = ring->used.index;
        for (u16 head = 0; head + 2 < SIZE; head += 3) buffers[head * 4096] = 0x11;
        if (!request(witness)) return 0;
        for (u16 head = 0; head + 2 < SIZE; head += 3)
            if (*(volatile u8 *)(buffers + head * 4096) != 0x11) return 0;
        if (*(volatile u16 *)&ring->used.index != index) return 0;
    }
    return 1;
}

static const struct {
    int number;
    const char *name;
    int (*run)(struct device *d);
} cases[] = {
    {1, "queue sizes", sizes},
    {2, "rings not aligned", misaligned},
    {3, "rings outside memory", outside},
    {4, "rings on one another", overlapping},
    {5, "queue registers after DRIVER_OK", changed_after_start},
    {6, "queues that are not there", selected_outside},
    {7, "status", statuses},
    {8, "features", features},
    {9, "configuration space", configuration},
    {10, "odd accesses", odd_accesses},
    {11, "kicks before DRIVER_OK", early_kicks},
    {11, "kicks without number", kick_flood},
    {11, "resets without number", reset_storm},
    {24, "reset with requests in flight", reset_in_flight},
};

void register_cases(struct device *d) {
    for (int index = 0; index < COUNT(cases); index++) {
        const char *what = "as expected";
        int good = cases[index].run(d);
        if (!good) what = "not as expected";
        if (!request(witness)) what = "the neighbour is dead", good = 0;
        if (!begin(d, FEATURE_INDIRECT) || !request(d)) what = "it does not work again", good = 0;
        verdict(d, cases[index].number, cases[index].name, what, good);
    }
}
