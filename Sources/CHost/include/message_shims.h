/// Messages with descriptors (SCM_RIGHTS), whose control data is laid out by macros.
#ifndef CHOST_MESSAGE_SHIMS_H
#define CHOST_MESSAGE_SHIMS_H

/// How many descriptors one message carries at most.
enum { HOST_MESSAGE_DESCRIPTORS = 8 };

/// One message with its data and descriptors, at a place of its own.
struct host_message {
    struct msghdr header;
    struct iovec vector;
    union {
        struct cmsghdr head;
        char room[CMSG_SPACE(HOST_MESSAGE_DESCRIPTORS * sizeof(int))];
    } control;
};

/// Makes the message ready to be sent; no more descriptors than it can carry.
static inline void host_message_set(
    struct host_message *message, void *data, size_t count, const int *descriptors, size_t descriptor_count) {
    memset(message, 0, sizeof *message);
    message->vector.iov_base = data;
    message->vector.iov_len = count;
    message->header.msg_iov = &message->vector;
    message->header.msg_iovlen = 1;
    if (descriptor_count == 0 || descriptor_count > HOST_MESSAGE_DESCRIPTORS) {
        return;
    }
    message->header.msg_control = &message->control;
    message->header.msg_controllen = CMSG_SPACE(descriptor_count * sizeof(int));
    struct cmsghdr *control = CMSG_FIRSTHDR(&message->header);
    control->cmsg_level = SOL_SOCKET;
    control->cmsg_type = SCM_RIGHTS;
    control->cmsg_len = CMSG_LEN(descriptor_count * sizeof(int));
    memcpy(CMSG_DATA(control), descriptors, descriptor_count * sizeof(int));
}

#endif
