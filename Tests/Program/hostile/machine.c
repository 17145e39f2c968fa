/* A second processor that changes what the first one has offered (case 21), the board's own registers (33), and the
   processors themselves (34). */
#include "guest.h"

enum { APIC = 0xfee00000, ICR_LOW = APIC + 0x300, ICR_HIGH = APIC + 0x310 };
/* Where the second processor can begin: with what brings it to `second_main`, and with what stops it. */
enum { TRAMPOLINE = 0x10000, PARKING = 0x30000 };
enum { INIT = 0x4500, STARTUP = 0x4600 };

extern const u8 trampoline[], trampoline_end[];

/* What one processor makes of a state depends on which it was: the second one may be anywhere when the first one
   starts it anew. */
enum state { ABSENT, WORKS, IS_TO_HALT, HALTED };

static volatile struct {
    u32 state, size;
    u64 place, values[2], turns;
} second;

static void change_state(u32 from, u32 to) {
    __asm__ volatile("lock cmpxchg %2, %1" : "+a"(from), "+m"(second.state) : "r"(to) : "memory");
}

void second_main(void) {
    change_state(ABSENT, WORKS);
    while (second.state == WORKS) {
        u64 value = second.values[second.turns++ & 1];
        switch (second.size) {
        case 2: *(volatile u16 *)second.place = value; break;
        case 4: *(volatile u32 *)second.place = value; break;
        default: *(volatile u64 *)second.place = value;
        }
    }
    change_state(IS_TO_HALT, HALTED);
}

static void interrupt_second(u32 what) {
    *(volatile u32 *)ICR_HIGH = 1 << 24;
    *(volatile u32 *)ICR_LOW = what;
}

static void start_at(u32 place) { interrupt_second(STARTUP | place >> 12); }

/* Asks a device so many times, and waits for each answer: a host that has much to do gets to the second processor
   meanwhile. */
static void ask(u32 times) {
    while (times-- > 0) get(witness, STATUS);
}

/* Whether the second processor leaves this state before long. */
static int leaves(u32 state) {
    for (u32 turn = 0; turn < 20000 && second.state == state; turn++) ask(1);
    return second.state != state;
}

static void lay_beginnings(void) {
    static const u8 stop[] = {0xfa, 0xf4, 0xeb, 0xfd}; /* cli; 1: hlt; jmp 1b */
    for (int index = 0; index < trampoline_end - trampoline; index++)
        ((volatile u8 *)TRAMPOLINE)[index] = trampoline[index];
    for (int index = 0; index < COUNT(stop); index++) ((volatile u8 *)PARKING)[index] = stop[index];
    *(volatile u32 *)(APIC + 0xf0) = 0x1ff;
}

/* Whether the second processor came. A start-up is lost on one that does not wait for it yet, so this goes by the book:
   INIT, a while, STARTUP, a while, STARTUP again (MultiProcessor Specification 1.4, appendix B.4); and that a few
   times. */
static int start_second(void) {
    lay_beginnings();
    for (int tries = 0; tries < 5; tries++) {
        interrupt_second(INIT);
        ask(100);
        second.state = ABSENT;
        for (int startups = 0; startups < 2; startups++) {
            start_at(TRAMPOLINE);
            if (leaves(ABSENT)) return 1;
        }
    }
    return 0;
}

/* Whether it is not there any more. */
static int halt_second(void) {
    change_state(WORKS, IS_TO_HALT);
    return leaves(IS_TO_HALT);
}

/* MARK: Case 21 */

/* In the second descriptor of a chain of two, if no other. */
static const struct {
    const char *name;
    u32 descriptor, offset, size;
    u64 values[2];
} races[] = {
    {"address, out of memory and back", 1, 0, 8, {SCRATCH, MEMORY_END - 4}},
    {"length, huge and small", 1, 8, 4, {8, 0xffffff00}},
    {"flags, read and written", 1, 12, 2, {0, WRITE}},
    {"flags, indirect", 0, 12, 2, {NEXT, INDIRECT}},
    {"next, outside the table", 0, 14, 2, {1, 0xffff}},
    {"next, a loop", 0, 14, 2, {1, 0}},
};

void race_cases(struct device *d) {
    for (int index = 0; index < COUNT(races); index++) {
        struct ring *ring = &d->rings[d->queue];
        int good = begin(d, FEATURE_INDIRECT);
        second.size = races[index].size;
        second.place = (u64)&ring->table[races[index].descriptor] + races[index].offset;
        second.values[0] = races[index].values[0];
        second.values[1] = races[index].values[1];
        second.turns = 0;
        const char *what = "served";
        if (!start_second()) what = "no second processor", good = 0;
        /* At least until the other one has had its turns; another process that serves it may end of each. */
        u32 rounds = is_served_elsewhere(d) ? 5 : 100;
        for (u32 round = 0; good && (round < rounds || (second.turns <= 100 && round < 20000)); round++) {
            u16 direction = d->kind == RNG ? WRITE : 0;
            describe(ring, 0, (u64)d->data, 64, NEXT | direction, 1);
            describe(ring, 1, SCRATCH, 8, direction, 0);
            offer(ring, 0);
            kick(d, d->queue);
            int is_settled = settle(d, d->queue);
            good = is_settled || is_served_elsewhere(d);
            if (stopped(d) || !is_settled) what = "stopped at times", good &= begin(d, FEATURE_INDIRECT);
        }
        if (good && second.turns <= 100) what = "the second processor stands still", good = 0;
        if (!halt_second()) what = "the second processor does not halt", good = 0;
        int alive = request(witness) && begin(d, 0) && request(d);
        verdict(d, 21, races[index].name, what, good && alive);
    }
}

/* MARK: Cases 33 and 34 */

