#ifndef CHOST_H
#define CHOST_H
#include <linux/io_uring.h>
#include <liburing.h>
#endif
