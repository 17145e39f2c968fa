/* What the parts of the hostile guest share: words, ports, serial output, and a driver of virtio-mmio (virtio 1.2,
   sections 2.7 and 4.2) that does as it is told, right or wrong. */
#pragma once

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long u64;

#define COUNT(array) ((int)(sizeof(array) / sizeof *(array)))
#define BARRIER() __asm__ volatile("mfence" ::: "memory")

/* Where guest memory ends (-m 128), and a part of it that nothing else uses. */
enum { MEMORY_END = 128 << 20, SCRATCH = 32 << 20, SCRATCH_SIZE = 80 << 20 };
enum { WINDOW = 0xf0100000, SLOT_SIZE = 0x200, SLOTS = 19 };

enum register_offset {
    MAGIC = 0x00, VERSION = 0x04, DEVICE_ID = 0x08, DEVICE_FEATURES = 0x10, DEVICE_FEATURES_SEL = 0x14,
    DRIVER_FEATURES = 0x20, DRIVER_FEATURES_SEL = 0x24, QUEUE_SEL = 0x30, QUEUE_NUM_MAX = 0x34, QUEUE_NUM = 0x38,
    QUEUE_READY = 0x44, QUEUE_NOTIFY = 0x50, INTERRUPT_STATUS = 0x60, INTERRUPT_ACK = 0x64, STATUS = 0x70,
    QUEUE_DESC = 0x80, QUEUE_DRIVER = 0x90, QUEUE_DEVICE = 0xa0, CONFIG = 0x100,
};
enum { ACKNOWLEDGE = 1, DRIVER = 2, DRIVER_OK = 4, FEATURES_OK = 8, NEEDS_RESET = 0x40, FAILED = 0x80 };
enum { NEXT = 1, WRITE = 2, INDIRECT = 4 };
enum kind { NET = 1, BLK = 2, CONSOLE = 3, RNG = 4, BALLOON = 5, VSOCK = 19, FS = 26 };

#define FEATURE_INDIRECT (1ul << 28)
#define FEATURE_EVENT_IDX (1ul << 29)
#define FEATURE_VERSION_1 (1ul << 32)

/* Queues have this size; the largest chain of buffers has that many, too. */
enum { SIZE = 64, QUEUES = 5 };

struct descriptor {
    u64 address;
    u32 length;
    u16 flags, next;
};

struct ring {
    struct descriptor table[SIZE];
    struct {
        u16 flags, index, ring[SIZE], used_event;
    } available;
    struct {
        u16 flags, index;
        struct {
            u32 id, length;
        } ring[SIZE];
        u16 available_event;
    } used __attribute__((aligned(4)));
} __attribute__((aligned(16)));

struct device {
    volatile u8 *registers;
    u32 kind, slot;
    const char *name;
    u32 queue;      /* the one whose requests the device takes at once */
    u64 features;   /* what was agreed on */
    struct ring *rings;
    u8 *data;       /* a page for buffers */
};

enum outcome { SERVED, STOPPED, EITHER };

/* driver.c */
void put(const char *text);
void put_number(u64 number);
void end_machine(void);
u32 get(struct device *d, u32 offset);
void set(struct device *d, u32 offset, u32 value);
void set64(struct device *d, u32 offset, u64 value);
int reset(struct device *d);
int negotiate(struct device *d, u64 wanted);
void set_queue(struct device *d, u32 queue, struct ring *ring);
int begin(struct device *d, u64 wanted);
void describe(struct ring *ring, u32 index, u64 address, u32 length, u16 flags, u16 next);
void offer(struct ring *ring, u16 head);
void kick(struct device *d, u32 queue);
int stopped(struct device *d);
int settle(struct device *d, u32 queue);
int is_served_elsewhere(struct device *d);
int request(struct device *d);
void outcome(struct device *d, int number, const char *name, enum outcome expected);
void verdict(struct device *d, int number, const char *name, const char *what, int good);
extern struct device devices[SLOTS], *witness;
extern int device_count;
int find_devices(void);
void *memset(void *to, int value, u64 count);

/* Each group of cases. */
void register_cases(struct device *d);
void ring_cases(struct device *d);
void device_cases(struct device *d);
void race_cases(struct device *d);
extern int hypercalls_end;
void machine_cases(void);
void flood(int writes);
void reset_forever(void);
void accept_forever(void);

/* entry.S */
int attempt(void (*function)(u64), u64 argument);

static inline void out8(u16 port, u8 value) { __asm__ volatile("outb %0, %1" ::"a"(value), "Nd"(port)); }
static inline u8 in8(u16 port) {
    u8 value;
    __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}