static void every_port(void) {
    /* The serial port's, but not what would be printed; a loop back to its own receiver too. */
    for (u32 value = 0; value < 256; value++)
        for (u16 port = 0x3f9; port <= 0x3ff; port++) {
            out8(port, value);
            in8(port);
            in8(0x3f8);
        }
    out8(0x3fb, 3);
    out8(0x3fc, 0);
    out8(0x3f9, 0);
    /* The keyboard controller's; 0xf0 to 0xff pulse its reset line. */
    for (u32 value = 0; value < 0xf0; value++) {
        out8(0x64, value);
        out8(0x60, value);
        in8(0x60);
        in8(0x64);
    }
    /* Everything but what ends the machine or prints. */
    for (u32 port = 0; port < 0x1000; port++) {
        in8(port);
        if (port == 0x64 || port == 0x3f8 || port == 0x505 || (port >= 0x600 && port < 0x604)) continue;
        if (port >= 0x20 && port <= 0xa1 && port != 0x80) continue;
        out8(port, 0);
        __asm__ volatile("outw %w0, %w1" ::"a"(0), "d"(port));
    }
    u16 port = 0x3ff;
    u64 count = 64;
    const void *from = (const void *)SCRATCH;
    __asm__ volatile("rep outsb" : "+S"(from), "+c"(count) : "d"(port));
    out8(0x3fb, 3);
    out8(0x3fc, 0);
    out8(0x3f9, 0);
}

static void unmapped_memory(void) {
    static const u32 places[] = {0xd0000000, 0xf0000000, 0xfed00000, 0xffff0000, 0xf00ffffc};
    for (int index = 0; index < COUNT(places); index++)
        for (u32 offset = 0; offset < 16; offset++) {
            volatile u8 *place = (volatile u8 *)(u64)places[index] + offset;
            *place = *place;
            *(volatile u64 *)place = *(volatile u64 *)place;
        }
}

static void read_msr(u64 number) { __asm__ volatile("rdmsr" ::"c"(number) : "rax", "rdx"); }
static void write_msr(u64 number) { __asm__ volatile("wrmsr" ::"c"(number), "a"(-1), "d"(-1)); }
static void hypercall(u64 number) { __asm__ volatile("vmcall" : "+a"(number)::"memory"); }
static void undefined(u64 number) { __asm__ volatile("ud2"); }

static const char *model_registers(void) {
    static const u32 numbers[] = {0x10, 0x1b, 0x8b, 0x17a, 0x186, 0x38f, 0x40000000, 0x4b564d00, 0xc0010117, 0xdeadbeef};
    for (int index = 0; index < COUNT(numbers); index++) {
        attempt(read_msr, numbers[index]);
        if (numbers[index] > 0x1b) attempt(write_msr, numbers[index]);
    }
    return 0;
}

/* Whether the host's KVM is the processor's own: one that is emulated may never come back from a hypercall. */
int hypercalls_end;

static const char *hypercalls(void) {
    for (u64 number = 0; hypercalls_end && number < 16; number++) attempt(hypercall, number);
    return attempt(undefined, 0) ? 0 : "an undefined instruction is none";
}

static const char *start_storm(void) {
    lay_beginnings();
    for (u32 round = 0; round < 200; round++) {
        interrupt_second(INIT);
        start_at(round % 3 ? TRAMPOLINE : PARKING);
    }
    /* Wherever it went: it can still be started. */
    if (!start_second()) return "the second processor does not start";
    return halt_second() ? 0 : "the second processor does not halt";
}

static const char *ports(void) { every_port(); return 0; }
static const char *nowhere(void) { unmapped_memory(); return 0; }

void machine_cases(void) {
    /* Each says what went wrong, if anything did. */
    static const struct {
        int number;
        const char *name, *(*run)(void);
    } cases[] = {
        {10, "memory that is not there", nowhere},
        {33, "every port", ports},
        {34, "model specific registers", model_registers},
        {34, "hypercalls", hypercalls},
        {34, "INIT and SIPI without number", start_storm},
    };
    for (int index = 0; index < COUNT(cases); index++) {
        const char *wrong = cases[index].run();
        if (!request(witness)) wrong = "the neighbour is dead";
        verdict(0, cases[index].number, cases[index].name, wrong ? wrong : "as expected", !wrong);
    }
}

/* MARK: While the host plugs */

/* Reads or writes without number on every disk there is, wherever one comes or goes, and shows that it lives. */
void flood(int writes) {
    static u8 running[SLOTS], headers[SLOTS][SIZE][16];
    for (u32 round = 0;; round++) {
        for (int index = 0; index < device_count; index++) {
            struct device *d = &devices[index];
            struct ring *ring = &d->rings[d->queue];
            if (d->kind != BLK) continue;
            if (!running[index] || !(get(d, STATUS) & DRIVER_OK) || stopped(d)) {
                running[index] = begin(d, 0);
                continue;
            }
            for (u16 head = 0; head + 2 < SIZE; head += 3) {
                if ((u16)(ring->available.index - *(volatile u16 *)&ring->used.index) > 8) break;
                u8 *header = headers[index][head];
                header[0] = writes;
                *(u64 *)(header + 8) = (round * 21 + head / 3) % 2048 * 8;
                describe(ring, head, (u64)header, 16, NEXT, head + 1);
                describe(ring, head + 1, SCRATCH + head * 4096, 4096, writes ? NEXT : NEXT | WRITE, head + 2);
                describe(ring, head + 2, (u64)d->data + 1024, 1, WRITE, 0);
                offer(ring, head);
            }
            kick(d, d->queue);
        }
        if (round % 8 == 0) put(request(witness) ? "." : "FAIL: the neighbour is dead\n");
    }
}
