/// io_uring with faults: one operation of a thread's ring ends as the test has it, or calls of io_uring_enter fail; all
/// else is the kernel's.
///
/// The tests' program has its own `io_uring_submit` and the like, which the dynamic linker prefers to liburing's. They
/// change what is in the queues and call the real ones, so that nothing in the code under test is made for this.
#ifndef FAILING_RING_H
#define FAILING_RING_H

#include <stdbool.h>
#include <stdint.h>

/// From now on, counts the operations of the next ring that this thread submits to, and has the one at `position` end
/// with `result`: a negative `errno` or 0 without being carried out, or with 1 after the transfer of one byte. No
/// operation is at -1.
void failing_ring_begin(int64_t position, int32_t result);

/// Leaves the ring alone again.
void failing_ring_end(void);

/// How many operations were counted; not those whose end nobody waits for, and times that are more than 15 seconds off.
int64_t failing_ring_count(void);

/// How many of them have not ended.
int64_t failing_ring_in_flight(void);

/// The opcode of the operation that ended as `begin` has it; -1 if there was none, or none that can end so.
int failing_ring_failed(void);

/// From now on, has the calls of io_uring_enter by this thread fail with `error` from the one at `first` (counted from 0)
/// on, `count` of them, or with -1 all; the kernel does not see them.
void failing_ring_begin_enter(int64_t first, int64_t count, int error);

/// Leaves the calls alone again.
void failing_ring_end_enter(void);

/// How many calls there were since `begin_enter`, and how many of them failed.
int64_t failing_ring_enter_calls(void);
int64_t failing_ring_enter_failed(void);

/// How many descriptors this process has open; -1 if that cannot be told.
int failing_ring_open_descriptors(void);

#endif
